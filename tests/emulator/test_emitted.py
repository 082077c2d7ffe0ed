"""What the cuda backend emits computes the right thing on the emulator, in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.backends.emulator import BACKEND
from moedsl.backends.emulator.options import STANDARD_POLICIES, VARIABLE, Options
from moedsl.inputs import Layout, make_inputs
from moedsl.ir.core import Compute, DType
from moedsl.ir.schedule import Along, ExpertOrder, Persistence, Raster, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.target import TARGETS
from tests.cuda.kernels import forward, gate_up, weight_gradient
from tests.emulator.harness import poison_maps

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel

ROWS = (70, 0, 1, 33)
BASE = Schedule(TileShape(64, 64, 64), stages=3)
NARROW = replace(BASE, tile=TileShape(64, 64, 32))

CASES: dict[str, tuple[MoeKernel, Schedule]] = {
    "bf16": (forward(4, 72, 136), BASE),
    "f16": (forward(4, 72, 136, compute=Compute.F16), replace(BASE, stages=2)),
    "tf32": (forward(4, 72, 136, compute=Compute.TF32), NARROW),
    "f32": (forward(4, 72, 136, compute=Compute.F32), NARROW),
    "f32 swapped": (forward(4, 72, 136, compute=Compute.F32), replace(NARROW, swap_ab=True)),
    "odd": (forward(4, 67, 41, weights="ekn"), BASE),
    "tails and swap": (
        forward(4, 72, 136, weights="ekn"),
        replace(BASE, swap_ab=True, tails=(32, 16, 8)),
    ),
    "dynamic": (
        forward(4, 72, 136),
        replace(BASE, persistent=Persistence.DYNAMIC, raster=Raster(Along.COLUMNS, 3, True)),
    ),
    "longest": (
        forward(4, 72, 136),
        replace(BASE, order=ExpertOrder.LONGEST, persistent=Persistence.OFF),
    ),
    "fused split": (
        forward(4, 72, 320),
        replace(BASE, fuse_rows=33, split_k=2, persistent=Persistence.DYNAMIC),
    ),
    "gathered": (forward(4, 72, 136, gather=True), BASE),
    "scattered": (
        forward(4, 72, 136, scatter=True, accumulate=True, output=DType.F32),
        BASE,
    ),
    "accumulated": (forward(4, 72, 136, accumulate=True), BASE),
    "weight gradient": (weight_gradient(experts=4, n=72, k=40), BASE),
    "gate and up": (gate_up(experts=4, n=72, k=72), replace(BASE, tails=(32, 16))),
    "gate and up into f32": (gate_up(experts=4, n=72, k=72, output=DType.F32), BASE),
}


@pytest.mark.parametrize("races", [False, True], ids=["functional", "races"])
@pytest.mark.parametrize("name", CASES)
def test_emitted_kernel(name: str, races: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, schedule = CASES[name]
    mode = Mode.BOUND if name.startswith("gate and up") else Mode.EXACT
    padding = {t.name: Layout(padding=8) for t in kernel.signature.tensors}
    given = make_inputs(kernel, ROWS, {"t": 130}, mode, 1, padding, spare_rows=3)
    poison_maps(given)
    executable = BACKEND.compile(build_tile(kernel, schedule, TARGETS["sm_80"]))
    for policy in STANDARD_POLICIES:
        monkeypatch.setenv(VARIABLE, str(Options(policy, races=races)))
        given.reset()
        executable.launch(given.call())
        verdict = check_outputs(
            kernel, given.inputs, given.outputs, given.initial_outputs, given.ends, mode
        )
        assert verdict.passed, verdict.message
        assert not given.trespass()
