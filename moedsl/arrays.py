"""Arrays of any library, seen as a pointer with shape, strides and element type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moedsl.ir.core import DType


@dataclass(frozen=True, slots=True)
class ArrayView:
    """One array argument. ``strides`` count elements; ``device`` is a CUDA ordinal, None for host.

    ``owner`` keeps the memory alive; for host arrays it is the NumPy array itself.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    device: int | None
    owner: object
