"""The syntax tree of IR text, and what its nodes mean without knowing any operation."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from moedsl.ir.core import Access, Coordinate, DType, Value
from moedsl.ir.module import is_op
from moedsl.ir.reflect import alternatives
from moedsl.source.span import NOWHERE, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lark import Lark, Token, Tree

    from moedsl.source.span import Source

    Branch = Tree[Token]
    Node = Branch | Token

RESERVED = frozenset(("none", "true", "false", "inf", "nan"))
"""Words that mean something as an attribute; names spelled like them are quoted."""

MALFORMED, UNKNOWN, MISTYPED, UNDEFINED = "MOE0701", "MOE0702", "MOE0703", "MOE0704"
UNKNOWN_TARGET = "MOE0708"
_SYMBOLS = {"LBRACE": "{", "RBRACE": "}", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]"}
_SYMBOLS |= {"COMMA": ",", "COLON": ":", "EQUAL": "=", "VALUE": "%value", "$END": "the end"}
_SYMBOLS |= {"OPNAME": "an operation", "NAME": "a name", "STRING": "a string", "NUMBER": "a number"}


class FaultError(Exception):
    """What is wrong with the text and where; becomes the one diagnostic."""

    def __init__(self, code: str, message: str, node: Node | Span, label: str = "") -> None:
        self.code, self.message, self.label = code, message, label
        self.span = node if isinstance(node, Span) else span_of(node)
        super().__init__(message)


@cache
def _parser() -> Lark:
    from lark import Lark

    grammar = Path(__file__).parent.parent / "grammar" / "ir.lark"
    return Lark(grammar.read_text(encoding="utf-8"), parser="lalr", propagate_positions=True)


def parse_tree(source: Source) -> Branch:
    """The tree of ``source``; raises FaultError where the grammar does not admit it."""
    from lark import UnexpectedCharacters, UnexpectedToken

    try:
        return _parser().parse(source.text)
    except UnexpectedToken as error:
        start = error.token.start_pos
        where = Span(len(source.text), len(source.text))
        if error.token.type != "$END" and start is not None:
            where = Span(start, start + len(error.token))
        wanted = sorted({_SYMBOLS.get(name, name.lower()) for name in error.accepts or ()})
        found = "the end of the text" if error.token.type == "$END" else f"`{error.token}`"
    except UnexpectedCharacters as error:
        start = error.pos_in_stream or 0
        where = Span(start, start + 1)
        wanted = sorted({_SYMBOLS.get(name, name.lower()) for name in error.allowed or ()})
        found = f"{source.text[start]!r}"
    label = f"expected {' or '.join(wanted)}" if wanted else ""
    raise FaultError(MALFORMED, f"IR text is malformed: {found} cannot stand here", where, label)


def span_of(node: Node) -> Span:
    """The characters ``node`` was parsed from."""
    if not isinstance(node, str):
        meta = node.meta
        return NOWHERE if meta.empty else Span(meta.start_pos, meta.end_pos)
    start = node.start_pos or 0
    return Span(start, start + len(node))


def string_of(token: Token) -> str:
    """What a quoted string spells."""
    try:
        text = json.loads(token, strict=False)
    except ValueError as error:
        message = "malformed string"
        raise FaultError(MALFORMED, message, token, "escapes are those of JSON") from error
    assert isinstance(text, str)
    return text


def name_of(node: Node) -> str:
    """A word or string, bare or wrapped in ``name``."""
    token = node if isinstance(node, str) else token_of(node.children[0])
    return string_of(token) if token.type == "STRING" else str(token)


def names_of(node: Node) -> tuple[str, ...]:
    """The names of a list."""
    return tuple(name_of(child) for child in children_of(node) if child is not None)


def children_of(node: Node) -> list[Any]:
    """The parts of a rule."""
    assert not isinstance(node, str)
    return node.children


def token_of(node: Node) -> Token:
    """``node``, which is a token."""
    assert isinstance(node, str)
    return node


def kind_of(node: Node) -> str:
    """The terminal or rule a node came from."""
    return node.type if isinstance(node, str) else str(node.data)


def value_name(token: Token) -> str:
    """The name of ``%name`` or ``%"any name"``."""
    if token[1] != '"':
        return str(token[1:])
    try:
        return str(json.loads(token[1:], strict=False))
    except ValueError as error:
        raise FaultError(MALFORMED, "malformed value name", token) from error


def integer_of(token: Token) -> int:
    """The integer a token spells."""
    try:
        return int(token)
    except ValueError as error:
        raise FaultError(MISTYPED, "not an integer", token, "expected an integer") from error


def location_of(node: Node | None) -> Span:
    """What ``loc(start:end)`` spells; NOWHERE for none."""
    if node is None:
        return NOWHERE
    numbers = [integer_of(child) for child in children_of(node)[-2:]]
    return Span(numbers[0], numbers[1])


def closest(name: str, known: Iterable[str]) -> str:
    """A question whether the most similar of ``known`` was meant, or nothing."""
    close = get_close_matches(name, list(known), 1)
    return f"did you mean `{close[0]}`?" if close else ""


def definition_of(node: Node) -> Value:
    """The value that ``%name[dims]`` defines."""
    name, dims = children_of(node)
    return Value(value_name(name), names_of(dims))


def describe(hint: Any) -> str:
    """What an annotation admits, in words for a message."""
    words = []
    for kind in alternatives(hint):
        if get_origin(kind) is tuple:
            words.append("a list in ( )")
        elif kind is NoneType:
            words.append("none")
        elif isinstance(kind, type) and issubclass(kind, Enum):
            words.append(" or ".join(str(member.value) for member in kind))
        else:
            words.append(_WORDS.get(kind, f"a {kind.__name__} in {{ }}"))
    return " or ".join(words)


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a name",
    Value: "a %value",
    Access: "an access like x[m, k]",
    Coordinate: "a subscript",
    Span: "loc(start:end)",
}


def dtype_of(node: Node) -> DType | None:
    """The element type a node names, if there is such."""
    name = name_of(node)
    return DType(name) if name in {member.value for member in DType} else None


def spelling(node: Node) -> str:
    """How a message calls ``node``."""
    if isinstance(node, str) or kind_of(node) == "name":
        return name_of(node) if kind_of(node) != "OPNAME" else str(node)
    return "{ }"


def accepts(node: Node, kind: Any) -> bool:
    """Whether ``node`` has the shape of a value of this type, names unresolved."""
    shape = kind_of(node)
    if get_origin(kind) is tuple:
        if any(is_op(member) for member in alternatives(get_args(kind)[0])):
            return shape == "region" or (shape == "struct" and not any(children_of(node)))
        return shape == "tuple"
    word = str(node) if shape == "NAME" else ""
    if kind is NoneType:
        return word == "none"
    if kind is bool:
        return word in ("true", "false")
    if kind is int:
        return shape == "NUMBER" and str(node).lstrip("-").isdigit()
    if kind is float:
        return shape == "NUMBER" or word in ("inf", "nan")
    if isinstance(kind, type) and issubclass(kind, Enum):
        names = {str(member.value) for member in kind}
        return shape in ("NAME", "STRING") and name_of(node) in names
    if kind is str:
        return shape == "STRING" or (shape == "NAME" and word not in RESERVED)
    if kind is Coordinate:
        return shape == "NAME" or (shape == "access" and len(children_of(node)) == 2)
    if kind in (Value, Access, Span):
        return shape == {Value: "VALUE", Access: "access", Span: "loc"}[kind]
    if shape == "struct" and is_dataclass(kind):
        tag = children_of(node)[0]
        return tag is None or tag == getattr(kind, "__name__", "")
    return False


def leaf(node: Node, kind: Any) -> object:
    """A value without parts that the reader must build."""
    if kind is NoneType:
        return None
    if kind is bool:
        return node == "true"
    if kind is int:
        return integer_of(token_of(node))
    if kind is float:
        return float(token_of(node))
    if kind is Span:
        return location_of(node)
    if kind is Access:
        tensor, *coordinates = children_of(node)
        return Access(name_of(tensor), tuple(_coordinate(c) for c in coordinates if c is not None))
    if kind is Coordinate:
        if isinstance(node, str):
            return Coordinate(name_of(node))
        via, coordinate = children_of(node)
        return Coordinate(_coordinate(coordinate).index, name_of(via))
    return kind(name_of(node))


def _coordinate(node: Node) -> Coordinate:
    first, second = children_of(node)
    return (
        Coordinate(name_of(first))
        if second is None
        else Coordinate(name_of(second), name_of(first))
    )
