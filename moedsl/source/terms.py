"""The terms that the language and every IR level share: types, indices, tensors, accesses.

They are defined here, in the lowest layer, so that the checker can speak of them;
:mod:`moedsl.ir.core` and :mod:`moedsl.ir.elementwise` give them to the IR.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moedsl.source.span import NOWHERE, Span


class DType(StrEnum):
    """Element types of tensors."""

    BF16 = "bf16"
    F16 = "f16"
    F32 = "f32"
    I32 = "i32"

    @property
    def bytes(self) -> int:
        """Size of one element in bytes."""
        return 2 if self in (DType.BF16, DType.F16) else 4


class Compute(StrEnum):
    """How products are formed. ``TF32`` rounds f32 factors to tf32 first: part of the meaning."""

    BF16 = "bf16"
    F16 = "f16"
    F32 = "f32"
    TF32 = "tf32"


class IndexKind(StrEnum):
    """FIXED: extent known at compile time; DYNAMIC: at the call; RAGGED: per expert, on device."""

    FIXED = "fixed"
    DYNAMIC = "dynamic"
    RAGGED = "ragged"


@dataclass(frozen=True, slots=True)
class Index:
    """A named index. ``extent`` is set for FIXED only, ``over`` (the expert index) for RAGGED."""

    name: str
    kind: IndexKind
    extent: int | None = None
    over: str | None = None
    span: Span = NOWHERE


class Role(StrEnum):
    """INPUT is read, OUTPUT is written, ACCUMULATED is an output that ``+=`` also reads."""

    INPUT = "input"
    OUTPUT = "output"
    ACCUMULATED = "accumulated"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A kernel parameter. ``dims`` are index names, outermost first; none for a scalar.

    A dimension with the ragged index is packed: expert e owns positions offs[e-1]..offs[e].
    """

    name: str
    role: Role
    dtype: DType
    dims: tuple[str, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One subscript: ``index``, or ``via[index]`` where ``via`` names an i32 map tensor."""

    index: str
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A tensor with one coordinate for each of its dimensions, as in ``x[src[m], k]``."""

    tensor: str
    coordinates: tuple[Coordinate, ...]

    @property
    def indices(self) -> tuple[str, ...]:
        """Index names in subscript order."""
        return tuple(coordinate.index for coordinate in self.coordinates)

    def position(self, index: str) -> int | None:
        """The dimension that ``index`` subscripts, or None."""
        for position, coordinate in enumerate(self.coordinates):
            if coordinate.index == index:
                return position
        return None


class Function(StrEnum):
    """Elementwise functions, each with a fixed number of operands (``arity``)."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    NEG = "neg"
    ABS = "abs"
    MIN = "min"
    MAX = "max"
    CLAMP = "clamp"
    EXP = "exp"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    SILU = "silu"
    RELU = "relu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"

    @property
    def transcendental(self) -> bool:
        """Whether it takes an exponential, or an error function: libraries round its last bit as
        they like, and a GPU computes it at a fraction of the rate of sums and products.
        """
        return self in (
            Function.EXP,
            Function.TANH,
            Function.SIGMOID,
            Function.SILU,
            Function.GELU,
            Function.GELU_TANH,
        )

    @property
    def arity(self) -> int:
        """Number of operands; ``clamp(x, low, high)`` has three."""
        match self:
            case (
                Function.ADD
                | Function.SUB
                | Function.MUL
                | Function.DIV
                | Function.MIN
                | Function.MAX
            ):
                return 2
            case Function.CLAMP:
                return 3
            case _:
                return 1
