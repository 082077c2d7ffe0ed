"""The NumPy meaning of a kernel, and the three tests of a result against it.

With R = A B in float64 from the quantised inputs and S = |A| |B|, a contraction may lie within
R ± E, where E depends on the test:

* ``exact``: E = 0. For inputs whose every partial sum is an f32 value, as small integers are.
* ``bound``: E = γ_K(u) S + K 2^-149 with γ_K(u) = K u / (1 - K u). It holds for every order of
  summation, split sums too, since no term goes through more than K roundings (N. Higham,
  "Accuracy and Stability of Numerical Algorithms", section 4.2). u is 2^-24 for f32 arithmetic
  and 2^-23 for tensor cores, which truncate.
* ``statistical``: E = 8 √K 2^-24 S, or the bound where that is smaller, for zero-mean data. The
  partial sum after k terms is then about √k σ, so K roundings leave about K σ 2^-24 / √2 if they
  are independent, and (2/3) K^1.5 σ 2^-24 if all truncate the same way, against an E of 5 K^1.5
  σ 2^-24 (S is about 0.64 K σ): truncation keeps a factor of seven.

``compute tf32`` rounds factors to the nearest tf32 number first. Of two that are equally near
either may be taken, and paths differ: threads take the one away from zero (``cvt.rna``), the copy
engine the even one. E then holds what lies between the two products, in every test.

The epilogue is interval arithmetic (:mod:`moedsl.intervals`). An output element passes if it lies
between the interval's ends, each rounded to the output's type; beyond f16's largest number that
is infinity. NaN never passes, except where the interval is unknown: the inputs hold NaN or
infinities that cancel, S exceeds f32, or a divisor may be zero.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from moedsl.intervals import TINY, Interval, apply, point
from moedsl.ir.core import DType
from moedsl.ir.elementwise import Function, Store
from moedsl.landing import Landing
from moedsl.meaning import NUMPY_TYPES, Mode, Problem
from moedsl.subscript import locate, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from moedsl.ir.moe import MoeKernel
    from moedsl.subscript import Array, Positions

    F64 = NDArray[np.float64]

__all__ = ["NUMPY_TYPES", "Mode", "Place", "Verdict", "check_outputs", "sample_rows"]

_ROUNDOFF = {DType.BF16: 2.0**-8, DType.F16: 2.0**-11, DType.F32: 2.0**-24}
_CHUNK_COLUMNS = 4096
_CHUNK_ROWS = 512


@dataclass(frozen=True, slots=True)
class Place:
    """One wrong element. ``row`` counts inside ``expert``; both are None where rows are scattered.

    ``position`` is the element's in ``tensor``; ``low`` and ``high`` is what was accepted.
    """

    tensor: str
    position: tuple[int, ...]
    got: float
    low: float
    high: float
    expert: int | None = None
    row: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = f"{self.tensor}[{', '.join(map(str, self.position))}]"
        if self.expert is not None:
            where += f" (expert {self.expert}, row {self.row}, column {self.column})"
        expected = f"{self.low!r}"
        if self.low != self.high:
            expected = f"between {self.low!r} and {self.high!r}"
        return f"{where} is {self.got!r}, expected {expected}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one test.

    ``worst`` is the largest distance of an element from the middle of its interval, in units of
    the interval's half width plus the output's rounding: about 1 is the most that passes.
    ``where`` is the first wrong element, ``message`` says all of it for people.
    """

    passed: bool
    mode: Mode
    checked_elements: int
    wrong_elements: int
    worst: float
    where: Place | None
    message: str


def check_outputs(
    kernel: MoeKernel,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    initial_outputs: Mapping[str, Array],
    offs: Sequence[int],
    mode: Mode,
    rows_sample: Sequence[int] | None = None,
) -> Verdict:
    """Test what a kernel wrote against its meaning.

    ``inputs``, ``outputs`` and ``initial_outputs`` (what the outputs held before) hold the
    kernel's tensors by name, shaped as declared, in :data:`NUMPY_TYPES`. ``offs`` are the E
    cumulative ends. ``rows_sample`` restricts the test to some of the output's rows (packed
    positions if the rows are ragged; see :func:`sample_rows`), with all of their columns; rows
    that are scattered onto the same place as a sampled one join the sample. Elements that no row
    reaches must keep their bits.
    """
    check = _Check(Problem(kernel, {**inputs, **outputs}, list(offs)), initial_outputs, mode)
    check.run(rows_sample)
    return check.verdict()


