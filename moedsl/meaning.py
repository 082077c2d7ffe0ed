"""What a kernel means: intervals of its values over blocks of its output domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from moedsl.intervals import HALF_ULP, TINY, Interval, apply, between, point
from moedsl.ir.core import Compute, DType
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.moe import Contract
from moedsl.subscript import read, round_tf32, tf32_ties

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from moedsl.ir.core import Access
    from moedsl.ir.moe import MoeKernel
    from moedsl.subscript import Array, Positions

    F64 = NDArray[np.float64]

NUMPY_TYPES: dict[DType, np.dtype[Any]] = {
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F16: np.dtype(np.float16),
    DType.F32: np.dtype(np.float32),
    DType.I32: np.dtype(np.int32),
}
"""The NumPy type of every element type."""

_F32_MAX = float(np.finfo(np.float32).max)


class Mode(StrEnum):
    """Which of the three tests."""

    EXACT = "exact"
    BOUND = "bound"
    STATISTICAL = "statistical"


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a contraction as the multiplier sees it: ``values`` [position, depth].

    Where an f32 lies half way between two tf32 numbers, either is right: there ``values`` is the
    f32, and ``ties`` how far both are from it; elsewhere that is 0. None if there are none at all.
    """

    values: Array
    ties: F64 | None = None


class Problem:
    """A kernel with its arrays: evaluates blocks of its output domain."""

    def __init__(self, kernel: MoeKernel, arrays: Mapping[str, Array], offs: list[int]) -> None:
        self.kernel, self.arrays = kernel, arrays
        self.signature = signature = kernel.signature
        self.starts, self.ends = [0, *offs[:-1]], offs
        self.sizes = {
            index: extent
            for tensor in signature.tensors
            for index, extent in zip(tensor.dims, arrays[tensor.name].shape, strict=True)
        }
        self.roundoff = HALF_ULP if signature.compute is Compute.F32 else 2 * HALF_ULP

    @property
    def last_row(self) -> int:
        """Past the last position of an output row that belongs to an expert."""
        return self.ends[-1] if self.signature.row_grouped else self.sizes[self.signature.rows]

    def rows_of(self, expert: int) -> range:
        """Positions of the output rows of ``expert``."""
        if self.signature.row_grouped:
            return range(self.starts[expert], self.ends[expert])
        return range(self.sizes[self.signature.rows])

    def where(self, expert: int, rows: Positions, columns: slice) -> dict[str, Positions]:
        """Positions of every index for a block of the domain; a full range for summed ones."""
        signature = self.signature
        places: dict[str, Positions] = {name: slice(0, n) for name, n in self.sizes.items()}
        places[signature.ragged] = slice(self.starts[expert], self.ends[expert])
        return {
            **places,
            signature.experts: expert,
            signature.rows: rows,
            signature.columns: columns,
        }

    def factor(
        self, access: Access, where: Mapping[str, Positions], order: tuple[str, str]
    ) -> Factor:
        """A factor of a contraction over ``order``."""
        values = read(self.arrays, access, where, order)
        if self.signature.compute is not Compute.TF32:
            return Factor(values)
        rounded, ties = round_tf32(values), tf32_ties(values).astype(np.float64)
        return Factor(np.where(ties, values, rounded), ties) if ties.any() else Factor(rounded)

    def column_factors(self, where: Mapping[str, Positions]) -> dict[str, Factor]:
        """The second factor of every contraction, by its result: float64 [columns, depth]."""
        found = {}
        for op in self.kernel.body:
            if isinstance(op, Contract):
                factor = self.factor(op.rhs, where, (self.signature.columns, op.over))
                found[op.result.name] = replace(factor, values=factor.values.astype(np.float64))
        return found

    def evaluate(
        self, where: Mapping[str, Positions], factors: Mapping[str, Factor], mode: Mode
    ) -> dict[str, Interval]:
        """Intervals of all values over one block, by name; they broadcast to [rows, columns]."""
        signature = self.signature
        values: dict[str, Interval] = {}
        for op in self.kernel.body:
            match op:
                case Contract():
                    rows = self.factor(op.lhs, where, (signature.rows, op.over))
                    values[op.result.name] = self.contract(rows, factors[op.result.name], mode)
                case Load():
                    domain = (signature.rows, signature.columns)
                    values[op.result.name] = point(read(self.arrays, op.access, where, domain))
                case Constant():
                    values[op.result.name] = point(np.full((1, 1), np.float32(op.number)))
                case Apply():
                    operands = tuple(values[operand.name] for operand in op.operands)
                    values[op.result.name] = apply(op.function, operands)
                case Store():
                    pass
        return values

    def contract(self, rows: Factor, columns: Factor, mode: Mode) -> Interval:
        """``rows`` [r, k] times ``columns`` [c, k] with the error of ``mode``."""
        depth = rows.values.shape[1]
        with np.errstate(all="ignore"):
            product = rows.values.astype(np.float64) @ columns.values.T
            if depth == 0:
                return Interval(product, product)
            error = _tie_error(rows, columns, product)
            if mode is not Mode.EXACT:
                error = error + self._summation_error(rows.values, columns.values, error, mode)
            return between(product - error, product + error)

    def _summation_error(self, rows: Array, columns: F64, ties: F64, mode: Mode) -> F64:
        """Of products with these factors, whose magnitudes may add up to ``ties`` more."""
        depth = rows.shape[1]
        # The sum of magnitudes may round too: so much more is asked for.
        narrow = np.abs(rows.astype(np.float32)), np.abs(columns.astype(np.float32))
        size = (narrow[0] @ narrow[1].T).astype(np.float64) * (1 + 2 * depth * HALF_ULP) + ties
        part = depth * self.roundoff
        slack = part / (1 - part) if part < 1 else np.inf
        if mode is Mode.STATISTICAL:
            slack = min(slack, 8 * depth**0.5 * HALF_ULP)
        return np.where(size < _F32_MAX, slack * size + depth * TINY, np.nan)


def _tie_error(rows: Factor, columns: Factor, product: F64) -> F64:
    """By how much ``product`` differs at most, whichever way ties go."""
    error = np.zeros((1, 1))
    larger = np.abs(columns.values)
    if columns.ties is not None:
        error = error + np.abs(rows.values.astype(np.float64)) @ columns.ties.T
        larger = larger + columns.ties
    if rows.ties is not None:
        error = error + rows.ties @ larger.T
    infinite = np.isinf(product)
    if infinite.any():
        # Infinity times what is no tie is NaN above; but the product stays infinite, unless a tie
        # next to zero may become zero and make NaN of it.
        error = np.where(infinite & np.isinf(_least(rows) @ _least(columns).T), 0, error)
    return error


def _least(factor: Factor) -> Array:
    """``factor`` with all ties towards zero."""
    if factor.ties is None:
        return factor.values
    return factor.values - np.copysign(factor.ties, factor.values)
