"""The CUDA driver: which GPUs there are, their contexts, loaded kernels."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from moedsl.source.diagnostic import UnavailableError
from moedsl.target import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cuda.core import Kernel

    from moedsl.backends.cuda.nvrtc import Binary


@dataclass(frozen=True)
class Gpu:
    """One device. ``context`` is its primary context, the one that every library shares;
    ``memory_bandwidth`` is what its memory could move, in bytes a second, 0 if it does not tell.
    """

    ordinal: int
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory_bandwidth: float
    context: Any

    @property
    def target(self) -> Target | None:
        """What to compile for, None if the device is older than any target."""
        return target_of(*self.capability)


def target_of(major: int, minor: int) -> Target | None:
    """The target of a compute capability: its own, else the newest whose code it runs."""
    if (major, minor) == (9, 0):
        return TARGETS["sm_90a"]
    runs = [
        target
        for target in TARGETS.values()
        if target.capability // 10 == major and target.capability % 10 <= minor
    ]
    return max(runs, key=lambda target: target.capability, default=None)


@cache
def driver() -> Any:
    """The bindings of the driver, initialised; UnavailableError if there is no driver or GPU."""
    help = "a GPU needs NVIDIA's driver, 580 or newer; without one, use the interp backend"
    try:
        from cuda.bindings import driver as bindings

        (status,) = bindings.cuInit(0)
    except (ImportError, RuntimeError) as error:
        raise UnavailableError("there is no CUDA driver on this machine", help) from error
    if int(status) != 0:
        raise UnavailableError(f"the CUDA driver finds no usable GPU: {status.name}", help)
    return bindings


def check(answer: tuple[Any, ...]) -> Any:
    """The value of a driver call, None if it has none; RuntimeError if it failed."""
    status, *values = answer
    if status:
        _, text = driver().cuGetErrorString(status)
        raise RuntimeError(f"the CUDA driver failed: {status.name}: {(text or b'').decode()}")
    return values[0] if values else None


def gpu_count() -> int:
    """Number of GPUs; UnavailableError if there is no driver."""
    return int(check(driver().cuDeviceGetCount()))


@cache
def gpu(ordinal: int) -> Gpu:
    """The device with CUDA ordinal ``ordinal``."""
    cuda = driver()
    device = check(cuda.cuDeviceGet(ordinal))
    attribute = cuda.CUdevice_attribute

    def query(which: Any) -> int:
        return int(check(cuda.cuDeviceGetAttribute(which, device)))

    return Gpu(
        ordinal=ordinal,
        name=check(cuda.cuDeviceGetName(128, device)).split(b"\0")[0].decode(),
        capability=(
            query(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            query(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        ),
        multiprocessors=query(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        # Two transfers a clock, given in kHz, on a bus given in bits.
        memory_bandwidth=query(attribute.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)
        * 2e3
        * query(attribute.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)
        / 8,
        context=check(cuda.cuDevicePrimaryCtxRetain(device)),
    )


@contextmanager
def current(device: Gpu) -> Iterator[None]:
    """Make the device's primary context this thread's current one for a while."""
    cuda = driver()
    check(cuda.cuCtxPushCurrent(device.context))
    try:
        yield
    finally:
        check(cuda.cuCtxPopCurrent())


def is_current(device: Gpu) -> bool:
    """Whether this thread's current context is that of ``device``."""
    status, context = driver().cuCtxGetCurrent()
    return not status and context == device.context


def is_capturing(stream: int) -> bool:
    """Whether work on ``stream`` of the current device is being recorded into a graph."""
    cuda = driver()
    none = cuda.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE
    return bool(check(cuda.cuStreamIsCapturing(stream)) != none)


_LOADED: dict[tuple[str, str], Kernel] = {}


def load(binary: Binary, entry: str) -> Kernel:
    """The kernel ``entry`` of a cubin, usable on every device that it was compiled for.

    It stays loaded as long as the process lives: a CUDA graph may hold it beyond any caller.
    """
    driver()
    from cuda.core import ObjectCode

    key = binary.key, entry
    if key not in _LOADED:
        _LOADED.setdefault(key, ObjectCode.from_cubin(binary.cubin).get_kernel(entry))
    return _LOADED[key]
