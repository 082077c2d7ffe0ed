"""The syntax tree of a file as JSON: ``node`` names each node, ``span`` its characters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moedsl.source.parser import parse
from moedsl.source.span import Span

if TYPE_CHECKING:
    from moedsl.source.span import Source


def as_json(source: Source) -> str:
    """The tree of ``source``, without the tokens that only the formatter reads."""
    file, _ = parse(source)
    return json.dumps(_plain(file), indent=2, ensure_ascii=False) + "\n"


def _plain(part: object) -> object:
    match part:
        case Span(start, end):
            return [start, end]
        case tuple() if names := getattr(part, "_fields", ()):
            return {"node": type(part).__name__} | {
                name: _plain(getattr(part, name)) for name in names if name != "tokens"
            }
        case tuple():
            return [_plain(item) for item in part]
        case _:
            return part
