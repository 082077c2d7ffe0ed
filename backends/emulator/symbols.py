"""What a launch's process printed, with its code addresses turned into lines of the unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from moedsl.backends.emulator.report import Finding, Frame, Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moedsl.backends.emulator.unit import Unit

_PLACE = re.compile(r"^(.*):(\d+)(?: \(discriminator \d+\))?$")


def read_outcome(text: str, library: Path, unit: Unit) -> Finding | Mapping[str, int]:
    """A finding, or the counters of a launch that found nothing.

    The text is lines of "key rest"; "frame" lines belong to the finding or note above them.
    """
    first, *rest = text.splitlines()
    if first == "ok":
        return {key: int(value) for key, _, value in (line.partition(" ") for line in rest)}
    symbols = _Symbols(library, unit, [x.split()[1] for x in rest if x.startswith("frame ")])
    line, message, watch = 0, "", ""
    notes: list[tuple[int, str, list[str]]] = [(0, "", [])]
    for key, _, value in (entry.partition(" ") for entry in rest):
        match key:
            case "line":
                line = int(value)
            case "message":
                message = value
            case "note":
                at, _, what = value.partition(" ")
                notes.append((int(at), what, []))
            case "frame":
                notes[-1][2].append(value)
            case "watch":
                watch = value
            case _:
                message += f" {key} {value}"
    _, _, stack = notes[0]
    return Finding(
        kind=first.removeprefix("finding "),
        message=message,
        line=line,
        frames=symbols.frames(line, stack),
        notes=tuple(Note(what, symbols.frames(at, stack)) for at, what, stack in notes[1:]),
        watch=watch,
    )


class _Symbols:
    """Lines of the unit by code address, through addr2line where there is one."""

    def __init__(self, library: Path, unit: Unit, addresses: Sequence[str]) -> None:
        self._unit, self._source = unit, library.with_suffix(".cpp").name
        self._frames: dict[str, tuple[Frame, ...]] = {}
        tool = shutil.which("addr2line") or shutil.which("llvm-addr2line")
        if tool is None or not addresses:
            return
        wanted = list(dict.fromkeys(addresses))
        command = [tool, "-e", str(library), "-a", "-i", "-f", "-C", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        blocks = re.split(r"^0x[0-9a-f]+\n", done.stdout, flags=re.MULTILINE)[1:]
        for address, block in zip(wanted, blocks, strict=False):
            self._frames[address] = self._read(block.splitlines())

    def _read(self, lines: list[str]) -> tuple[Frame, ...]:
        frames = []
        for function, place in zip(lines[::2], lines[1::2], strict=False):
            found = _PLACE.match(place)
            # Frames in the host half's own headers and behind the unit's end say nothing.
            if found and found[1].endswith(self._source) and self._unit.text_of(int(found[2])):
                frames.append(Frame(int(found[2]), function))
        return tuple(frames)

    def frames(self, line: int, stack: Sequence[str]) -> tuple[Frame, ...]:
        """The calls of ``stack``, innermost first; without symbols, only ``line``."""
        frames = tuple(frame for address in stack for frame in self._frames.get(address, ()))
        return frames or ((Frame(line, ""),) if line else ())
