"""The short way of a call: find the plan that an earlier call like it has left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moedsl.arrays import unread
from moedsl.libraries import LIBRARIES, library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moedsl.arrays import Reader

MOST_KNOWN = 256
"""Sets of addresses that a plan remembers before it forgets them and looks at each anew."""


@dataclass(slots=True)
class Plan:
    """How to serve calls like one that was checked.

    ``launch`` takes the addresses of a call's arrays, of fresh outputs and of numbers, and the
    handle of the caller's stream or what ``stream`` tells. ``makers`` make the outputs where the
    caller gives none, ``address`` reads where they lie. ``keep`` puts numbers on the device.
    ``extents`` are the bytes around each array's address that may be touched; the last ``outputs``
    arrays are the caller's outputs. ``read`` recognises most arrays that differ from the first
    call's in address at most.
    """

    launch: Callable[[Sequence[int], int], None]
    stream: Callable[[], int | None]
    keep: Callable[[bytes, int], int] | None
    makers: tuple[Callable[[], Any], ...]
    address: Callable[[Any], int]
    extents: tuple[tuple[int, int], ...]
    outputs: int
    read: Reader = unread
    known: set[tuple[int, ...]] = field(default_factory=set)
    """Addresses at which arrays like these are known to be aligned alike and to share nothing."""

    def recognise(self, arrays: Sequence[object]) -> None:
        """Have ``read`` know these arrays, whose marks are those of the plan."""
        if self.read is not unread and self.read(arrays) is None:
            self.read = reader(arrays)

    def remember(self, addresses: tuple[int, ...]) -> None:
        """Take calls with these addresses from now on without a closer look."""
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known.add(addresses)

    def crowded(self, addresses: Sequence[int]) -> bool:
        """Whether one of the caller's outputs may share memory with another array."""
        spans = [
            (address + low, address + high)
            for address, (low, high) in zip(addresses, self.extents, strict=True)
        ]
        for _ in range(self.outputs):
            first, last = spans.pop()
            for low, high in spans:
                if low < last and first < high:
                    return True
        return False


NO_PLAN = Plan(
    launch=lambda pointers, stream: None,
    stream=lambda: None,
    keep=None,
    makers=(),
    address=id,
    extents=(),
    outputs=0,
)
"""It serves no call."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a call was given, for the long way.

    ``inputs`` are in the order of ``argument_names``, ``given`` the outputs if there are any.
    ``arrays`` are both, but for the numbers among the inputs, at the positions ``numbers``.
    """

    inputs: Sequence[object]
    given: Sequence[object] | None
    stream: int | None
    arrays: Sequence[object]
    numbers: tuple[int, ...]


def read_marks(
    arrays: Sequence[object], stream: int | None
) -> tuple[tuple[int, ...], tuple[Hashable, ...]]:
    """Addresses of a call's arrays, and what plans depend on; ArrayError if one is no array."""
    addresses, marks = [], []
    for array in arrays:
        library = LIBRARIES.get(type(array)) or library_of(array)
        address, mark = library.mark(array, stream)
        addresses.append(address)
        marks.append(mark)
    return tuple(addresses), tuple(marks)


def reader(arrays: Sequence[object]) -> Reader:
    """What reads calls with arrays like these in one go, if one library has them all."""
    libraries = {type(library): library for library in map(library_of, arrays)}
    return libraries.popitem()[1].reader(arrays) if len(libraries) == 1 else unread
