"""What every dialect is made of: element types, indices, tensors, values, accesses.

An operation is a frozen dataclass of one dialect's closed union. Its fields are, by annotation,
results (fields named ``result`` or ``results``), operands (other ``Value`` fields) and attributes
(everything else); :mod:`moedsl.ir.text` prints and parses every dialect from these annotations
alone. Rewrites make new operations and keep ``span``.
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


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value: f32 at every point of the domain spanned by the index names ``dims``."""

    name: str
    dims: tuple[str, ...]
