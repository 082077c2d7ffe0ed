"""Comparing whole cases: what is drawn, and what is said of a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.backends.emulator import BACKEND as EMULATOR
from moedsl.backends.interp import BACKEND as INTERP
from moedsl.fuzz.trial import HostPlace, Runner
from moedsl.meaning import Mode
from tests.conformance.cases import Compared, Outcome, compare, difference, draw, kernels, outcome

if TYPE_CHECKING:
    from moedsl.backend import Availability, Call, Executable
    from moedsl.ir.tile import TileKernel


def test_the_same_seed_draws_the_same_cases() -> None:
    assert draw(1, 0, "sm_80") == draw(1, 0, "sm_80")
    assert draw(1, 0, "sm_80") != draw(1, 1, "sm_80")
    assert draw(1, 0, "sm_80") != draw(2, 0, "sm_80")


def test_cases_show_every_kernel_on_exact_data() -> None:
    missing = set(kernels())
    for number in range(100):  # versions of hypothesis have taken 16 to 26
        drawn = draw(1, number, "sm_80", 25)
        assert {batch.mode for case in drawn for batch in case.batches} == {Mode.EXACT}
        missing -= {case.kernel for case in drawn}
        if not missing:
            break
    assert not missing


def test_interpreter_and_emulator_are_equal(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(INTERP, HostPlace())
    assert compare(6, 3, 1, runner, "sm_80", compiles=False) == Compared(6)
    assert "6 cases equal bit for bit on interp and emulator" in capsys.readouterr().out


def test_without_seconds_left_what_is_compared_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(INTERP, HostPlace())
    assert compare(30, 3, 1, runner, "sm_80", compiles=False, seconds=0) == Compared(10)
    assert "10 of 30 cases" in capsys.readouterr().err


class _Damaged:
    """The interpreter, which then turns one bit of the last output."""

    name = "damaged"

    def availability(self) -> Availability:
        return INTERP.availability()

    def compile(self, kernel: TileKernel) -> Executable:
        executable = INTERP.compile(kernel)
        last = kernel.signature.outputs[-1].name

        class Turned:
            def prepare(self, call: Call) -> None:
                executable.prepare(call)

            def launch(self, call: Call) -> None:
                executable.launch(call)
                array = call.arrays[last].owner
                assert isinstance(array, np.ndarray)
                if array.size:
                    array.view(f"u{array.dtype.itemsize}")[(-1,) * array.ndim] ^= 1

        return Turned()


def test_a_turned_bit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(_Damaged(), HostPlace())
    found = compare(9, 3, 1, runner, "sm_80", compiles=False)
    assert found.differs
    assert f"case {found.equal + 1}: 1 elements of " in capsys.readouterr().out


def test_a_fault_is_a_difference() -> None:
    (case, *_) = draw(3, 0, "sm_80")
    good = outcome(case, Runner(EMULATOR, HostPlace()))
    assert not difference(good, good)
    assert "it broke" in difference(good, Outcome(fault="it broke"))
    assert "it broke" in difference(Outcome(fault="it broke"), good)
