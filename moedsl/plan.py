"""The short way of a call: find the plan that an earlier call like it has left.

A plan is for all calls whose arrays differ in nothing but addresses. Those are looked up by the
marks of every array, or recognised without by a reader, where the arrays' library has such.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from moedsl.arrays import unread
from moedsl.libraries import LIBRARIES, library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moedsl.arrays import Reader
    from moedsl.ir.moe import Signature

MOST_KNOWN = 4096
"""Sets of addresses that a plan remembers; for each one more it forgets any of them."""

MOST_READERS = 8
"""Readers kept for calls in which one argument has the same shape."""


@dataclass(slots=True)
class Plan:
    """How to serve calls like one that was checked.

    ``launch`` takes the addresses of a call's arrays, of fresh outputs and of numbers, and the
    handle of the caller's stream or what ``stream`` tells. ``makers`` make the outputs where the
    caller gives none, ``address`` reads where they lie. ``keep`` puts numbers on the device.
    ``extents`` are the bytes around each array's address that may be touched; the last ``outputs``
    arrays are the caller's outputs.
    """

    launch: Callable[[Sequence[int], int], None]
    stream: Callable[[], int | None]
    keep: Callable[[bytes, int], int] | None
    makers: tuple[Callable[[], Any], ...]
    address: Callable[[Any], int]
    extents: tuple[tuple[int, int], ...]
    outputs: int
    known: set[tuple[int, ...]] = field(default_factory=set)
    """Addresses at which arrays like these are known to be aligned alike and to share nothing."""

    def remember(self, addresses: tuple[int, ...]) -> None:
        """Take calls with these addresses from now on without a closer look."""
        if len(self.known) >= MOST_KNOWN:
            # Not the oldest, which calls that take turns at a few too many need next.
            self.known.pop()
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

    inputs: Sequence[Any]
    given: Sequence[object] | None
    stream: int | None
    arrays: Sequence[object]
    numbers: tuple[int, ...]


Recognised: TypeAlias = "tuple[Reader, Plan]"
"""What recognises calls, and the plan for them."""


class Recent:
    """The plans of late calls of one form, found without their marks.

    ``last`` recognises calls like the last one and is to be tried first. The others are many where
    the number of rows changes with every call, so only those are tried that come into question by
    the shape of the input at position ``telling``.
    """

    def __init__(self, telling: int) -> None:
        self.last: Recognised = unread, NO_PLAN
        self._telling = telling
        self._seen: dict[Hashable, tuple[Recognised, ...]] = {}

    def find(
        self, inputs: Sequence[Any], arrays: Sequence[object]
    ) -> tuple[Plan, tuple[int, ...]] | None:
        """The plan for a call at known addresses, and those; None if it is not recognised.

        The call is one that ``last`` does not serve.
        """
        for seen in self._like(inputs):
            if seen is self.last:
                continue
            read, plan = seen
            addresses = read(arrays)
            if addresses is not None and addresses in plan.known:
                self.last = seen
                return plan, addresses
        return None

    def learn(self, plan: Plan, request: Request) -> None:
        """Have calls like this one, which is served by ``plan``, recognised."""
        like = self._like(request.inputs)
        for seen in like:
            if seen[1] is plan and seen[0](request.arrays) is not None:
                self.last = seen
                return
        read = library_of(request.arrays[0]).reader(request.arrays)
        if read is not unread:
            self.last = new = read, plan
            self._seen[request.inputs[self._telling].shape] = new, *like[: MOST_READERS - 1]

    def _like(self, inputs: Sequence[Any]) -> tuple[Recognised, ...]:
        try:
            return self._seen.get(inputs[self._telling].shape, ())
        except (AttributeError, TypeError):
            # No array, or one without memory, whose shape is made of symbols.
            return ()


def telling(signature: Signature) -> int:
    """Position of an input whose shape says how many rows there are; of ``offs`` if none does."""
    inputs = enumerate(signature.inputs)
    return next((position for position, one in inputs if signature.ragged in one.dims), -1)


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
