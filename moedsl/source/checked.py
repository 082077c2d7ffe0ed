"""A kernel that has a meaning: names resolved, parameters substituted, contractions oriented.

The checker makes it from the syntax tree; :mod:`moedsl.lower.build_moe` turns it into the IR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.source.span import Source, Span
    from moedsl.source.terms import Access, Compute, Function, Index, Tensor


class Product(NamedTuple):
    """``sum[over] lhs * rhs``: ``lhs`` holds the rows and ``rhs`` the columns of the domain."""

    over: str
    lhs: Access
    rhs: Access
    span: Span


class Read(NamedTuple):
    """An input's element, or a scalar input where there are no coordinates."""

    access: Access
    span: Span


class Literal(NamedTuple):
    """A number, or a param's value."""

    number: float
    span: Span


class Local(NamedTuple):
    """The value of an earlier :class:`Assignment`."""

    name: str
    span: Span


class Operation(NamedTuple):
    """An elementwise function of its operands."""

    function: Function
    operands: tuple[Term, ...]
    span: Span


Term = Product | Read | Literal | Local | Operation


class Assignment(NamedTuple):
    """``name = value``."""

    name: str
    value: Term
    span: Span


class Write(NamedTuple):
    """``access = value``, or ``+=``."""

    access: Access
    accumulate: bool
    value: Term
    span: Span


@dataclass(frozen=True)
class CheckedKernel:
    """One kernel. ``rows`` and ``columns`` are the output's indices, the experts aside."""

    name: str
    params: Mapping[str, int | float]
    indices: tuple[Index, ...]
    tensors: tuple[Tensor, ...]
    compute: Compute
    experts: str
    ragged: str
    rows: str
    columns: str
    body: tuple[Assignment | Write, ...]
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a kernel's values live. ``indices`` are what a store may and must name."""

    experts: str
    ragged: str
    rows: str
    columns: str

    @property
    def indices(self) -> frozenset[str]:
        """The output's indices: with the expert index if the ragged one is summed."""
        own = {self.rows, self.columns}
        return frozenset(own if self.rows == self.ragged else own | {self.experts})
