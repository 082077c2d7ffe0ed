"""Kernels for arrays that the copy engine does not take as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.backends.cuda.abi import AccessModes
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Cooperation,
    EpilogueStore,
    ExpertOrder,
    Persistence,
    Requirement,
    Schedule,
    ScheduleRequest,
)
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.target import TARGETS
from tests.cuda.kernels import PAIRED, STORED, forward, gate_up
from tests.cuda.test_emit import SPECIALISED, lowered, vector


@pytest.mark.parametrize("form", SPECIALISED)
def test_arrays_off_the_grid_take_the_portable_path(form: str) -> None:
    kernel, schedule = SPECIALISED[form]
    found = lower_to_gpu(lowered(kernel, schedule), AccessModes(frozenset()))
    assert not found.schedule.specialised
    assert not check_schedule(kernel, found.schedule, None, TARGETS["sm_90a"])


@pytest.mark.parametrize("form", SPECIALISED)
def test_outputs_off_the_grid_are_stored_by_threads(form: str) -> None:
    kernel, schedule = SPECIALISED[form]
    outputs, whole = {tensor.name for tensor in kernel.signature.outputs}, vector(kernel)
    for modes in (AccessModes(whole.vector - outputs), replace(whole, whole=False)):
        found = lower_to_gpu(lowered(kernel, schedule), modes)
        assert found.schedule == replace(schedule, epilogue_store=EpilogueStore.STAGED)
        assert not check_schedule(kernel, found.schedule, None, TARGETS["sm_90a"])


@pytest.mark.parametrize("swap_ab", [True, False])
@pytest.mark.parametrize("consumers", [1, 2, 3])
@pytest.mark.parametrize("cooperation", Cooperation)
@pytest.mark.parametrize("kernel", [forward(n=4096), gate_up(n=4096)], ids=["plain", "gate and up"])
def test_threads_store_in_as_many_stages_as_they_leave_room_for(
    kernel: MoeKernel, cooperation: Cooperation, consumers: int, swap_ab: bool
) -> None:
    if consumers == 1:
        cooperation = Cooperation.COOPERATIVE
    given = {"swap_ab": swap_ab, "consumers": consumers, "cooperation": cooperation}
    given |= {"epilogue_store": EpilogueStore.TMA}
    target = TARGETS["sm_90a"]
    schedule = choose_schedule(kernel, target, ScheduleRequest("s", "test", given=given))
    modes = replace(vector(kernel), whole=False)
    found = lower_to_gpu(lowered(kernel, schedule), modes).schedule
    assert not check_schedule(kernel, found, None, target)
    assert found == replace(schedule, epilogue_store=EpilogueStore.STAGED, stages=found.stages)
    more = replace(found, stages=found.stages + 1)
    assert found.stages == schedule.stages or check_schedule(kernel, more, None, target)


@pytest.mark.parametrize(
    "said",
    [
        replace(STORED, persistent=Persistence.OFF),
        replace(STORED, order=ExpertOrder.LONGEST),
        replace(STORED, fuse_rows=16, split_k=2),
        PAIRED,
        replace(STORED, require=(Requirement.BATCH_INVARIANT,)),
    ],
)
def test_the_portable_path_keeps_what_is_said_of_the_work(said: Schedule) -> None:
    found = lower_to_gpu(lowered(forward(k=640), said), AccessModes(frozenset())).schedule
    assert not found.specialised
    for field in ("persistent", "order", "raster", "fuse_rows", "split_k", "require"):
        assert getattr(found, field) == getattr(said, field), field
