"""Calls like earlier ones are served without a closer look, however they take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moedsl import kernel as kernel_module
from moedsl import libraries, torch_shortcuts
from moedsl import plan as plan_module
from moedsl.arrays import unread
from moedsl.kernel import CompiledKernel
from tests.api.calls import ADDRESSES, arguments, compute, last
from tests.api.fakes import FakeExecutable, FakeTorch, TensorGuards
from tests.api.fakes import tensor as make


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each call that was not recognised."""
    looks: list[Any] = []

    def read_marks(*request: Any) -> Any:
        looks.append(request)
        return plan_module.read_marks(*request)

    monkeypatch.setattr(kernel_module, "read_marks", read_marks)
    return looks


def test_what_was_seen_is_not_looked_at_again(
    kernel: CompiledKernel, executable: FakeExecutable, monkeypatch: Any
) -> None:
    monkeypatch.setattr(kernel_module, "read_marks", lambda *_: pytest.fail("looked again"))
    compute(kernel, arguments())
    kernel(**{n: t for n, t in arguments().items() if n != "y"})
    assert len(executable.launched) == 6


def test_tensors_of_several_modes_stay_recognised(
    kernel: CompiledKernel, executable: FakeExecutable, looks: list[Any], monkeypatch: Any
) -> None:
    guards: list[TensorGuards] = []
    monkeypatch.setattr(TensorGuards, "made", guards)
    modes = ["no grad", "parameter", "inference"]
    for mode in modes * 3:
        monkeypatch.setattr(TensorGuards, "grad_mode", mode)
        compute(kernel, arguments())
        assert last(executable) == ADDRESSES and len(executable.bound) == 2
    assert len(guards) == len(looks) == len(modes)


@pytest.mark.parametrize("form", ["out", "fresh"])
def test_changing_numbers_of_rows_stay_recognised(
    kernel: CompiledKernel, executable: FakeExecutable, looks: list[Any], form: str
) -> None:
    counts = [*range(1, 40)]
    for turn in range(4):
        for rows in counts if turn % 2 else reversed(counts):
            named = arguments(rows)
            if form == "out":
                compute(kernel, named)
            else:
                kernel(named["x"], named["w"], named["offs"])
            assert executable.served[-1].sizes["m"] == rows
        if turn == 0:
            looks.clear()
    assert not looks


def test_like_arrays_of_several_plans_stay_recognised(
    kernel: CompiledKernel, executable: FakeExecutable, looks: list[Any]
) -> None:
    """Readers do not tell alignments apart, and no key the strides: known addresses do."""
    calls = [
        arguments(x=make((10, 64), pointer=(1 << 25) + shift, strides=(stride, 1)))
        for stride in (64, 128)
        for shift in (0, 2, 8)
    ]
    for turn in range(3):
        for named in calls:
            compute(kernel, named)
            served = executable.served[-1].arrays["x"]
            assert served.strides == named["x"].stride()
            assert last(executable)["x"] == named["x"].data_ptr()
            assert served.pointer & 15 == named["x"].data_ptr() & 15
        if turn == 0:
            looks.clear()
    assert not looks


def test_few_addresses_are_remembered(
    kernel: CompiledKernel, looks: list[Any], monkeypatch: Any
) -> None:
    """Yet of a few too many most stay known, and of others none for good."""
    monkeypatch.setattr(plan_module, "MOST_KNOWN", 64)
    for first in (1 << 28, 1 << 40):
        for turn in range(5):
            looks.clear()
            for at in range(68):
                compute(kernel, arguments(x=make((10, 64), pointer=first + (at << 20))))
            assert len(looks) < 34 or turn == 0
    assert all(len(plan.known) <= 64 for plan in kernel._plans.values())


def test_few_plans_are_kept(
    kernel: CompiledKernel, executable: FakeExecutable, monkeypatch: Any
) -> None:
    """Yet of a few too many most stay."""
    monkeypatch.setattr(kernel_module, "MOST_PLANS", 32)
    for turn in range(5):
        executable.bound.clear()
        for rows in range(1, 36):
            compute(kernel, arguments(rows))
        recent = [recent for form in kernel._recent for recent in form.values()]
        assert len(kernel._plans) <= 32 and sum(len(one._seen) for one in recent) <= 32
        assert len(executable.bound) < 18 or turn == 0


def test_arrays_of_several_libraries_have_no_reader(torch: FakeTorch) -> None:
    one, other = make((3,)), make((3,))
    assert torch_shortcuts.reader(torch, (one, other)) is not unread
    for stranger in (np.zeros(3), 3.0):
        assert torch_shortcuts.reader(torch, (one, stranger)) is unread
        assert libraries.library_of(np.zeros(3)).reader((stranger, one)) is unread


def test_symbols_are_no_extents(kernel: CompiledKernel) -> None:
    """Nor can they be looked up."""

    def no_memory() -> int:
        raise RuntimeError("no memory")

    symbolic: Any = make((10, 64))
    symbolic.shape, symbolic.data_ptr = ({}, 64), no_memory
    with pytest.raises(RuntimeError, match="no memory"):
        compute(kernel, arguments(x=symbolic))
