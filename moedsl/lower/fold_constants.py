"""Compute at compile time what depends on constants alone."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from moedsl.ir.elementwise import Apply, Constant, Function
from moedsl.ir.moe import MoeKernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.ir.moe import MoeOp


def fold_constants(kernel: MoeKernel) -> MoeKernel:
    """Replace every ``Apply`` to constants by the constant it has at run time, to the bit.

    Folded is what IEEE 754 defines: arithmetic, ``neg``, ``abs``, and selections with one possible
    result. ``exp`` and the like stay, for backends approximate them differently; so does what
    is not finite.
    """
    known: dict[str, float] = {}
    body: list[MoeOp] = []
    for op in kernel.body:
        folded = op
        if isinstance(op, Apply) and all(value.name in known for value in op.operands):
            number = _evaluate(op.function, [known[value.name] for value in op.operands])
            if number is not None:
                folded = Constant(op.result, number, op.span)
        if isinstance(folded, Constant):
            known[folded.result.name] = round_f32(folded.number)
        body.append(folded)
    return MoeKernel(kernel.signature, tuple(body), kernel.source)


def round_f32(number: float) -> float:
    """``number`` rounded to nearest, ties to even, in f32; infinite where f32 overflows."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return rounded


def _evaluate(function: Function, numbers: Sequence[float]) -> float | None:
    """The f32 result if there is exactly one and it is finite."""
    exact = _exact(function, numbers)
    if exact is None or not math.isfinite(exact):
        return None
    # Rounding the f64 result again is exact for + - * /: 53 >= 2 * 24 + 2 bits (Figueroa 1995).
    rounded = round_f32(exact)
    return rounded if math.isfinite(rounded) else None


def _exact(function: Function, numbers: Sequence[float]) -> float | None:
    match function, numbers:
        case Function.ADD, [a, b]:
            return a + b
        case Function.SUB, [a, b]:
            return a - b
        case Function.MUL, [a, b]:
            return a * b
        case Function.DIV, [a, b] if b != 0:
            return a / b
        case Function.NEG, [a]:
            return -a
        case Function.ABS, [a]:
            return abs(a)
        case Function.MIN, [a, b]:
            return _signed(min(a, b))
        case Function.MAX, [a, b]:
            return _signed(max(a, b))
        case Function.CLAMP, [a, low, high] if low <= high:
            return _signed(min(max(a, low), high))
        case Function.RELU, [a]:
            return _signed(max(a, 0.0))
        case _:
            return None


def _signed(number: float) -> float | None:
    """``number`` unless it is a zero: which sign a selection of zeros has is not defined."""
    return number if number != 0 else None
