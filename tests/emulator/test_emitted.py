"""What the cuda backend emits computes the right thing on the emulator, in silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.backends.cuda.emission import products
from moedsl.backends.emulator import BACKEND, executable
from moedsl.backends.emulator.options import STANDARD_POLICIES, VARIABLE, Options
from moedsl.backends.emulator.tensor_map import record
from moedsl.inputs import make_inputs
from moedsl.ir.core import Compute
from moedsl.ir.schedule import TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.target import TARGETS
from tests.cuda.kernels import SHARED, forward
from tests.emulator.features import CASES, ROWS, SIZES, WORDS, arguments_of, assert_right


@pytest.mark.parametrize("races", [False, True], ids=["functional", "races"])
@pytest.mark.parametrize("name", CASES)
def test_emitted_kernel(name: str, races: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, schedule = CASES[name]
    given = arguments_of(name, ROWS)
    target = TARGETS["sm_90a" if schedule.specialised else "sm_80"]
    assert not check_schedule(kernel, schedule, None, target)
    compiled = BACKEND.compile(build_tile(kernel, schedule, target))
    for policy in STANDARD_POLICIES:
        monkeypatch.setenv(VARIABLE, str(Options(policy, races=races)))
        given.reset()
        compiled.launch(given.call())
        assert_right(name, given)


@pytest.mark.parametrize("rounds", [True, False], ids=["rounds", "cuts off"])
def test_tf32_is_rounded_where_it_is_loaded(rounds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What products cut off by themselves is more than summing in any order explains."""
    kernel, schedule = forward(4, 72, 136, compute=Compute.TF32), WORDS
    given = make_inputs(kernel, ROWS, SIZES, Mode.STATISTICAL, 1)
    compiled = BACKEND.compile(build_tile(kernel, schedule, TARGETS["sm_90a"]))
    if not rounds:
        monkeypatch.setattr(executable, "record", lambda m: record(replace(m, tf32=False)))
    compiled.launch(given.call())
    outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
    for mode in (Mode.STATISTICAL, Mode.BOUND):
        assert check_outputs(kernel, *outputs, mode).passed == rounds


@pytest.mark.parametrize("rounds", [True, False], ids=["rounds", "cuts off"])
def test_gathered_tf32_is_rounded_on_its_way_to_registers(
    rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = forward(4, 72, 136, compute=Compute.TF32, gather=True)
    schedule = replace(SHARED, tile=TileShape(128, 64, 32), consumer_registers=200)
    given = make_inputs(kernel, ROWS, SIZES, Mode.STATISTICAL, 1)
    if not rounds:
        monkeypatch.setattr(products, "gathered", lambda access: False)
    compiled = BACKEND.compile(build_tile(kernel, schedule, TARGETS["sm_90a"]))
    compiled.launch(given.call())
    outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
    for mode in (Mode.STATISTICAL, Mode.BOUND):
        assert check_outputs(kernel, *outputs, mode).passed == rounds
