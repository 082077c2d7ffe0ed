"""Intervals that hold every f32 value a correct kernel may have at a point of its epilogue.

Endpoints are float64. An operation widens them by the rounding that its f32 version may do, so
the result covers one rounding for each operation and also fused multiply-adds, which round less.
An endpoint that is an f32 value needs no widening: rounding is monotone. The error of the
transcendental functions is the maximum of the CUDA math documentation ("Mathematical Functions",
single precision: expf 2, tanhf 2, erff 2 ulp), carried through their definitions by hand in the
comments below. A NaN endpoint claims nothing: infinity minus infinity, a division by an interval
that holds zero, sums that may overflow on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from moedsl.ir.elementwise import Function

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

HALF_ULP = 2.0**-24
"""Unit roundoff of f32: half an ulp, relative to the value."""
TINY = 2.0**-149
"""The smallest positive f32."""
_OVERFLOW = 2.0**128 - 2.0**103
"""The smallest magnitude that rounds to an infinite f32."""


@dataclass(frozen=True, slots=True)
class Interval:
    """All values between ``low`` and ``high``: float64 arrays of one shape, the same if exact."""

    low: F64
    high: F64

    @property
    def is_point(self) -> bool:
        """Whether both ends are the same array."""
        return self.low is self.high


def point(values: NDArray[Any]) -> Interval:
    """The interval that holds just ``values``."""
    wide = values.astype(np.float64)
    return Interval(wide, wide)


def between(low: F64, high: F64) -> Interval:
    """Values from ``low`` to ``high``; ends beyond the largest f32 become infinite."""
    return Interval(
        np.where(np.abs(low) >= _OVERFLOW, np.copysign(np.inf, low), low),
        np.where(np.abs(high) >= _OVERFLOW, np.copysign(np.inf, high), high),
    )


def rounded(low: F64, high: F64) -> Interval:
    """``[low, high]`` after one rounding to nearest f32."""
    if low is high:
        error = _half_ulp(low)
        if not error.any():
            ends = between(low, low).low
            return Interval(ends, ends)
        return between(low - error, low + error)
    return between(low - _half_ulp(low), high + _half_ulp(high))


def _half_ulp(value: F64) -> F64:
    error = np.abs(value) * HALF_ULP + TINY / 2
    return np.where(value.astype(np.float32) == value, 0.0, error)


def apply(function: Function, operands: tuple[Interval, ...]) -> Interval:
    """``function`` of ``operands``, element by element, as f32 code may compute it."""
    with np.errstate(all="ignore"):
        return _apply(function, operands)


def _apply(function: Function, operands: tuple[Interval, ...]) -> Interval:
    x = operands[0]
    match function:
        case Function.ADD:
            return rounded(*_ends(np.add, x, operands[1]))
        case Function.SUB:
            return _apply(Function.ADD, (x, _negated(operands[1])))
        case Function.MUL:
            return rounded(*_extremes(np.multiply, x, operands[1]))
        case Function.DIV:
            return _quotient(x, operands[1])
        case Function.NEG:
            return _negated(x)
        case Function.ABS:
            return _absolute(x)
        case Function.MIN:
            return Interval(*_ends(np.minimum, x, operands[1]))
        case Function.MAX:
            return Interval(*_ends(np.maximum, x, operands[1]))
        case Function.CLAMP:
            at_least = Interval(*_ends(np.maximum, x, operands[1]))
            return Interval(*_ends(np.minimum, at_least, operands[2]))
        case Function.RELU:
            return Interval(*_ends(np.maximum, x, point(np.zeros(1))))
        case Function.EXP:
            return _monotone(np.exp, x, ulps=2)
        case Function.TANH:
            return _monotone(np.tanh, x, ulps=2)
        case Function.SIGMOID:
            # 1 / (1 + exp(-x)): 2 ulp of expf, half of the sum, half of the quotient; exp(-x)
            # overflows where the sigmoid is below 2^-128, and the quotient is then 0.
            return _monotone(_sigmoid, x, ulps=3, absolute=2.0**-127)
        case Function.SILU:
            # x / (1 + exp(-x)), as above.
            return _dipping(_silu, x, _SILU_DIP, ulps=3, of_operand=2.0**-127)
        case Function.GELU:
            # x (1 + erf(x / sqrt 2)) / 2. The argument's two roundings move erf by at most
            # 0.48 * 2^-23, erff by 2^-23, the sum by 2^-24: times |x| / 2, below |x| 2^-23.
            return _dipping(_gelu, x, _GELU_DIP, ulps=3, of_operand=2.0**-23)
        case Function.GELU_TANH:
            # x (1 + tanh(u)) / 2. Seven roundings in u move tanh by at most 0.45 * 7 * 2^-24,
            # tanhf by 2^-23, the sum by 2^-24: times |x| / 2, below |x| 2^-22.
            return _dipping(_gelu_tanh, x, _GELU_TANH_DIP, ulps=3, of_operand=2.0**-22)
        case _:
            assert_never(function)


def _ends(op: Callable[..., F64], x: Interval, y: Interval) -> tuple[F64, F64]:
    low = op(x.low, y.low)
    return (low, low) if x.is_point and y.is_point else (low, op(x.high, y.high))


def _extremes(op: Callable[..., F64], x: Interval, y: Interval) -> tuple[F64, F64]:
    first = op(x.low, y.low)
    if x.is_point and y.is_point:
        return first, first
    pairs = [] if y.is_point else [(x.low, y.high)]
    pairs += [] if x.is_point else [(x.high, y.low)]
    pairs += [] if x.is_point or y.is_point else [(x.high, y.high)]
    low = high = first
    for left, right in pairs:
        product = op(left, right)
        low, high = np.minimum(low, product), np.maximum(high, product)
    return low, high


def _negated(x: Interval) -> Interval:
    low = -x.high
    return Interval(low, low if x.is_point else -x.low)


def _absolute(x: Interval) -> Interval:
    if x.is_point:
        magnitude = np.abs(x.low)
        return Interval(magnitude, magnitude)
    ends = np.abs(x.low), np.abs(x.high)
    spans_zero = (x.low < 0) & (x.high > 0)
    return Interval(np.where(spans_zero, 0.0, np.minimum(*ends)), np.maximum(*ends))


def _quotient(x: Interval, y: Interval) -> Interval:
    result = rounded(*_extremes(np.divide, x, y))
    unknown = (y.low <= 0) & (y.high >= 0)
    if not unknown.any():
        return result
    return Interval(np.where(unknown, np.nan, result.low), np.where(unknown, np.nan, result.high))


def _monotone(
    function: Callable[[F64], F64], x: Interval, ulps: float, absolute: float = TINY
) -> Interval:
    low = function(x.low)
    high = low if x.is_point else function(x.high)
    relative = ulps * 2 * HALF_ULP
    return between(
        low - np.abs(low) * relative - absolute, high + np.abs(high) * relative + absolute
    )


def _dipping(
    function: Callable[[F64], F64], x: Interval, dip: float, ulps: float, of_operand: float
) -> Interval:
    """A function that falls up to its only minimum, at ``dip``, and rises from there on."""
    low = high = function(x.low)
    largest = np.abs(x.low)
    if not x.is_point:
        other = function(x.high)
        low, high = np.minimum(low, other), np.maximum(high, other)
        inside = (x.low < dip) & (x.high > dip)
        low = np.where(inside, function(np.array(dip)), low)
        largest = np.maximum(largest, np.abs(x.high))
    slack = largest * of_operand + TINY
    relative = ulps * 2 * HALF_ULP
    return between(low - np.abs(low) * relative - slack, high + np.abs(high) * relative + slack)


def _sigmoid(x: F64) -> F64:
    return 1.0 / (1.0 + np.exp(-x))


def _silu(x: F64) -> F64:
    return x / (1.0 + np.exp(-x))


def _gelu(x: F64) -> F64:
    return 0.5 * x * erfc(-x * math.sqrt(0.5))


def _gelu_tanh(x: F64) -> F64:
    # x (1 + tanh(u)) / 2 = x sigmoid(2 u), without the cancellation.
    return x * _sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))


# Where the derivatives vanish; the functions are flat there, so ten digits give twenty.
_SILU_DIP = -1.2784645427610738
_GELU_DIP = -0.7517915246935645
_GELU_TANH_DIP = -0.7524614220710163

_STEP = 2.0**-8
_LAST = 28.0
_TABLE = np.array([math.erfc(i * _STEP) for i in range(int(_LAST / _STEP) + 1)])


def erfc(x: F64) -> F64:
    """1 - erf(x) in float64, with a relative error below 1e-10.

    Taylor's series around the nearest of ``math.erfc``'s tabulated values; its derivatives are
    Hermite polynomials times the Gaussian. erfc(-x) = 2 - erfc(x).
    """
    size = np.minimum(np.abs(x), _LAST)
    number = np.rint(size / _STEP)
    a = number * _STEP
    h = size - a
    square = a * a
    # H_n(a) (-h)^n / (n + 1)! for n = 0..5.
    series = 1.0 + h * (
        -a
        + h
        * (
            (4 * square - 2) / 6
            + h
            * (
                -a * (8 * square - 12) / 24
                + h
                * (
                    ((16 * square - 48) * square + 12) / 120
                    - h * a * ((32 * square - 160) * square + 120) / 720
                )
            )
        )
    )
    nearest = _TABLE[np.nan_to_num(number).astype(np.int64)]
    tail = nearest - 2 / math.sqrt(math.pi) * np.exp(-square) * h * series
    return np.where(x < 0, 2.0 - tail, tail)
