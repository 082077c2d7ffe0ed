"""The syntax tree of a file as JSON: ``node`` names each node, ``span`` its characters."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
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
        case tuple():
            return [_plain(item) for item in part]
        case _ if is_dataclass(part):
            return {"node": type(part).__name__} | {
                field.name: _plain(getattr(part, field.name))
                for field in fields(part)
                if field.name != "tokens"
            }
        case _:
            return part
