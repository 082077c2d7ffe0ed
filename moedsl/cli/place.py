"""Where a run takes place: host memory, or a GPU reached through cuda.core alone."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from moedsl.arrays import ArrayView
from moedsl.backend import Call
from moedsl.inputs import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.inputs import Arguments, GuardedArray

BATCH_SECONDS = 2e-3
"""GPU time between two events: long against the microsecond that an event resolves."""

MOST_SECONDS = 0.5
"""About how long a timing may take in all."""


class Place(Protocol):
    """Memory of one kind, and a clock for what computes there."""

    def put(self, arguments: Arguments) -> Call:
        """A call with the arguments there, canaries and all."""

    def fetch(self, arguments: Arguments) -> None:
        """Wait, and bring what the call left of its arguments back into ``arguments``."""

    def seconds(self, launch: Callable[[], None], first: float) -> float:
        """Median time of ``launch``, which has run before, in ``first`` seconds of wall time."""


class Host:
    """Host memory; times are wall times."""

    def put(self, arguments: Arguments) -> Call:
        """The arguments themselves."""
        return arguments.call()

    def fetch(self, arguments: Arguments) -> None:
        """They are there."""

    def seconds(self, launch: Callable[[], None], first: float) -> float:
        """Median of a few runs, the first among them; of that one alone if it took long."""
        taken = [first]
        while len(taken) < 5 and sum(taken) < MOST_SECONDS:
            began = time.perf_counter()
            launch()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)


@dataclass
class _Mirror:
    """A guarded array on the device: all its bytes, at the same distance from alignment."""

    buffer: Any
    address: int


@dataclass
class Gpu:
    """The first GPU, with a stream of its own."""

    _device: Any = None
    _stream: Any = None
    _mirrors: dict[int, _Mirror] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from cuda.core import Device

        self._device = Device(0)
        self._device.set_current()
        self._stream = self._device.create_stream()

    def put(self, arguments: Arguments) -> Call:
        """A call with copies of the arguments on the GPU."""
        self._mirrors.clear()
        views = {name: self._put(guarded) for name, guarded in arguments.tensors.items()}
        offs = self._put(arguments.offs)
        return Call(views, offs, arguments.sizes, int(self._stream.handle))

    def fetch(self, arguments: Arguments) -> None:
        """Copy the whole memory of every watched argument back."""
        from cuda.bindings import driver

        self._stream.sync()
        for guarded in (*arguments.tensors.values(), arguments.offs):
            if not guarded.armed:
                continue
            address = self._mirrors[id(guarded)].address
            memory = guarded.memory
            _check(driver.cuMemcpyDtoH(memory.ctypes.data, address, memory.nbytes))

    def seconds(self, launch: Callable[[], None], first: float) -> float:
        """Median over batches of launches, each batch between two events."""
        once = self._batch(launch, 1)
        count = max(1, min(1000, math.ceil(BATCH_SECONDS / max(once, 1e-7))))
        self._batch(launch, count)
        rounds = max(3, min(20, int(MOST_SECONDS / max(once * count, 1e-7))))
        return statistics.median(self._batch(launch, count) for _ in range(rounds))

    def _put(self, guarded: GuardedArray) -> ArrayView:
        from cuda.bindings import driver

        memory, view = guarded.memory, guarded.view()
        buffer = self._device.allocate(memory.nbytes + ALIGNMENT, stream=self._stream)
        self._stream.sync()
        address = int(buffer.handle)
        address += (view.pointer - address - guarded.offset) % ALIGNMENT
        _check(driver.cuMemcpyHtoD(address, memory.ctypes.data, memory.nbytes))
        self._mirrors[id(guarded)] = _Mirror(buffer, address)
        pointer, device = address + guarded.offset, self._device.device_id
        return ArrayView(pointer, view.shape, view.strides, view.dtype, device, buffer)

    def _batch(self, launch: Callable[[], None], count: int) -> float:
        from cuda.core import EventOptions

        options = EventOptions(timing_enabled=True)
        start = self._stream.record(options=options)
        for _ in range(count):
            launch()
        end = self._stream.record(options=options)
        end.sync()
        return float(end - start) * 1e-3 / count


def _check(answer: tuple[Any, ...]) -> None:
    if int(answer[0]) != 0:
        raise RuntimeError(f"the CUDA driver failed: {answer[0].name}")
