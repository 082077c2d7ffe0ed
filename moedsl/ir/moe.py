"""The ``moe`` dialect: *what* a kernel computes, over whole index domains.

A kernel has exactly one expert index, one ragged index over it, and at least one contraction.
If the ragged index is free the kernel is m-grouped (forward, input gradient): every contraction
has the domain (rows, columns) with rows the ragged index. If it is summed the kernel is k-grouped
(weight gradient): the domain is (experts, rows, columns). All contractions and stores of a kernel
share one domain, in the order of the first output's subscripts, the experts aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.core import Access, Compute, Index, IndexKind, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Constant, ElementwiseOp, Load, Store
from moedsl.source.span import NOWHERE, Span

if TYPE_CHECKING:
    from moedsl.source.span import Source


@dataclass(frozen=True, slots=True)
class Contract:
    """``sum[over] lhs * rhs``, accumulated in f32. ``lhs`` holds the rows, ``rhs`` the columns."""

    result: Value
    over: str
    lhs: Access
    rhs: Access
    span: Span = NOWHERE


MoeOp = Contract | Load | Constant | Apply | Store


@dataclass(frozen=True)
class Signature:
    """What the levels of one kernel have in common: its name, indices, tensors and domain."""

    name: str
    indices: tuple[Index, ...]
    tensors: tuple[Tensor, ...]
    compute: Compute
    experts: str
    ragged: str
    rows: str
    columns: str
    span: Span = NOWHERE

    @property
    def row_grouped(self) -> bool:
        """True for m-grouped kernels (ragged rows), False for k-grouped (ragged depth)."""
        return self.rows == self.ragged

    def index(self, name: str) -> Index:
        """The index called ``name``; KeyError if there is none."""
        for index in self.indices:
            if index.name == name:
                return index
        raise KeyError(name)

    def tensor(self, name: str) -> Tensor:
        """The tensor called ``name``; KeyError if there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    @property
    def expert_count(self) -> int:
        """E, the fixed extent of the expert index."""
        extent = self.index(self.experts).extent
        assert extent is not None
        return extent

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors that are only read, in declaration order."""
        return tuple(t for t in self.tensors if t.role is Role.INPUT)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Tensors that are written, in declaration order."""
        return tuple(t for t in self.tensors if t.role is not Role.INPUT)

    @property
    def dynamic(self) -> tuple[Index, ...]:
        """Indices whose extent is known at the call."""
        return tuple(i for i in self.indices if i.kind is IndexKind.DYNAMIC)


@dataclass(frozen=True)
class MoeKernel:
    """One kernel of a file, its parameters substituted, checked. ``source`` holds its text."""

    signature: Signature
    body: tuple[MoeOp, ...]
    source: Source | None = None


def elementwise(body: tuple[MoeOp, ...]) -> tuple[ElementwiseOp, ...]:
    """The operations of ``body`` behind its contractions, in order."""
    return tuple(op for op in body if not isinstance(op, Contract))
