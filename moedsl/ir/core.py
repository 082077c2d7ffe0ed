"""What every dialect is made of: element types, indices, tensors, values, accesses.

An operation is a frozen dataclass of one dialect's closed union. Its fields are, by annotation,
results (fields named ``result`` or ``results``), operands (other ``Value`` fields) and attributes
(everything else); :mod:`moedsl.ir.text` prints and parses every dialect from these annotations
alone. Rewrites make new operations and keep ``span``.
"""

from __future__ import annotations

from dataclasses import dataclass

from moedsl.source.terms import (
    Access,
    Compute,
    Coordinate,
    DType,
    Index,
    IndexKind,
    Role,
    Tensor,
)

__all__ = [
    "Access",
    "Compute",
    "Coordinate",
    "DType",
    "Index",
    "IndexKind",
    "Role",
    "Tensor",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value: f32 at every point of the domain spanned by the index names ``dims``."""

    name: str
    dims: tuple[str, ...]
