"""A CUDA driver that keeps books instead of running anything."""

from __future__ import annotations

import ctypes
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from moedsl.backends.cuda import driver as driver_module
from moedsl.backends.cuda import executable, launch, numbers, workspace
from moedsl.backends.cuda.driver import Gpu

if TYPE_CHECKING:
    import pytest


class Names:
    """An enumeration whose members are their names."""

    def __getattr__(self, name: str) -> str:
        return name


class FakeDriver:
    """Streams are numbers; those in ``capturing`` belong to the capture of that number."""

    CUstreamCaptureStatus = SimpleNamespace(CU_STREAM_CAPTURE_STATUS_NONE=0)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUresult = SimpleNamespace(CUDA_ERROR_INVALID_CONTEXT=201)
    CUstream = CUfunction = cuuint32_t = cuuint64_t = staticmethod(int)
    CUtensorMapDataType = CUtensorMapInterleave = CUtensorMapSwizzle = Names()
    CUtensorMapL2promotion = CUtensorMapFloatOOBfill = CUlaunchAttributeID = Names()
    CUlaunchConfig = SimpleNamespace

    def __init__(self, argument_bytes: int = 0) -> None:
        self.argument_bytes = argument_bytes
        self.capturing: dict[int, int] = {}
        self.identities: dict[int, int] = {}
        self.context: int | None = 1
        self.outer: list[int | None] = []
        self.gpus = 2
        self.mode = 0
        self.allocated: dict[int, int] = {}
        self.cleared: dict[int, int] = {}
        self.filled: list[tuple[int, int, int, int]] = []
        self.launches: list[tuple[tuple[Any, ...], bytes]] = []
        self.grids: list[tuple[int, int, int, int, bool]] = []
        self.encoded: list[int] = []
        self.types: list[str] = []
        self.promotions: list[str] = []
        self.clusters = 0
        self.seen: list[int | None] = []

    def __getattr__(self, name: str) -> Any:
        """``cuMemAlloc`` is ``mem_alloc``."""
        if not name.startswith("cu"):
            raise AttributeError(name)
        return getattr(self, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[2:]).lower())

    def stream_is_capturing(self, stream: int) -> Any:
        return 0, int(stream in self.capturing)

    def stream_get_capture_info(self, stream: int) -> Any:
        return 0, 1, self.capturing[stream], None

    def stream_get_id(self, stream: int) -> Any:
        if stream in self.capturing:
            raise AssertionError("it would invalidate the capture")
        return 0, self.identities.get(stream, 1000 + stream)

    def thread_exchange_stream_capture_mode(self, mode: int) -> Any:
        before, self.mode = self.mode, mode
        return 0, before

    def mem_alloc(self, size: int) -> Any:
        if self.capturing and self.mode != 2:
            raise AssertionError("allocating would break the capture")
        address = (1 << 40) + (len(self.allocated) << 30)
        self.allocated[address] = size
        return 0, address

    def mem_free(self, address: int) -> Any:
        del self.allocated[address]
        return (0,)

    def stream_create(self, flags: int) -> Any:
        return 0, 99

    def memset_d8_async(self, address: int, value: int, size: int, stream: int) -> Any:
        assert (value, stream) == (0, 99)
        self.cleared[address] = size
        return (0,)

    def memset_d16_async(self, address: int, value: int, count: int, stream: int) -> Any:
        assert count == 1
        self.filled.append((address, value, 2, stream))
        return (0,)

    def memset_d32_async(self, address: int, value: int, count: int, stream: int) -> Any:
        assert count == 1
        self.filled.append((address, value, 4, stream))
        return (0,)

    def stream_synchronize(self, stream: int) -> Any:
        return (0,)

    stream_destroy = stream_synchronize

    def get_error_string(self, status: int) -> Any:
        return 0, b"an illegal access"

    def ctx_push_current(self, context: int) -> Any:
        self.outer.append(self.context)
        self.context = context
        return (0,)

    def ctx_pop_current(self) -> Any:
        before, self.context = self.context, self.outer.pop()
        return 0, before

    def ctx_get_current(self) -> Any:
        return 0, self.context

    def device_get_count(self) -> Any:
        return 0, self.gpus

    def launch_kernel_ex(self, config: Any, kernel: int, parameters: int, extra: int) -> Any:
        self.seen.append(self.context)
        if self.context is None:
            return (201,)
        assert extra == 0
        struct = ctypes.c_void_p.from_address(parameters).value
        assert struct is not None
        self.grids.append(self._grid(config))
        packed = ctypes.string_at(struct, self.argument_bytes)
        self.launches.append(((kernel, config.hStream), packed))
        return (0,)

    @staticmethod
    def CUlaunchAttribute() -> Any:  # noqa: N802  (the driver's own name)
        return SimpleNamespace(value=SimpleNamespace(clusterDim=SimpleNamespace()))

    def occupancy_max_active_clusters(self, kernel: int, config: Any) -> Any:
        assert config.gridDimX % self._grid(config)[1] == 0
        return 0, self.clusters

    @staticmethod
    def _grid(config: Any) -> tuple[int, int, int, int, bool]:
        """CTAs, those of a cluster, threads, shared memory, and whether launches may overlap."""
        given = {attribute.id: attribute.value for attribute in getattr(config, "attrs", [])}
        assert len(given) == getattr(config, "numAttrs", 0)
        sizes = given.pop("CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION", None)
        early = given.pop("CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION", None)
        assert not given
        assert (config.gridDimY, config.gridDimZ, config.blockDimY, config.blockDimZ) == (1,) * 4
        return (
            config.gridDimX,
            sizes.clusterDim.x if sizes else 1,
            config.blockDimX,
            config.sharedMemBytes,
            early is not None and early.programmaticStreamSerializationAllowed == 1,
        )

    def tensor_map_encode_tiled(self, dtype: str, rank: int, address: int, *rest: Any) -> Any:
        """The map is its address and the rows of its box, over and over."""
        _, _, box, _, _, _, promotion, _ = rest
        assert address % 16 == 0 and self.context == 1
        self.encoded.append(address)
        self.types.append(dtype)
        self.promotions.append(promotion)
        return 0, SimpleNamespace(opaque=[address, box[1]] * 8)


DEVICE = Gpu(0, "fake", (9, 0), 10, 3e12, 1)


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeDriver) -> None:
    """Have the runtime talk to ``fake``."""
    for module in (driver_module, launch, numbers, workspace):
        monkeypatch.setattr(module, "driver", lambda: fake)
    for module in (executable, numbers):
        monkeypatch.setattr(module, "gpu", lambda ordinal: DEVICE)
