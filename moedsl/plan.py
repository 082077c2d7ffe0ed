"""The short way of a call: find the plan that an earlier call like it has left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moedsl.libraries import LIBRARIES, library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moedsl.libraries import Library


@dataclass(slots=True)
class Plan:
    """How to serve calls like one that was checked.

    ``arrange`` takes the addresses of the inputs, ``offs`` and the outputs and gives them in the
    order in which the launch takes them. ``makers`` make the outputs where the caller gives none,
    arrays of ``library``. ``extents`` are the bytes around each address that may be touched.
    """

    launch: Callable[[Sequence[int], int], None]
    arrange: Callable[[Sequence[int]], Sequence[int]]
    makers: tuple[Callable[[], Any], ...]
    library: Library
    extents: tuple[tuple[int, int], ...]
    roomy: list[int] = field(default_factory=list)
    """Addresses last seen not to be crowded."""

    def crowded(self, addresses: Sequence[int], outputs: int) -> bool:
        """Whether one of the last ``outputs`` arrays may share memory with another array."""
        if addresses == self.roomy:
            return False
        spans = [
            (address + low, address + high)
            for address, (low, high) in zip(addresses, self.extents, strict=True)
        ]
        while outputs:
            first, last = spans.pop()
            for low, high in spans:
                if low < last and first < high:
                    return True
            outputs -= 1
        self.roomy = list(addresses)
        return False


def read_marks(
    arrays: Sequence[object], stream: int | None
) -> tuple[list[int], tuple[Hashable, ...]]:
    """Addresses of a call's arrays, and the key of its plan; ArrayError if one is no array."""
    addresses, keys = [], []
    for array in arrays:
        library = LIBRARIES.get(type(array)) or library_of(array)
        address, key = library.mark(array, stream)
        addresses.append(address)
        keys.append(key)
    return addresses, tuple(keys)
