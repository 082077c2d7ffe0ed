"""Launches and their scratch memory, against a driver that keeps books."""

from __future__ import annotations

import gc
import struct
from dataclasses import replace
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backend import Call, PerformanceWarning
from moedsl.backends.cuda import executable
from moedsl.backends.cuda import launch as launch_module
from moedsl.backends.cuda.abi import (
    ArgumentField,
    GeneratedKernel,
    GridRule,
    IndexExtent,
    OffsetsPointer,
    TensorMapOf,
    TensorPointer,
    TensorStride,
    WorkspacePart,
    WorkspacePointer,
    WorkspaceRule,
)
from moedsl.backends.cuda.executable import CudaExecutable, Variant
from moedsl.backends.cuda.launch import BoundLaunch, Resident, make_resident
from moedsl.backends.cuda.notes import Notes
from moedsl.backends.cuda.nvrtc import Binary
from moedsl.backends.cuda.tensor_map import encode, map_of
from moedsl.backends.cuda.workspace import Workspaces
from moedsl.ir.core import DType
from moedsl.lower.build_tile import build_tile
from moedsl.source.diagnostic import UnavailableError
from moedsl.target import TARGETS
from tests.api.kernels import forward, schedule
from tests.cuda_runtime.fake_driver import DEVICE, FakeDriver, install

