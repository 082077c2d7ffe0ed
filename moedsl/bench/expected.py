"""What each kernel must compute, in float64, and how far off a result of f32 sums may be.

Arrays are NumPy's or torch's: whatever is used here both call by one name. A product of depth K
is allowed 8·√K·2⁻²⁴·S with S = |x|·|w|, the statistical test of ``moedsl run``; what follows it is
allowed the rounding it does. A contestant that stores intermediate results does so in bf16, and
is allowed these roundings, too: they are of its making, not wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.bench.suite import Case

INITIAL = 1.0
"""What outputs hold that a kernel adds to."""

_F32 = 2.0**-24
_BF16 = 2.0**-8
"""bf16 has 8 significant bits: half a unit in the last place is at most this of the value."""
_TINY = 2.0**-126
"""The smallest normal number: no result needs to be closer."""
_SILU = 2.0**-18
"""Relative error of silu in f32, approximated or not, for arguments within ±30.

The exponential's rounded argument is off by 30 · 2⁻²⁴ at most; its and the quotient's own errors
are a few units of 2⁻²³.
"""
_SILU_SLOPE = 1.1
"""No slope of silu is steeper."""


@dataclass(frozen=True)
class Estimate:
    """Exact values and the most that a right result is off them: float64 arrays of one shape."""

    value: Any
    error: Any

    def in_bf16(self) -> Estimate:
        """The same after rounding to bf16."""
        rounding = (abs(self.value) + self.error) * _BF16
        return Estimate(self.value, self.error + rounding + _TINY)


@dataclass(frozen=True)
class Given:
    """One case's inputs by name, of ``library`` (``numpy`` or ``torch``, the module itself).

    ``stores`` tells that intermediate results are stored in bf16.
    """

    case: Case
    inputs: Mapping[str, Any]
    library: Any
    stores: bool = False

    def wide(self, array: Any) -> Any:
        """``array`` in float64."""
        return self.library.asarray(array, dtype=self.library.float64)

    def part(self, name: str, position: Any) -> Any:
        """A part of an input in float64."""
        return self.wide(self.inputs[name][position])

    def positions(self, name: str, rows: slice) -> Any:
        """What a map holds for ``rows``, as subscripts."""
        return self.library.asarray(self.inputs[name][rows], dtype=self.library.int64)

    def product(self, rows: Any, columns: Any) -> Estimate:
        """``rows`` [r, d] times ``columns`` [c, d]: sums [r, c] in f32."""
        spread = abs(rows) @ abs(columns).T
        return Estimate(rows @ columns.T, 8 * rows.shape[1] ** 0.5 * _F32 * spread)

    def intermediate(self, estimate: Estimate) -> Estimate:
        """``estimate``, stored if intermediate results are."""
        return estimate.in_bf16() if self.stores else estimate


Parts = Iterator[tuple[Any, Estimate]]
"""Where in the output, and what is expected there."""
Expected = Callable[[Given], Parts]


def expect_product(given: Given) -> Parts:
    """``y[m, n] = sum[k] x[m, k] * w[e, n, k]``."""
    for expert, rows in _with_rows(given.case):
        yield rows, given.product(given.part("x", rows), given.part("w", expert)).in_bf16()


def expect_gather(given: Given) -> Parts:
    """``y[m, n] = sum[k] x[src[m], k] * w[e, n, k]``."""
    for expert, rows in _with_rows(given.case):
        gathered = given.part("x", given.positions("src", rows))
        yield rows, given.product(gathered, given.part("w", expert)).in_bf16()


def expect_gate_up(given: Given) -> Parts:
    """``h[m, n] = silu(sum[k] x[m, k] * wg[e, n, k]) * sum[k] x[m, k] * wu[e, n, k]``."""
    for expert, rows in _with_rows(given.case):
        x = given.part("x", rows)
        gate = given.intermediate(given.product(x, given.part("wg", expert)))
        up = given.intermediate(given.product(x, given.part("wu", expert)))
        value = gate.value / (1 + given.library.exp(-gate.value))
        activated = given.intermediate(
            Estimate(value, _SILU_SLOPE * gate.error + abs(value) * _SILU)
        )
        error = activated.error * (abs(up.value) + up.error) + abs(value) * up.error
        result = value * up.value
        yield rows, Estimate(result, error + abs(result) * _F32).in_bf16()


def expect_weight_gradient(given: Given) -> Parts:
    """``dw[e, n, k] = sum[m] dy[m, n] * x[m, k]``; zeros for an expert without rows."""
    for expert, rows in given.case.segments():
        yield expert, given.product(given.part("dy", rows).T, given.part("x", rows).T).in_bf16()


def expect_scatter(given: Given) -> Parts:
    """``y[dst[m], n] += p[m] * sum[k] x[m, k] * w[e, n, k]``, in f32 onto :data:`INITIAL`."""
    shape, float64 = (given.case.tokens, given.case.n), given.library.float64
    value = given.library.full(shape, INITIAL, dtype=float64)
    size = given.library.full(shape, abs(INITIAL), dtype=float64)
    error = given.library.zeros(shape, dtype=float64)
    terms = given.library.zeros((given.case.tokens, 1), dtype=float64)
    for expert, rows in _with_rows(given.case):
        # No token stands twice among the rows of one expert.
        tokens, weight = given.positions("dst", rows), given.part("p", rows)[:, None]
        product = given.product(given.part("x", rows), given.part("w", expert))
        product = given.intermediate(product)
        value[tokens] += weight * product.value
        size[tokens] += abs(weight) * (abs(product.value) + product.error)
        error[tokens] += abs(weight) * product.error
        terms[tokens] += 1
    # A term rounds when it is made and then in each addition; one more stands for second orders.
    yield slice(None), Estimate(value, error + (terms + 2) * _F32 * size)


def worst_error(parts: Parts, result: Any, given: Given) -> float:
    """The largest error of ``result`` over what is allowed; right if at most 1. NaN gives inf."""
    worst = 0.0
    for where, estimate in parts:
        ratio = abs(given.wide(result[where]) - estimate.value) / estimate.error
        largest = float(ratio.max())
        worst = max(worst, largest if largest == largest else float("inf"))
    return worst


def _with_rows(case: Case) -> Iterable[tuple[int, slice]]:
    return ((expert, rows) for expert, rows in case.segments() if rows.start < rows.stop)
