"""The short way of a call: find the plan that an earlier call like it has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moedsl.libraries import library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moedsl.libraries import Library


@dataclass(frozen=True, slots=True)
class Plan:
    """How to serve calls like one that was checked.

    Arrays are numbered: the inputs, ``offs``, the outputs. ``order[i]`` is the number of the array
    whose address the launch takes i-th. ``makers`` make the outputs where the caller gives none,
    arrays of ``library``. ``extents`` are the bytes around each address that may be touched.
    """

    launch: Callable[[Sequence[int], int], None]
    order: tuple[int, ...]
    makers: tuple[Callable[[], Any], ...]
    library: Library
    extents: tuple[tuple[int, int], ...]

    def crowded(self, addresses: Sequence[int], outputs: int) -> bool:
        """Whether one of the last ``outputs`` arrays may share memory with another array."""
        extents = self.extents
        for output in range(len(addresses) - outputs, len(addresses)):
            low, high = extents[output]
            first, last = addresses[output] + low, addresses[output] + high
            for other in range(output):
                address, (low, high) = addresses[other], extents[other]
                if address + low < last and first < address + high:
                    return True
        return False


def read_marks(
    arrays: Sequence[object], stream: int | None
) -> tuple[list[int], tuple[Hashable, ...]]:
    """Addresses of a call's arrays, and the key of its plan; ArrayError if one is no array."""
    addresses, keys = [], []
    for array in arrays:
        address, key = library_of(array).mark(array, stream)
        addresses.append(address)
        keys.append(key)
    return addresses, tuple(keys)
