"""Addresses that launches write: in the struct, in tensor maps; several threads, interruptions."""

from __future__ import annotations

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from moedsl.arrays import ArrayView
from moedsl.backends.cuda import launch as launch_module
from moedsl.backends.cuda.abi import GeneratedKernel, TensorMapOf
from moedsl.backends.cuda.launch import BoundLaunch
from moedsl.backends.cuda.tensor_map import encode, map_of
from moedsl.ir.core import DType
from tests.cuda_runtime.fake_driver import FakeDriver, install
from tests.cuda_runtime.launches import (
    GENERATED,
    MAPS,
    NO_WORKSPACE,
    ORDER,
    call,
    maps_of,
    resident,
    view,
)


def test_changed_lists_of_addresses_are_read_anew(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(NO_WORKSPACE), call(), ORDER)
    pointers = [0x100, 0x200, 0x300, 0x400]
    for pointers[0] in (0x100, 0x110, 0x120, 0x100):
        launch(pointers, 5)
        assert struct.unpack_from("<Q", fake.launches[-1][1]) == (pointers[0],)


def test_addresses_in_another_order(fake: FakeDriver) -> None:
    fake.argument_bytes = 448
    order = ["offs", "y", "w", "x"]
    for generated in (NO_WORKSPACE, MAPS):
        BoundLaunch(resident(generated), call(), order)([1, 2, 0x30, 0x40], 5)
    (_, plain), (_, mapped) = fake.launches
    x, _, _, _, y, offs = struct.unpack_from("<QqiiQQ", plain)
    assert (x, y, offs) == (0x40, 2, 1)
    assert maps_of(mapped) == [(0x40, 64), (0x30, 32), (0x40, 16)]
    assert struct.unpack_from("<Q", mapped, 384) == (1,)


@pytest.mark.parametrize("generated", [GENERATED, MAPS])
def test_what_was_interrupted_is_written_anew(
    fake: FakeDriver, generated: GeneratedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a key stops a launch, the next one with the addresses of the last is right."""
    fake.argument_bytes = generated.argument_bytes
    launch = BoundLaunch(resident(generated), call(), ORDER)
    before, after = (0x100, 0x200, 0x300, 0x400), (0x110, 0x210, 0x310, 0x410)
    for writes in range(6):
        launch(before, 5)
        expected = fake.launches[-1][1]
        for part in ("_words", "_arguments"):
            monkeypatch.setattr(launch, part, Interrupted(getattr(launch, part), writes))
        with suppress(KeyboardInterrupt):
            launch(after, 6)
        monkeypatch.undo()
        install(monkeypatch, fake)
        launch(before, 5)
        assert fake.launches[-1][1] == expected


class Interrupted:
    """Memory that somebody interrupts writing after so many writes."""

    def __init__(self, memory: Any, writes: int) -> None:
        self._memory, self._left = memory, writes

    def __setitem__(self, place: Any, value: Any) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self._memory[place] = value


def test_threads_launch_with_their_own_addresses(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.gpus = 1
    launch = BoundLaunch(resident(), call(), ORDER)
    record = fake.launch_kernel_ex

    def slowly(*arguments: Any) -> Any:
        time.sleep(1e-5)
        return record(*arguments)

    monkeypatch.setattr(fake, "launch_kernel_ex", slowly)

    def work(number: int) -> None:
        for at in range(0, 1600, 16):
            launch([number, at, number + at, at], 100 + number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(fake.launches) == 800
    scratch: dict[int, set[int]] = {}
    for launched, packed in fake.launches:
        x, _, _, _, y, offs, counter, _ = struct.unpack("<QqiiQQQQ", packed)
        assert x == launched[-1] - 100 and y == x + offs
        scratch.setdefault(launched[-1], set()).add(counter)
    assert all(len(counters) == 1 for counters in scratch.values())
    assert len(set.union(*scratch.values())) == 8


def test_maps_follow_their_tensors(fake: FakeDriver) -> None:
    fake.argument_bytes = 448
    launch = BoundLaunch(resident(MAPS), call(), ORDER)
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


@pytest.mark.parametrize(("bandwidth", "fetched"), [(0.0, 256), (3.35e12, 256), (4.8e12, 128)])
def test_what_a_miss_fetches_depends_on_the_memory(
    fake: FakeDriver, bandwidth: float, fetched: int
) -> None:
    launched = resident(MAPS)
    launched = replace(launched, device=replace(launched.device, memory_bandwidth=bandwidth))
    BoundLaunch(launched, call(), ORDER)([0x100, 0x200, 0x300, 0x400], 5)
    found = [
        int(name.removeprefix("CU_TENSOR_MAP_L2_PROMOTION_L2_")[:-1]) for name in fake.promotions
    ]
    assert found == [fetched, 256, fetched]


def test_maps_are_encoded_without_a_current_context(fake: FakeDriver) -> None:
    launch = BoundLaunch(resident(MAPS), call(), ORDER)
    fake.context = None
    launch([0x100, 0x200, 0x300, 0x400], 5)
    assert fake.encoded and fake.context is None


def test_few_encoded_maps_are_kept(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.argument_bytes = 448
    monkeypatch.setattr(launch_module, "_MOST_ENCODED", 64)
    launch = BoundLaunch(resident(MAPS), call(), ORDER)
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


def test_a_few_maps_too_many_are_not_all_encoded_anew(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are old ones kept for good where the addresses change."""
    monkeypatch.setattr(launch_module, "_MOST_ENCODED", 64)
    launch = BoundLaunch(resident(MAPS), call(), ORDER)
    for first in (0x1000, 0x9000):
        for turn in range(5):
            del fake.encoded[:]
            for x in range(68):
                launch([first + 16 * x, 0x200, 0x300, 0x400], 5)
            # Each address of x has two maps.
            assert len(fake.encoded) < 90 or turn == 0


def test_a_map_that_cannot_be_encoded_leaves_the_others_as_they_were(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Status(int):
        name = "CUDA_ERROR_INVALID_VALUE"

    launch = BoundLaunch(resident(MAPS), call(), ORDER)
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
    launch = BoundLaunch(resident(MAPS), replace(empty, arrays=arrays), ORDER)
    for address in (0, 0x203):
        launch([0x100, address, 0x300, 0x400], 5)
    x, w, _ = maps_of(fake.launches[-1][1])
    assert x == (0x100, 64) and w[1] == 32
    assert len(fake.encoded) == 3


def test_no_map_is_encoded_for_no_rows(fake: FakeDriver) -> None:
    BoundLaunch(resident(MAPS), call(rows=0), ORDER)([1, 2, 3, 4], 5)
    assert not fake.launches and not fake.encoded
