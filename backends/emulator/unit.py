"""From an emitted CUDA C unit to the C++ that the emulator compiles.

The kernel's text and the portable part of the prelude stay as they are, line for line; the
primitives' device half is blanked out and the host half included in its place. ``#line``
directives are commented out, so that a line always means one of the emitted unit; the map back
to the ``.moe`` file is kept here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

PRIMITIVES = (
    *("words", "memory", "async", "convert", "mma", "hopper_barrier", "hopper_cluster"),
    *("hopper_bulk", "hopper_tensor", "hopper_warp", "hopper_flags", "hopper_launch"),
    *("hopper_wgmma", "hopper_wgmma_shapes"),
)
"""Files of the prelude that have two halves: PTX in ``cuda/prelude``, C++ in ``prelude`` here."""

_SECTION = re.compile(r"^// (?:prelude/(\w+)\.cuh|kernel)$")
_LINE = re.compile(r'^#line (\d+) "([^"]*)"$')
_ENTRY = """
template <class Arguments>
static void emu_call(void (*kernel)(Arguments), const void* arguments) {{
    kernel(*static_cast<const Arguments*>(arguments));
}}
template <class Arguments>
static constexpr unsigned emu_bytes_of(void (*)(Arguments)) {{
    return sizeof(Arguments);
}}
extern "C" void emu_entry(const void* arguments) {{ emu_call({entry}, arguments); }}
extern "C" const unsigned emu_argument_bytes = emu_bytes_of({entry});
"""


@dataclass(frozen=True)
class Unit:
    """One emitted kernel. ``name`` is how findings call its text, ``entry`` its kernel."""

    name: str
    emitted: str
    entry: str

    @cached_property
    def lines(self) -> list[str]:
        """The emitted lines; the first is line 1 of findings."""
        return self.emitted.splitlines()

    @cached_property
    def host(self) -> str:
        """The C++ to compile: line for line the emitted unit, and the kernel's entry behind it."""
        body: list[str] = []
        device_half = False
        for line in self.lines:
            if section := _SECTION.match(line):
                device_half = section[1] in PRIMITIVES
            commented = f"//{line}" if _LINE.match(line) else line
            body.append("" if device_half else commented)
        body[0] = '#include "primitives.h"' + (f" {body[0]}" if not body[0] else "")
        return "\n".join(body) + _ENTRY.format(entry=self.entry)

    def text_of(self, line: int) -> str:
        """The emitted text of a line, without its indentation."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""

    @cached_property
    def _origins(self) -> list[tuple[str, int] | None]:
        origins: list[tuple[str, int] | None] = []
        here: tuple[str, int] | None = None
        for number, line in enumerate(self.lines, 1):
            if directive := _LINE.match(line):
                # A directive that names its own place leads back to the emitted text.
                at = int(directive[1])
                here = None if at == number + 1 else (directive[2], at - 1)
            elif here:
                here = (here[0], here[1] + 1)
            origins.append(here)
        return origins

    def origin(self, line: int) -> tuple[str, int] | None:
        """The ``.moe`` file and line that an emitted line came from, or None if it has none."""
        return self._origins[line - 1] if 0 < line <= len(self.lines) else None
