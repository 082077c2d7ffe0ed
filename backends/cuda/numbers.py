"""Numbers in device memory, for kernels that read scalars from there.

A call with a number must not wait for the GPU, and whoever replays a graph may read the number any
time later. So every different number has memory of its own that never holds anything else and is
never given back, and is written, always with the same bits, on each stream that reads it.
"""

from __future__ import annotations

import warnings
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda.driver import check, current, driver, gpu
from moedsl.backends.cuda.streams import LEGACY, LEGACY_STREAM, PER_THREAD_STREAM, identify
from moedsl.backends.cuda.workspace import allocating

if TYPE_CHECKING:
    from collections.abc import Hashable

SLOT_BYTES = 16
"""Distance of numbers; calls with addresses equal modulo 16 share a plan."""

SLAB_SLOTS = 4096
"""Numbers that memory is allocated for at once; who comes to need more is warned."""


class Numbers:
    """The numbers on one device."""

    def __init__(self, ordinal: int) -> None:
        self._device = gpu(ordinal)
        self._driver: Any = driver()
        self._lock = Lock()
        self._addresses: dict[bytes, int] = {}
        self._slab = 0
        self._written: set[tuple[int, Hashable]] = set()

    def at(self, data: bytes, stream: int) -> int:
        """Address of the number with these 2 or 4 bytes, for work on ``stream`` from now on."""
        handle = self._driver.CUstream(stream or LEGACY_STREAM)
        address = self._addresses.get(data)
        if address is not None and stream != PER_THREAD_STREAM:
            try:
                if (address, self._identity(stream, handle)) in self._written:
                    return address
            except RuntimeError:
                pass  # Most likely this thread has no context.
        with self._lock, current(self._device):
            address = self._addresses.get(data)
            if address is None:
                address = self._addresses[data] = self._slot()
            identity = self._identity(stream, handle)
            if (address, identity) not in self._written:
                fill = {2: self._driver.cuMemsetD16Async, 4: self._driver.cuMemsetD32Async}
                check(fill[len(data)](address, int.from_bytes(data, "little"), 1, handle))
                self._written.add((address, identity))
        return address

    def _identity(self, stream: int, handle: Any) -> Hashable:
        return identify(self._driver, handle)[0] if stream > LEGACY_STREAM else LEGACY

    def _slot(self) -> int:
        count = len(self._addresses)
        if count % SLAB_SLOTS == 0:
            if count:
                warnings.warn(
                    f"kernels were given {count} different numbers, each of which stays in device "
                    "memory; pass what keeps changing as a 0-d array",
                    PerformanceWarning,
                    stacklevel=2,
                )
            with allocating(self._driver):
                self._slab = int(check(self._driver.cuMemAlloc(SLAB_SLOTS * SLOT_BYTES)))
        return self._slab + count % SLAB_SLOTS * SLOT_BYTES


@cache
def numbers_on(ordinal: int) -> Numbers:
    """The numbers on the device with this CUDA ordinal."""
    return Numbers(ordinal)
