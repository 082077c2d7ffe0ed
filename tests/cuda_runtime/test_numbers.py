"""Numbers in device memory, against a driver that keeps books."""

from __future__ import annotations

import struct

import pytest

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda import numbers as module
from moedsl.backends.cuda.numbers import Numbers
from tests.cuda_runtime.fake_driver import FakeDriver, install


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    install(monkeypatch, fake)
    return fake


def f32(number: float) -> bytes:
    return struct.pack("<f", number)


def test_a_number_is_written_once_a_stream(fake: FakeDriver) -> None:
    kept = Numbers(0)
    address = kept.at(f32(1.0), 5)
    assert [kept.at(f32(1.0), stream) for stream in (5, 6, 5, 6)] == [address] * 4
    assert fake.filled == [(address, 0x3F800000, 4, 5), (address, 0x3F800000, 4, 6)]
    fake.identities[5] = 77
    kept.at(f32(1.0), 5)
    assert fake.filled[2:] == [(address, 0x3F800000, 4, 5)]


def test_both_names_of_the_legacy_stream_are_one(fake: FakeDriver) -> None:
    kept = Numbers(0)
    kept.at(b"\x80\x3f", 0)
    kept.at(b"\x80\x3f", 1)
    assert [(value, size, stream) for _, value, size, stream in fake.filled] == [(0x3F80, 2, 1)]


def test_numbers_never_share_memory_nor_lose_it(fake: FakeDriver) -> None:
    kept = Numbers(0)
    values = [f32(1.0), f32(2.0), f32(-0.0), f32(0.0), b"\x00\x00"]
    addresses = [kept.at(value, 5) for value in values]
    assert len({*addresses}) == 5
    assert all(address % 16 == 0 for address in addresses)
    assert [kept.at(value, 5) for value in values] == addresses
    (slab,) = fake.allocated
    assert all(slab <= address < slab + fake.allocated[slab] for address in addresses)


def test_a_capture_records_the_number_and_allocates_without_breaking(fake: FakeDriver) -> None:
    kept = Numbers(0)
    fake.capturing = {5: 1}
    address = kept.at(f32(3.0), 5)
    assert kept.at(f32(3.0), 5) == address
    fake.capturing = {5: 2}
    kept.at(f32(3.0), 5)
    fake.capturing = {}
    kept.at(f32(3.0), 5)
    assert [stream for *_, stream in fake.filled] == [5, 5, 5]
    assert fake.mode == 0


def test_many_different_numbers_are_warned_of(
    fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLAB_SLOTS", 4)
    kept = Numbers(0)
    first = [kept.at(f32(n), 5) for n in range(4)]
    with pytest.warns(PerformanceWarning, match="4 different numbers"):
        fifth = kept.at(f32(4), 5)
    assert fifth not in first
    assert len(fake.allocated) == 2
