"""Text with indentation and line directives."""

from __future__ import annotations

import math
import re
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.source.span import Source, Span


_WIDTH = 100


class Writer:
    """Collects lines. ``unit`` is the name that line directives give the emitted text itself."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """One line at the current depth, broken if it is too long."""
        indent = "    " * self._depth
        while len(indent) + len(text) > _WIDTH and (end := _break(text, _WIDTH - len(indent))):
            self._lines.append(indent + text[:end].rstrip())
            indent, text = "    " * (self._depth + 2), text[end:].lstrip()
        self._lines.append(indent + text if text else "")

    def lines(self, *texts: str) -> None:
        """Several lines at the current depth."""
        for text in texts:
            self.line(text)

    def text(self, text: str) -> None:
        """Lines as they are."""
        self._lines += text.rstrip("\n").split("\n")

    @contextmanager
    def block(self, head: str, end: str = "}") -> Iterator[None]:
        """``head {``, an indented body, ``end``; the head may have several lines."""
        *before, last = head.split("\n")
        self.lines(*before, f"{last} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line(end)

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The other branch of a block that ended with ``} else {``."""
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def from_source(self, source: Source | None, span: Span) -> Iterator[None]:
        """Lines that compilers and profilers ascribe to ``span`` of the user's file."""
        if source is None or span.end == 0:
            yield
            return
        number, _ = source.position(span.start)
        self._lines.append(f"#line {number} {quoted(source.name)}")
        yield
        self._lines.append(f"#line {len(self._lines) + 2} {quoted(self._unit)}")

    def finish(self) -> str:
        """Everything written, newline at the end."""
        return "\n".join(self._lines) + "\n"


def _break(text: str, width: int) -> int:
    """Where to break a line: behind the last comma, or before the last operator; 0 if nowhere."""
    comma = text.rfind(", ", 0, width) + 1
    operators = (" + ", " && ", " || ", " : ")
    return max(comma, *(text.rfind(operator, 0, width) for operator in operators), 0)


def plus(base: str, number: int) -> str:
    """``base`` moved by a constant."""
    return f"{base} + {number}" if number else base


def quoted(text: str) -> str:
    """A C string literal that no text can leave."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", lambda m: _octal(m[0]), text) + '"'


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode(errors="replace"))


def identifier(name: str) -> str:
    """``name`` with everything that C does not allow spelled as its code point."""
    return re.sub(r"[^A-Za-z0-9_]", lambda m: f"u{ord(m[0]):x}_", name)


def float_literal(number: float) -> str:
    """The f32 nearest to ``number`` as a C expression."""
    (rounded,) = struct.unpack("<f", _f32_bytes(number))
    if not math.isfinite(rounded):
        (bits,) = struct.unpack("<I", struct.pack("<f", rounded))
        return f"moe::float_of({bits:#010x}u)"
    text = f"{rounded:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _f32_bytes(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, number))
