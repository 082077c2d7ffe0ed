"""Every diagnostic code, with the explanation that ``moedsl explain-code`` prints.

Each module of this package holds one range as plain text. An entry is a line ``MOE0123 title``
and, below it, what is wrong and why, an example, and what to do instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moedsl.source.codes import (
    arguments,
    command_line,
    directives,
    ir,
    legality,
    meaning,
    names,
    syntax,
)


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code, a few words that name the problem, and the explanation."""

    code: str
    title: str
    explanation: str


_ENTRY = re.compile(r"^(MOE\d{4}) (.+)$", re.MULTILINE)


def _entries(text: str) -> list[Code]:
    """The entries of one range."""
    _, *parts = _ENTRY.split(text)
    fields = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return [Code(code, title, body.strip("\n")) for code, title, body in fields]


CODES: dict[str, Code] = {
    entry.code: entry
    for module in (syntax, names, meaning, directives, legality, arguments, command_line, ir)
    for entry in _entries(module.TEXT)
}
"""All codes by name, in order."""
