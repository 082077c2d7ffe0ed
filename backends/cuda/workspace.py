"""Scratch memory of launches: item counters, split_k semaphores and partial sums.

Launches on one stream follow each other and share their scratch. Launches that may run at the
same time never do: every stream has its own, and so has every stream of every graph capture,
because a graph may be replayed anywhere, any time. The latter is never given back: only the
owner of the graph knows how long it lives.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moedsl.backends.cuda.driver import check, current, driver
from moedsl.backends.cuda.streams import LEGACY, identify

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from moedsl.backends.cuda.driver import Gpu


@dataclass(frozen=True, slots=True)
class Scratch:
    """Addresses of two blocks, 256-byte aligned: ``zeroed`` is zero between launches, ``free``
    holds anything. With their sizes in bytes.
    """

    zeroed: int = 0
    zeroed_bytes: int = 0
    free: int = 0
    free_bytes: int = 0

    def holds(self, zeroed_bytes: int, free_bytes: int) -> bool:
        """Whether both blocks are large enough."""
        return self.zeroed_bytes >= zeroed_bytes and self.free_bytes >= free_bytes


_NOTHING = Scratch()


class Workspaces:
    """The scratch memory of one kernel on one device. Its user holds a lock around its methods.

    Scratch once given for a stream stays good for that stream, also where it was outgrown.
    """

    def __init__(self, device: Gpu) -> None:
        self._device = device
        self._driver: Any = driver()
        self._blocks: dict[Hashable, Scratch] = {}
        self._owned: list[int] = []
        finalizer = weakref.finalize(self, _release, self._driver, device, self._owned)
        finalizer.atexit = False

    def at(self, stream: Any, zeroed_bytes: int, free_bytes: int) -> Scratch:
        """Scratch of at least these sizes for a launch on a ``CUstream`` of the current device."""
        key, captured = identify(self._driver, stream)
        return self._find(key, zeroed_bytes, free_bytes, owned=not captured)

    def at_legacy(self, zeroed_bytes: int, free_bytes: int) -> Scratch:
        """The same for launches on the device's legacy default stream, now and later."""
        return self._find(LEGACY, zeroed_bytes, free_bytes, owned=True)

    def _find(self, key: Hashable, zeroed_bytes: int, free_bytes: int, *, owned: bool) -> Scratch:
        found = self._blocks.get(key, _NOTHING)
        if found.holds(zeroed_bytes, free_bytes):
            return found
        return self._grow(key, found, (zeroed_bytes, free_bytes), owned=owned)

    def _grow(self, key: Hashable, old: Scratch, need: tuple[int, int], *, owned: bool) -> Scratch:
        """Blocks outgrown stay allocated (earlier launches use them), so sizes double."""
        zeroed_bytes, free_bytes = (
            have if have >= asked else max(asked, 2 * have)
            for have, asked in zip((old.zeroed_bytes, old.free_bytes), need, strict=True)
        )
        zeroed, free = old.zeroed, old.free
        with current(self._device), allocating(self._driver):
            if zeroed_bytes > old.zeroed_bytes:
                zeroed = self._allocate(zeroed_bytes, owned=owned)
                _clear(zeroed, zeroed_bytes)
            if free_bytes > old.free_bytes:
                free = self._allocate(free_bytes, owned=owned)
        self._blocks[key] = Scratch(zeroed, zeroed_bytes, free, free_bytes)
        return self._blocks[key]

    def _allocate(self, size: int, *, owned: bool) -> int:
        address = int(check(driver().cuMemAlloc(size)))
        if owned:
            self._owned.append(address)
        return address


def _release(cuda: Any, device: Gpu, addresses: list[int]) -> None:
    if not addresses:
        return
    check(cuda.cuCtxPushCurrent(device.context))
    with allocating(cuda):
        for address in addresses:
            check(cuda.cuMemFree(address))
    check(cuda.cuCtxPopCurrent())


@contextmanager
def allocating(cuda: Any) -> Iterator[None]:
    """Allow this thread to allocate while it, or another one, captures a graph."""
    relaxed = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    before = check(cuda.cuThreadExchangeStreamCaptureMode(relaxed))
    try:
        yield
    finally:
        check(cuda.cuThreadExchangeStreamCaptureMode(before))


def _clear(address: int, size: int) -> None:
    """Zero memory and wait for it, on a stream of its own: the caller's may be recording."""
    cuda = driver()
    stream = check(cuda.cuStreamCreate(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))
    try:
        check(cuda.cuMemsetD8Async(address, 0, size, stream))
        check(cuda.cuStreamSynchronize(stream))
    finally:
        check(cuda.cuStreamDestroy(stream))