def sample_rows(
    kernel: MoeKernel, offs: Sequence[int], rows: int, tile_rows: int, count: int, seed: int
) -> list[int]:
    """First and last row of every row tile and expert, and ``count`` random ones; sorted.

    ``rows`` is the extent of the output's row index, ``tile_rows`` the schedule's tile height.
    """
    ends = [0, *offs] if kernel.signature.row_grouped else [0, rows]
    chosen: set[int] = set()
    for start, end in pairwise(ends):
        for first in range(start, end, tile_rows):
            chosen |= {first, min(first + tile_rows, end) - 1}
    last = ends[-1]
    chosen |= set(random.Random(seed).sample(range(last), min(count, last)))
    return sorted(chosen)


@dataclass
class _Check:
    """One test in progress: walks the domain and counts what is wrong."""

    problem: Problem
    initial: Mapping[str, Array]
    mode: Mode
    checked: int = 0
    wrong: int = 0
    worst: float = 0.0
    where: Place | None = None
    touched: str = ""
    stores: list[Store] = field(default_factory=list)

    def run(self, rows_sample: Sequence[int] | None) -> None:
        problem = self.problem
        self.stores = [op for op in problem.kernel.body if isinstance(op, Store)]
        chosen = (
            None if rows_sample is None else self._closed(np.unique(np.array(rows_sample, int)))
        )
        for columns in self._column_chunks():
            landings = {
                op: Landing(problem, op, chosen, columns) for op in self.stores if _mapped(op)
            }
            for expert in range(len(problem.ends)):
                factors = None
                for rows in _row_chunks(problem.rows_of(expert), chosen):
                    where = problem.where(expert, rows, columns)
                    factors = problem.column_factors(where) if factors is None else factors
                    values = problem.evaluate(where, factors, self.mode)
                    for op in self.stores:
                        if op in landings:
                            landings[op].add(where, values[op.operand.name])
                        else:
                            self._compare_block(op, expert, where, values[op.operand.name])
            for landing in landings.values():
                self._compare_landing(landing)
        self._check_untouched()

    def verdict(self) -> Verdict:
        parts = [str(self.where)] if self.where else []
        if self.wrong:
            parts.append(f"{self.wrong} of {self.checked} elements are wrong")
        if self.touched:
            parts.append(self.touched)
        passed = not parts
        message = "; ".join(parts) if parts else f"{self.checked} elements are right"
        return Verdict(
            passed, self.mode, self.checked, self.wrong, self.worst, self.where,
            f"{message} ({self.mode} test)",
        )  # fmt: skip

    def _column_chunks(self) -> Iterator[slice]:
        """Column ranges, small enough to hold; a single one where columns may collide."""
        columns = self.problem.signature.columns
        extent = self.problem.sizes[columns]
        scattered = any(
            coordinate.via is not None and coordinate.index == columns
            for op in self.stores
            for coordinate in op.access.coordinates
        )
        step = max(extent, 1) if scattered else _CHUNK_COLUMNS
        for first in range(0, extent, step):
            yield slice(first, min(first + step, extent))

    def _closed(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """``chosen`` and every row that lands where one of them does."""
        problem = self.problem
        last = problem.last_row
        picked = np.zeros(last, bool)
        picked[chosen] = True
        maps = {
            coordinate.via
            for op in self.stores
            for coordinate in op.access.coordinates
            if coordinate.via is not None and coordinate.index == problem.signature.rows
        }
        for name in sorted(maps):
            landing = problem.arrays[name][:last]
            picked |= np.isin(landing, landing[picked])
        return np.flatnonzero(picked)

    def _compare_block(
        self, op: Store, expert: int, where: Mapping[str, Positions], value: Interval
    ) -> None:
        domain = (self.problem.signature.rows, self.problem.signature.columns)
        got = read(self.problem.arrays, op.access, where, domain)
        if op.accumulate:
            old = point(read({**self.problem.arrays, **self.initial}, op.access, where, domain))
            value = apply(Function.ADD, (old, value))
        bad = self.compare(op, got, value)
        if bad is None:
            return
        (row, column), low, high = bad
        rows, columns = where[domain[0]], where[domain[1]]
        row_at = int(rows[row]) if isinstance(rows, np.ndarray) else _first(rows) + row
        column_at = _first(columns) + column
        at = {**where, domain[0]: row_at, domain[1]: column_at}
        position = tuple(_first(spot) for spot in locate(self.problem.arrays, op.access, at))
        self.where = Place(
            op.access.tensor, position, float(got[row, column]), low, high, expert,
            row_at - self.problem.rows_of(expert).start, column_at,
        )  # fmt: skip

    def _compare_landing(self, landing: Landing) -> None:
        tensor = landing.op.access.tensor
        positions, value = landing.result(self.initial[tensor])
        got = self.problem.arrays[tensor][tuple(positions.T)]
        bad = self.compare(landing.op, got, value)
        if bad is not None:
            (number,), low, high = bad
            position = tuple(map(int, positions[number]))
            self.where = Place(tensor, position, float(got[number]), low, high)

    def compare(
        self, op: Store, got: Array, value: Interval
    ) -> tuple[tuple[int, ...], float, float] | None:
        """Count the elements of ``got`` outside ``value``; the first ever, with its limits."""
        dtype = self.problem.signature.tensor(op.access.tensor).dtype
        low = _round_to(value.low, dtype)
        high = low if value.is_point else _round_to(value.high, dtype)
        wide = got.astype(np.float64)
        unknown = np.isnan(low) | np.isnan(high)
        wrong = ~(((wide >= low) & (wide <= high)) | unknown)
        self.checked += wrong.size
        with np.errstate(all="ignore"):
            middle = (value.low + value.high) / 2
            width = (value.high - value.low) / 2 + np.abs(middle) * _ROUNDOFF[dtype] + TINY
            distance = np.abs(wide - middle) / width
        finite = distance[np.isfinite(distance)]
        if finite.size:
            self.worst = max(self.worst, float(finite.max()))
        count = int(np.count_nonzero(wrong))
        if not count:
            return None
        self.wrong += count
        if self.where is not None:
            return None
        first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        limits = np.broadcast_to(low, wrong.shape)[first], np.broadcast_to(high, wrong.shape)[first]
        return tuple(map(int, first)), float(limits[0]), float(limits[1])

    def _check_untouched(self) -> None:
        """What no row reaches keeps its bits: positions outside a dimension's reached ones."""
        problem, signature = self.problem, self.problem.signature
        for op in self.stores:
            name = op.access.tensor
            array, before = problem.arrays[name], self.initial[name]
            everything = {
                signature.experts: np.arange(len(problem.ends)),
                signature.rows: np.arange(problem.last_row),
                signature.columns: np.arange(problem.sizes[signature.columns]),
            }
            spots = locate(problem.arrays, op.access, everything)
            for axis, spot in enumerate(spots):
                rest = np.setdiff1d(np.arange(array.shape[axis]), np.asarray(spot))
                if not rest.size:
                    continue
                bits = [_bits(a.take(rest, axis=axis)) for a in (array, before)]
                changed = np.argwhere(bits[0] != bits[1])
                self.checked += bits[0].size
                if len(changed) and not self.touched:
                    position = [int(i) for i in changed[0]]
                    position[axis] = int(rest[position[axis]])
                    self.touched = f"{name}{position} belongs to no row, but was written"


def _mapped(op: Store) -> bool:
    return any(coordinate.via is not None for coordinate in op.access.coordinates)


def _row_chunks(rows: range, chosen: NDArray[np.int64] | None) -> Iterator[Positions]:
    if chosen is None:
        for first in range(rows.start, rows.stop, _CHUNK_ROWS):
            yield slice(first, min(first + _CHUNK_ROWS, rows.stop))
        return
    first, last = np.searchsorted(chosen, [rows.start, rows.stop])
    for start in range(first, last, _CHUNK_ROWS):
        yield chosen[start : min(start + _CHUNK_ROWS, last)]


def _first(spot: Positions) -> int:
    if isinstance(spot, slice):
        return int(spot.start)
    return int(spot) if isinstance(spot, int) else int(spot.flat[0])


def _round_to(values: F64, dtype: DType) -> F64:
    """Rounded to f32, then to ``dtype``, as the kernel does; back in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32).astype(NUMPY_TYPES[dtype]).astype(np.float64)


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
