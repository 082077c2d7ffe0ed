"""Arrays of any library, seen as a pointer with shape, strides and element type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.ir.core import DType

    Reader = Callable[[Sequence[Any]], tuple[int, ...] | None]
    """Tells the addresses of arrays that are like certain ones in all else; None for others."""


class ArrayError(ValueError):
    """An object cannot be used as an array: ``message`` continues its name."""

    def __init__(self, message: str, help: str = "") -> None:
        self.message, self.help = message, help
        super().__init__(message)


class ElementTypeError(ArrayError):
    """An array's elements, called ``got`` by its library, are of no type that moedsl has."""

    def __init__(self, got: str) -> None:
        self.got = got
        super().__init__(f"holds {got}")


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
    writable: bool = True

    @property
    def extent(self) -> tuple[int, int]:
        """Bytes from ``pointer`` to the first and past the last one touched: (≤ 0, ≥ 0)."""
        if 0 in self.shape:
            return 0, 0
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
        return low * self.dtype.bytes, (high + 1) * self.dtype.bytes

    @property
    def distinct(self) -> bool:
        """Whether different positions are known to lie at different addresses.

        True if, sorted by stride, each stride steps over all that the smaller ones reach.
        """
        reach = 0
        pairs = sorted((abs(s), n) for n, s in zip(self.shape, self.strides, strict=True) if n > 1)
        for stride, count in pairs:
            if stride <= reach:
                return False
            reach += stride * (count - 1)
        return True


def unread(arrays: Sequence[Any]) -> None:
    """The reader to which no arrays are like those that it was made for."""


_MOST_WORK: Any = 100_000
"""Steps until two arrays that may share memory are taken to do so."""

_DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "int32": "i32"}


def element_type(name: str) -> DType:
    """The type that array libraries call ``name``; ElementTypeError if there is none."""
    from moedsl.ir.core import DType

    try:
        return DType(_DTYPES[name])
    except KeyError:
        raise ElementTypeError(name) from None


def library_type(dtype: DType) -> str:
    """What array libraries call ``dtype``."""
    return next(name for name, ours in _DTYPES.items() if ours == dtype)


def packed_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a contiguous array, last dimension innermost."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def overlap(one: ArrayView, other: ArrayView) -> bool:
    """Whether two arrays of one device share memory, exactly where that is feasible to tell.

    Interleaved arrays, such as two column ranges of one matrix, do not overlap.
    """
    (low, high), (other_low, other_high) = one.extent, other.extent
    if one.pointer + low >= other.pointer + other_high:
        return False
    if other.pointer + other_low >= one.pointer + high or low == high or other_low == other_high:
        return False
    import numpy as np

    try:
        return np.shares_memory(_shadow(one), _shadow(other), max_work=_MOST_WORK)
    except np.exceptions.TooHardError:
        return True


class _Shadow:
    """Memory bounds of a view for NumPy, which looks at the addresses and never behind them."""

    def __init__(self, view: ArrayView) -> None:
        size = view.dtype.bytes
        self.__array_interface__ = {
            "version": 3,
            "shape": view.shape,
            "strides": tuple(stride * size for stride in view.strides),
            "typestr": f"|V{size}",
            "data": (view.pointer, True),
        }


def _shadow(view: ArrayView) -> object:
    import numpy as np

    return np.asarray(_Shadow(view))
