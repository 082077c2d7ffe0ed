"""The ``elem`` operations, shared by the moe and tile dialects: arithmetic on f32 values.

They mean the same in both: in ``moe`` over the whole domain, in ``tile`` over one output tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from moedsl.ir.core import Access, Value
from moedsl.source.span import NOWHERE, Span
from moedsl.source.terms import Function

__all__ = ["Apply", "Constant", "ElementwiseOp", "Function", "Load", "Store"]


@dataclass(frozen=True, slots=True)
class Load:
    """Read ``access`` of an input (bias[e, n], w[m], a scalar) and widen it to f32."""

    result: Value
    access: Access
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Constant:
    """An f32 literal, rounded to nearest."""

    result: Value
    number: float
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Apply:
    """``function`` of ``operands``, each operation rounded once to f32."""

    result: Value
    function: Function
    operands: tuple[Value, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Store:
    """Round ``operand`` to the tensor's type and write it to ``access``.

    With ``accumulate`` the old element is added in f32 first; if a coordinate goes through a map,
    rows may coincide and the addition is atomic, in no fixed order.
    """

    operand: Value
    access: Access
    accumulate: bool = False
    span: Span = NOWHERE


ElementwiseOp = Load | Constant | Apply | Store
