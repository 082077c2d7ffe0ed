"""The elementwise functions on f32 arrays, each operation rounded once to f32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

import numpy as np

from moedsl.intervals import erfc
from moedsl.ir.elementwise import Function

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]

_ONE, _HALF = np.float32(1), np.float32(0.5)


def evaluate(function: Function, operands: tuple[F32, ...]) -> F32:
    """``function`` of f32 ``operands`` that broadcast; NaN operands give NaN."""
    x = operands[0]
    match function:
        case Function.ADD:
            return x + operands[1]
        case Function.SUB:
            return x - operands[1]
        case Function.MUL:
            return x * operands[1]
        case Function.DIV:
            return x / operands[1]
        case Function.NEG:
            return -x
        case Function.ABS:
            return np.abs(x)
        case Function.MIN:
            return np.minimum(x, operands[1])
        case Function.MAX:
            return np.maximum(x, operands[1])
        case Function.CLAMP:
            return np.minimum(np.maximum(x, operands[1]), operands[2])
        case Function.EXP:
            return np.exp(x)
        case Function.TANH:
            return np.tanh(x)
        case Function.SIGMOID:
            return _ONE / (_ONE + np.exp(-x))
        case Function.SILU:
            below: F32 = _ONE + np.exp(-x)
            return x / below
        case Function.RELU:
            return np.maximum(x, np.float32(0))
        case Function.GELU:
            # NumPy has no f32 erf; in float64 the function is rounded once.
            wide = x.astype(np.float64)
            return (0.5 * wide * erfc(-wide * math.sqrt(0.5))).astype(np.float32)
        case Function.GELU_TANH:
            cube = x * x * x
            inner = (x + cube * np.float32(0.044715)) * np.float32(math.sqrt(2 / math.pi))
            above: F32 = _ONE + np.tanh(inner)
            return _HALF * x * above
        case _:
            assert_never(function)
