"""What an IR dataclass consists of, read from its annotations alone.

Results are the :class:`Value` fields called ``result`` or ``results``; ``argument`` and
``arguments`` are values an op defines for its own regions (a loop variable). Every other value
inside an op is an operand. A field that holds a tuple of ops is a region.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from moedsl.ir import core, module, moe, schedule
from moedsl.ir.core import Value
from moedsl.source.span import Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = ("result", "results")
ARGUMENTS = ("argument", "arguments")


@dataclass(frozen=True, slots=True)
class Field:
    """A dataclass field with its annotation evaluated. ``default`` holds () or (value,)."""

    name: str
    hint: Any
    default: tuple[object, ...]

    @property
    def region(self) -> bool:
        """Whether it holds a body of operations."""
        return get_origin(self.hint) is tuple and any(
            module.is_op(kind) for kind in alternatives(get_args(self.hint)[0])
        )


_fields: dict[type[Any], tuple[Field, ...]] = {}


def fields_of(kind: type[Any]) -> tuple[Field, ...]:
    """The fields of a dataclass in order, ``span`` included."""
    if kind not in _fields:
        _fields[kind] = _evaluate(kind)
    return _fields[kind]


def _evaluate(kind: type[Any]) -> tuple[Field, ...]:
    # Contracts import some names for type checkers only; they are the ones every dialect knows.
    common = {**vars(core), **vars(schedule), **vars(moe), "Source": Source, "Span": Span}
    known = {**common, **vars(sys.modules[kind.__module__])}
    hints = get_type_hints(kind, localns=known)
    return tuple(
        Field(f.name, hints[f.name], () if f.default is MISSING else (f.default,))
        for f in fields(kind)
    )


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def element_hints(hint: Any, count: int) -> tuple[Any, ...]:
    """Annotations of the ``count`` members of a tuple annotated ``hint``."""
    for kind in alternatives(hint):
        if get_origin(kind) is tuple:
            inner = get_args(kind)
            return (inner[0],) * count if inner[-1] is Ellipsis else inner
    return (object,) * count


def results(op: Any) -> tuple[Value, ...]:
    """Values that ``op`` defines for what follows it."""
    return _named(op, RESULTS)


def arguments(op: Any) -> tuple[Value, ...]:
    """Values that ``op`` defines for its regions."""
    return _named(op, ARGUMENTS)


def _named(op: Any, names: tuple[str, ...]) -> tuple[Value, ...]:
    return tuple(
        value
        for field in fields_of(type(op))
        if field.name in names
        for value in _values(getattr(op, field.name))
    )


def operands(op: Any) -> tuple[Value, ...]:
    """Values that ``op`` itself uses, its regions aside."""
    return tuple(
        value
        for field in fields_of(type(op))
        if field.name not in RESULTS + ARGUMENTS and not field.region
        for value in _values(getattr(op, field.name))
    )


def regions(op: Any) -> tuple[tuple[Any, ...], ...]:
    """The bodies nested in ``op``."""
    return tuple(getattr(op, field.name) for field in fields_of(type(op)) if field.region)


def _values(item: object) -> Iterator[Value]:
    """Every value inside an attribute, however deep."""
    if isinstance(item, Value):
        yield item
    elif isinstance(item, tuple):
        for member in item:
            yield from _values(member)
    elif is_dataclass(item) and not isinstance(item, type):
        for field in fields_of(type(item)):
            yield from _values(getattr(item, field.name))
