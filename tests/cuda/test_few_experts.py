"""Defaults for few experts split the depth: adding the splits spills no register."""

from __future__ import annotations

import pytest

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.ir.core import DType
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.target import TARGETS
from tests.cuda.kernels import forward, gate_up

FORMS = {
    "high tiles": (forward(1, 2048, 4096), 128),
    "two sums": (gate_up(1, 1024, 4096), 16),
    "two sums of several tiles": (gate_up(4, 1024, 4096), 300),
    "decoding": (forward(1, 2048, 4096), 1),
    "two splits": (forward(1, 2048, 4096), 500),
    "gathered": (forward(8, 2048, 4096, gather=True), 256),
    "added": (forward(1, 2048, 4096, scatter=True, accumulate=True, output=DType.F32), 300),
}


@pytest.mark.parametrize("form", FORMS)
def test_splits_are_added_without_spills(form: str) -> None:
    kernel, rows = FORMS[form]
    schedule = choose_schedule(kernel, TARGETS["sm_90a"], rows=rows)
    assert schedule.specialised
    assert schedule.split_k > 1
    unit = generate(build_tile(kernel, schedule, TARGETS["sm_90a"]), every_vector(kernel.signature))
    notes = compile_cubin(unit.source, unit.entry, "sm_90a").notes
    assert (notes.spill_stores, notes.spill_loads, notes.stack) == (0, 0, 0)
