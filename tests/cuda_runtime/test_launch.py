"""Launches and their scratch memory, against a driver that keeps books."""

from __future__ import annotations

import gc
import struct
from dataclasses import replace
from types import SimpleNamespace

import pytest

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda import executable
from moedsl.backends.cuda import launch as launch_module
from moedsl.backends.cuda.abi import (
    GeneratedKernel,
)
from moedsl.backends.cuda.executable import CudaExecutable, Variant
from moedsl.backends.cuda.launch import BoundLaunch, make_resident
from moedsl.backends.cuda.notes import Notes
from moedsl.backends.cuda.nvrtc import Binary
from moedsl.backends.cuda.workspace import Workspaces
from moedsl.ir.schedule import EpilogueStore
from moedsl.source.diagnostic import UnavailableError
from tests.cuda_runtime.fake_driver import DEVICE, FakeDriver
from tests.cuda_runtime.launches import (
    CLUSTERS,
    GENERATED,
    KERNEL,
    NO_WORKSPACE,
    ORDER,
    call,
    resident,
)


def test_arguments_and_grid(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(), call(), ORDER)
    launch([0x100, 0x200, 0x300, 0x400], 5)
    launch([0x110, 0x200, 0x310, 0x410], 6)
    (first, packed), (second, other) = fake.launches
    # 100 rows over 3 experts make at most 4 tiles of 64 rows.
    assert fake.grids == [(4, 1, 128, 50_000, False)] * 2
    assert [first, second] == [(77, 5), (77, 6)]
    x, stride, m, n, y, offs, counter, partials = struct.unpack("<QqiiQQQQ", packed)
    assert (x, stride, m, n, y, offs) == (0x100, 64, 100, 64, 0x300, 0x400)
    assert fake.cleared[counter] >= 4 and fake.allocated[partials] >= 4000
    assert partials not in fake.cleared
    assert struct.unpack("<QqiiQQQQ", other)[:6] == (0x110, 64, 100, 64, 0x310, 0x410)
    assert {*struct.unpack("<QqiiQQQQ", other)[6:]}.isdisjoint({counter, partials})


def test_clusters_are_launched_whole(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(CLUSTERS), call(), ORDER)
    launch([0x100, 0x200, 0x300, 0x400], 5)
    launch([0x100, 0x200, 0x300, 0x400], 6)
    # 4 tiles of rows; of the cluster's two tiles of columns the second is outside.
    assert fake.grids == [(8, 2, 128, 50_000, False)] * 2
    assert [rest for rest, _ in fake.launches] == [(77, 5), (77, 6)]
    assert struct.unpack_from("<Q", fake.launches[0][1]) == (0x100,)


@pytest.mark.parametrize(("generated", "cluster"), [(NO_WORKSPACE, 1), (CLUSTERS, 2)])
def test_launches_overlap_if_the_kernel_waits_by_itself(
    fake: FakeDriver, generated: GeneratedKernel, cluster: int
) -> None:
    launch = BoundLaunch(resident(replace(generated, overlaps=True)), call(), ORDER)
    launch([0x100, 0x200, 0x300, 0x400], 5)
    assert [(one, early) for _, one, _, _, early in fake.grids] == [(cluster, True)]


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
    BoundLaunch(resident(), call(rows=0), ORDER)([1, 2, 3, 4], 5)
    assert not fake.launches and not fake.allocated


@pytest.mark.parametrize("generated", [GENERATED, NO_WORKSPACE])
@pytest.mark.parametrize(("gpus", "context"), [(1, 1), (1, None), (2, 1), (2, 2), (2, None)])
def test_default_streams_need_the_context_of_the_device(
    fake: FakeDriver, generated: GeneratedKernel, gpus: int, context: int | None
) -> None:
    fake.gpus = gpus
    launch = BoundLaunch(resident(generated), call(), ORDER)
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
    small, large = (BoundLaunch(place, call(rows), ORDER) for rows in (100, 5000))
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
    launch = BoundLaunch(resident(), call(), ORDER)
    launch([1, 2, 3, 4], 0)
    launch([1, 2, 3, 4], 9)
    first, second = (struct.unpack("<QqiiQQQQ", packed)[6] for _, packed in fake.launches)
    assert first != second


def test_a_failed_launch_says_why(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    class Status(int):
        name = "CUDA_ERROR_ILLEGAL_ADDRESS"

    monkeypatch.setattr(fake, "launch_kernel_ex", lambda *_: (Status(700),))
    launch = BoundLaunch(resident(NO_WORKSPACE), call(), ORDER)
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
        compiled.bind(call(), ORDER)
    assert "warmup" in caught.value.help
    fake.capturing = {}
    compiled.prepare(call())
    assert not fake.launches and len(fake.allocated) == 2
    fake.capturing = {5: 1}
    compiled.launch(call(rows=50))
    assert len(fake.launches) == 1 and len(fake.allocated) == 4


def test_each_address_goes_to_its_array(fake: FakeDriver, compiled: CudaExecutable) -> None:
    """In whatever order the call has them."""
    given = call()
    for names in ("xwy", "ywx"):
        compiled.launch(replace(given, arrays={name: given.arrays[name] for name in names}))
        x, _, _, _, y, offs, _, _ = struct.unpack("<QqiiQQQQ", fake.launches[-1][1])
        assert (x, y, offs) == (1 << 20, 1 << 22, 1 << 23)


def test_slow_access_warns_once_a_tensor(fake: FakeDriver, compiled: CudaExecutable) -> None:
    with pytest.warns(PerformanceWarning, match="'x' .*address 0x100002") as seen:
        compiled.bind(call(x=(1 << 20) + 2), ORDER)
        compiled.bind(call(x=(1 << 20) + 4), ORDER)
    assert len(seen) == 1
    compiled.bind(call(), ORDER)


def test_rows_that_end_within_16_bytes_warn_where_the_copy_engine_would_store_them(
    fake: FakeDriver, compiled: CudaExecutable
) -> None:
    given = call()
    y = replace(given.arrays["y"], shape=(100, 60))
    narrow = replace(given, arrays={**given.arrays, "y": y})
    roles = replace(KERNEL.schedule, producer_registers=40, consumer_registers=232)
    stored = replace(roles, epilogue_store=EpilogueStore.TMA)
    by_engine = CudaExecutable(replace(KERNEL, schedule=stored))
    told = "'y' cannot be taken by the copy engine.* 60 elements .* make n a multiple of 8$"
    with pytest.warns(PerformanceWarning, match=told) as seen:
        by_engine.bind(narrow, ORDER)
        by_engine.bind(narrow, ORDER)
    assert len(seen) == 1
    for executable_here in (by_engine, compiled):
        executable_here.bind(given, ORDER)
    compiled.bind(narrow, ORDER)


def test_kernel_for_another_architecture(
    fake: FakeDriver, compiled: CudaExecutable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "gpu", lambda ordinal: replace(DEVICE, capability=(8, 9)))
    with pytest.raises(UnavailableError, match="sm_90a does not run on fake") as caught:
        compiled.bind(call(), ORDER)
    assert caught.value.help == "compile(target='sm_89')"
    CudaExecutable(replace(KERNEL, target="sm_80")).bind(call(), ORDER)


def test_variants_are_compiled_once(compiled: CudaExecutable) -> None:
    assert isinstance(compiled.variant(), Variant)
    assert compiled.variant() is compiled.variant()