KERNEL = build_tile(forward(experts=3), schedule(), TARGETS["sm_90a"])
FIELDS = (
    ArgumentField("x", TensorPointer("x"), 0),
    ArgumentField("x_stride", TensorStride("x", 0), 8),
    ArgumentField("m", IndexExtent("m"), 16, bytes=4),
    ArgumentField("n", IndexExtent("n"), 20, bytes=4),
    ArgumentField("y", TensorPointer("y"), 24),
    ArgumentField("offs", OffsetsPointer(), 32),
    ArgumentField("counter", WorkspacePointer(WorkspacePart.COUNTER), 40),
    ArgumentField("partials", WorkspacePointer(WorkspacePart.PARTIALS), 48),
)
GENERATED = GeneratedKernel(
    source="",
    entry="forward",
    threads=128,
    shared_bytes=50_000,
    min_blocks=2,
    arguments=FIELDS,
    argument_bytes=56,
    grid=GridRule(True, True, 3, "m", "n", 64, 64),
    workspace=(
        WorkspaceRule(WorkspacePart.COUNTER, fixed=4),
        WorkspaceRule(WorkspacePart.PARTIALS, per_tile=1000),
    ),
)
NO_WORKSPACE = replace(GENERATED, arguments=FIELDS[:6], workspace=())
MAPS = replace(
    NO_WORKSPACE,
    arguments=(
        ArgumentField("tall", TensorMapOf("x", (64, 64)), 0, bytes=128),
        ArgumentField("w", TensorMapOf("w", (1, 32, 64)), 128, bytes=128),
        ArgumentField("flat", TensorMapOf("x", (16, 64), clip=0), 256, bytes=128),
        ArgumentField("offs", OffsetsPointer(), 384),
    ),
    argument_bytes=448,
)
CLUSTERS = replace(
    NO_WORKSPACE, cluster=2, grid=GridRule(True, True, 3, "m", "n", 64, 64, cluster=2)
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver(GENERATED.argument_bytes)
    install(monkeypatch, fake)
    return fake


def view(shape: tuple[int, ...], pointer: int, dtype: DType = DType.BF16) -> ArrayView:
    return ArrayView(pointer, shape, packed_strides(shape), dtype, 0, None)


def call(rows: int = 100, stream: int = 5, x: int = 1 << 20) -> Call:
    arrays = {
        "x": view((rows, 64), x),
        "w": view((3, 64, 64), 1 << 21),
        "y": view((rows, 64), 1 << 22),
    }
    sizes = {"e": 3, "m": rows, "n": 64, "k": 64}
    return Call(arrays, view((3,), 1 << 23, DType.I32), sizes, stream)


def resident(generated: GeneratedKernel = GENERATED) -> Resident:
    handle: Any = SimpleNamespace(handle=77)
    return Resident(DEVICE, handle, generated, 20, Workspaces(DEVICE), Lock())


def test_arguments_and_grid(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(), KERNEL.signature, call())
    launch([0x100, 0x200, 0x300, 0x400], 5)
    launch([0x110, 0x200, 0x310, 0x410], 6)
    (first, packed), (second, other) = fake.launches
    # 100 rows over 3 experts make at most 4 tiles of 64 rows.
    assert first == (77, 4, 1, 1, 128, 1, 1, 50_000, 5)
    assert second[-1] == 6
    x, stride, m, n, y, offs, counter, partials = struct.unpack("<QqiiQQQQ", packed)
    assert (x, stride, m, n, y, offs) == (0x100, 64, 100, 64, 0x300, 0x400)
    assert fake.cleared[counter] >= 4 and fake.allocated[partials] >= 4000
    assert partials not in fake.cleared
    assert struct.unpack("<QqiiQQQQ", other)[:6] == (0x110, 64, 100, 64, 0x310, 0x410)
    assert {*struct.unpack("<QqiiQQQQ", other)[6:]}.isdisjoint({counter, partials})


def maps_of(packed: bytes) -> list[tuple[int, int]]:
    """Address and rows of the box of each map in a struct of MAPS."""
    words = struct.unpack("<56Q", packed)
    assert all(words[i : i + 16] == words[i : i + 2] * 8 for i in (0, 16, 32))
    return [(words[i], words[i + 1]) for i in (0, 16, 32)]


def test_maps_follow_their_tensors(fake: FakeDriver) -> None:
    fake.argument_bytes = 448
    launch = BoundLaunch(resident(MAPS), KERNEL.signature, call())
    addresses = [(0x100, 0x200), (0x100, 0x200), (0x110, 0x200), (0x100, 0x210), (0x110, 0x210)]
    for x, w in addresses:
        launch([x, w, 0x300, 0x400], 5)
    for (x, w), (_, packed) in zip(addresses, fake.launches, strict=True):
        assert maps_of(packed) == [(x, 64), (w, 32), (x, 16)]
        assert struct.unpack_from("<Q", packed, 384) == (0x400,)
    assert fake.encoded == [0x100, 0x100, 0x200, 0x110, 0x110, 0x210]


def test_the_engine_is_told_to_round_f32(fake: FakeDriver) -> None:
    words = view((100, 64), 1 << 20, DType.F32)
    for tf32 in (False, True):
        encode(map_of(TensorMapOf("x", (8, 32), tf32=tf32), words), 1 << 20)
    assert fake.types == ["CU_TENSOR_MAP_DATA_TYPE_FLOAT32", "CU_TENSOR_MAP_DATA_TYPE_TFLOAT32"]


def test_maps_are_encoded_without_a_current_context(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(MAPS), KERNEL.signature, call())
    fake.context = None
    launch([0x100, 0x200, 0x300, 0x400], 5)
    assert fake.encoded and fake.context is None


def test_few_encoded_maps_are_kept(fake: FakeDriver) -> None:
    fake.argument_bytes = 448
    launch = BoundLaunch(resident(MAPS), KERNEL.signature, call())
    for x in range(64):
        launch([0x1000 + 16 * x, 0x200, 0x300, 0x400], 5)
    del fake.encoded[:]
    launch([0x1000, 0x200, 0x300, 0x400], 5)
    assert not fake.encoded
    launch([0x2000, 0x200, 0x300, 0x400], 5)
    launch([0x1010, 0x200, 0x300, 0x400], 5)
    assert fake.encoded == [0x2000, 0x2000]
    launch([0x1000, 0x200, 0x300, 0x400], 5)
    assert fake.encoded == [0x2000, 0x2000, 0x1000, 0x1000]
    assert maps_of(fake.launches[-1][1]) == [(0x1000, 64), (0x200, 32), (0x1000, 16)]


def test_a_map_that_cannot_be_encoded_leaves_the_others_as_they_were(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Status(int):
        name = "CUDA_ERROR_INVALID_VALUE"

    launch = BoundLaunch(resident(MAPS), KERNEL.signature, call())
    with monkeypatch.context() as broken:
        broken.setattr(fake, "tensor_map_encode_tiled", lambda *_: (Status(1),))
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
            launch([0x100, 0x200, 0x300, 0x400], 5)
    assert not fake.launches
    launch([0x100, 0x200, 0x300, 0x400], 5)
    assert fake.encoded == [0x100, 0x100, 0x200]


def test_tensors_without_elements_have_maps_whatever_their_address(fake: FakeDriver) -> None:
    fake.argument_bytes = 448
    empty = call()
    shape, strides = (3, 64, 0), (7, 5, 3)
    arrays = {**empty.arrays, "w": ArrayView(0, shape, strides, DType.BF16, 0, None)}
    launch = BoundLaunch(resident(MAPS), KERNEL.signature, replace(empty, arrays=arrays))
    for address in (0, 0x203):
        launch([0x100, address, 0x300, 0x400], 5)
    x, w, _ = maps_of(fake.launches[-1][1])
    assert x == (0x100, 64) and w[1] == 32
    assert len(fake.encoded) == 3


def test_no_map_is_encoded_for_no_rows(fake: FakeDriver) -> None:
    BoundLaunch(resident(MAPS), KERNEL.signature, call(rows=0))([1, 2, 3, 4], 5)
    assert not fake.launches and not fake.encoded


def test_clusters_are_launched_whole(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(CLUSTERS), KERNEL.signature, call())
    launch([0x100, 0x200, 0x300, 0x400], 5)
    launch([0x100, 0x200, 0x300, 0x400], 6)
    # 4 tiles of rows; of the cluster's two tiles of columns the second is outside.
    assert fake.clustered == [(8, 2, 128, 50_000)] * 2
    assert [rest for rest, _ in fake.launches] == [(77, 5), (77, 6)]
    assert struct.unpack_from("<Q", fake.launches[0][1]) == (0x100,)


def test_as_many_clusters_as_fit(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    occupancy = SimpleNamespace(max_active_blocks_per_multiprocessor=lambda *_: 3)
    kernel = SimpleNamespace(handle=77, occupancy=occupancy)
    binary = Binary(b"", Notes(), "key", cached=False)
    attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    monkeypatch.setattr(fake, "CUfunction_attribute", attribute, raising=False)
    monkeypatch.setattr(fake, "kernel_get_function", lambda *_: (0, 1), raising=False)
    monkeypatch.setattr(fake, "kernel_set_attribute", lambda *_: (0,), raising=False)
    monkeypatch.setattr(launch_module, "load", lambda *_: kernel)
    # 10 multiprocessors, at most 2 CTAs on each.
    assert make_resident(GENERATED, binary, DEVICE).blocks == 20
    for fake.clusters, blocks in ((7, 14), (15, 20)):
        assert make_resident(CLUSTERS, binary, DEVICE).blocks == blocks
    fake.clusters = 0
    with pytest.raises(UnavailableError, match="clusters of 2 does not fit"):
        make_resident(CLUSTERS, binary, DEVICE)


def test_nothing_is_launched_for_no_rows(fake: FakeDriver) -> None:
    BoundLaunch(resident(), KERNEL.signature, call(rows=0))([1, 2, 3, 4], 5)
    assert not fake.launches and not fake.allocated


@pytest.mark.parametrize("generated", [GENERATED, NO_WORKSPACE])
@pytest.mark.parametrize(("gpus", "context"), [(1, 1), (1, None), (2, 1), (2, 2), (2, None)])
def test_default_streams_need_the_context_of_the_device(
    fake: FakeDriver, generated: GeneratedKernel, gpus: int, context: int | None
) -> None:
    fake.gpus = gpus
    launch = BoundLaunch(resident(generated), KERNEL.signature, call())
    fake.context = context
    for stream in (0, 1, 2):
        launch([1, 2, 3, 4], stream)
        assert fake.seen[-1] == 1 and fake.context == context
    assert len(fake.launches) == 3


def test_the_legacy_stream_is_never_asked_who_it_is(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives as long as its context and is never captured, though other streams may be."""
    fake.gpus, fake.capturing = 1, {7: 1}
    for query in ("stream_is_capturing", "stream_get_id", "ctx_get_current"):
        monkeypatch.delattr(FakeDriver, query)
    place = resident()
    small, large = (BoundLaunch(place, KERNEL.signature, call(rows)) for rows in (100, 5000))
    counters = []
    for launch, stream in ((small, 0), (small, 1), (large, 0), (small, 0), (large, 1)):
        launch([1, 2, 3, 4], stream)
        handle, packed = fake.launches[-1][0][-1], fake.launches[-1][1]
        assert handle == 1
        counters.append(struct.unpack("<QqiiQQQQ", packed)[6])
    assert len({*counters}) == 1
    assert len(fake.allocated) == 3


def test_the_legacy_stream_of_another_thread_has_scratch_too(fake: FakeDriver) -> None:
    fake.gpus, fake.context = 1, None
    launch = BoundLaunch(resident(), KERNEL.signature, call())
    launch([1, 2, 3, 4], 0)
    launch([1, 2, 3, 4], 9)
    first, second = (struct.unpack("<QqiiQQQQ", packed)[6] for _, packed in fake.launches)
    assert first != second


def test_a_failed_launch_says_why(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    class Status(int):
        name = "CUDA_ERROR_ILLEGAL_ADDRESS"

    monkeypatch.setattr(fake, "launch_kernel", lambda *_: (Status(700),))
    launch = BoundLaunch(resident(NO_WORKSPACE), KERNEL.signature, call())
    with pytest.raises(RuntimeError, match="CUDA_ERROR_ILLEGAL_ADDRESS: an illegal access"):
        launch([1, 2, 3, 4], 5)


def test_streams_and_captures_have_scratch_of_their_own(fake: FakeDriver) -> None:
    spaces = Workspaces(DEVICE)
    first = spaces.at(5, 256, 1000)
    assert spaces.at(5, 100, 10) is first
    others = [spaces.at(6, 256, 1000)]
    fake.identities[5] = 1
    others.append(spaces.at(5, 256, 1000))
    for capture in (1, 2):
        for stream in (7, 8):
            fake.capturing = {stream: capture}
            others.append(spaces.at(stream, 256, 1000))
            assert spaces.at(stream, 256, 1000) is others[-1]
    fake.capturing = {}
    others.append(spaces.at(7, 256, 1000))
    blocks = [address for s in (first, *others) for address in (s.zeroed, s.free)]
    assert len(set(blocks)) == len(blocks) == 16
    assert {s.zeroed for s in (first, *others)} == set(fake.cleared)
    assert fake.mode == 0


def test_outgrown_scratch_stays_for_launches_under_way(fake: FakeDriver) -> None:
    spaces = Workspaces(DEVICE)
    small = spaces.at(5, 256, 1000)
    large = spaces.at(5, 256, 1001)
    assert large.zeroed == small.zeroed and large.free != small.free
    assert large.free_bytes == 2000
    assert small.free in fake.allocated
    larger = spaces.at(5, 5000, 10)
    assert larger.zeroed_bytes == 5000 == fake.cleared[larger.zeroed]
    assert larger.free == large.free


def test_scratch_is_freed_except_that_of_graphs(fake: FakeDriver) -> None:
    spaces = Workspaces(DEVICE)
    spaces.at(5, 256, 1000)
    fake.capturing = {6: 1}
    kept = spaces.at(6, 256, 1000)
    fake.capturing = {}
    del spaces
    gc.collect()
    assert set(fake.allocated) == {kept.zeroed, kept.free}


@pytest.fixture
def compiled(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> CudaExecutable:
    """An executable whose kernels are compiled by nobody."""
    binary = Binary(b"", Notes(), "key", cached=False)
    monkeypatch.setattr(executable, "generate", lambda kernel, modes: GENERATED)
    monkeypatch.setattr(executable, "compile_cubin", lambda *_: binary)
    monkeypatch.setattr(executable, "make_resident", lambda *_: resident())
    monkeypatch.setattr(executable, "is_capturing", lambda stream: stream in fake.capturing)
    return CudaExecutable(KERNEL)


def test_cold_capture_is_refused_warm_one_is_not(
    fake: FakeDriver, compiled: CudaExecutable
) -> None:
    fake.capturing = {5: 1}
    with pytest.raises(UnavailableError, match="being captured") as caught:
        compiled.bind(call())
    assert "warmup" in caught.value.help
    fake.capturing = {}
    compiled.prepare(call())
    assert not fake.launches and len(fake.allocated) == 2
    fake.capturing = {5: 1}
    compiled.launch(call(rows=50))
    assert len(fake.launches) == 1 and len(fake.allocated) == 4


def test_slow_access_warns_once_a_tensor(fake: FakeDriver, compiled: CudaExecutable) -> None:
    with pytest.warns(PerformanceWarning, match="'x' .*address 0x100002") as seen:
        compiled.bind(call(x=(1 << 20) + 2))
        compiled.bind(call(x=(1 << 20) + 4))
    assert len(seen) == 1
    compiled.bind(call())


def test_kernel_for_another_architecture(
    fake: FakeDriver, compiled: CudaExecutable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "gpu", lambda ordinal: replace(DEVICE, capability=(8, 9)))
    with pytest.raises(UnavailableError, match="sm_90a does not run on fake") as caught:
        compiled.bind(call())
    assert caught.value.help == "compile(target='sm_89')"
    newer = CudaExecutable(replace(KERNEL, target="sm_80"))
    assert newer.bind(call())


def test_variants_are_compiled_once(compiled: CudaExecutable) -> None:
    assert isinstance(compiled.variant(), Variant)
    assert compiled.variant() is compiled.variant()
