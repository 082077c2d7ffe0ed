"""Where the rows of a store through maps land, and what may be found there afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.intervals import HALF_ULP, Interval, between
from moedsl.subscript import locate, open_mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from moedsl.ir.elementwise import Store
    from moedsl.meaning import Problem
    from moedsl.subscript import Array, Positions

    F64 = NDArray[np.float64]


class Landing:
    """The places that some rows of one store reach, one axis for each of its dimensions.

    ``=`` leaves the hull of all rows that land on a place (any may come last), ``+=`` their sum.
    Additions in f32 in any order are off by at most γ_n(2^-24) times the sum of magnitudes, and
    not at all if all terms are integers of at most 2^24 together.
    """

    def __init__(
        self, problem: Problem, op: Store, chosen: NDArray[np.int64] | None, columns: slice
    ) -> None:
        """``chosen`` are the output rows that will land, None for all; ``columns`` theirs."""
        self.problem, self.op = problem, op
        signature = problem.signature
        domain: dict[str, Positions] = {
            signature.experts: np.arange(len(problem.ends)),
            signature.rows: np.arange(problem.last_row) if chosen is None else chosen,
            signature.columns: np.arange(columns.start, columns.stop),
        }
        spots = locate(problem.arrays, op.access, domain)
        self.places = tuple(np.unique(np.asarray(spot)) for spot in spots)
        shape = tuple(map(len, self.places))
        self.low = np.full(shape, 0.0 if op.accumulate else np.inf)
        self.high = np.full(shape, 0.0 if op.accumulate else -np.inf)
        self.size, self.count, self.rough = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)

    def add(self, where: Mapping[str, Positions], value: Interval) -> None:
        """Let a block of rows at ``where`` land; ``value`` broadcasts to [rows, columns]."""
        spots = locate(self.problem.arrays, self.op.access, where)
        mesh = open_mesh(spots, self.problem.arrays[self.op.access.tensor].shape)
        inside = tuple(
            np.searchsorted(places, index) for places, index in zip(self.places, mesh, strict=True)
        )
        extents = tuple(_count(where[i]) for i in self._domain)
        low, high = (self._oriented(end, extents, spots) for end in (value.low, value.high))
        np.add.at(self.count, inside, 1)
        if not self.op.accumulate:
            np.minimum.at(self.low, inside, low)
            np.maximum.at(self.high, inside, high)
            return
        np.add.at(self.low, inside, low)
        np.add.at(self.high, inside, high)
        np.add.at(self.size, inside, np.maximum(np.abs(low), np.abs(high)))
        np.logical_or.at(self.rough, inside, (low != high) | (low != np.rint(low)))

    def result(self, before: Array) -> tuple[NDArray[Any], Interval]:
        """Positions [count, dimensions] of the reached places and what may be found there.

        ``before`` is the whole tensor as it was.
        """
        low, high = self.low, self.high
        if self.op.accumulate:
            old = before[np.ix_(*self.places)].astype(np.float64)
            size = self.size + np.abs(old)
            rough = self.rough | (old != np.rint(old)) | (size > 2.0**24)
            # What is infinite stays so, whatever is added in whatever order.
            rough &= np.isfinite(size)
            part = self.count * HALF_ULP
            error = part / (1 - part) * np.where(rough, size, 0.0)
            low, high = low + old - error, high + old + error
        reached = np.argwhere(self.count > 0)
        positions = np.stack(
            [places[reached[:, axis]] for axis, places in enumerate(self.places)], axis=1
        )
        inside = tuple(reached.T)
        return positions, between(low[inside], high[inside])

    @property
    def _domain(self) -> tuple[str, str]:
        return self.problem.signature.rows, self.problem.signature.columns

    def _oriented(self, values: F64, extents: tuple[int, ...], spots: tuple[Positions, ...]) -> F64:
        """A block [rows, columns] with its axes in the tensor's order, 1 for single positions."""
        block = np.broadcast_to(values, extents)
        order = [self._domain.index(i) for i in self.op.access.indices if i in self._domain]
        return block.transpose(order).reshape([_count(spot) for spot in spots])


def _count(spot: Positions) -> int:
    if isinstance(spot, slice):
        return int(spot.stop - spot.start)
    return 1 if isinstance(spot, int) else len(spot)
