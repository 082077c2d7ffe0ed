"""Kernels that bring tall operands to registers, from which one synchronisation is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.ir.core import Compute
from moedsl.ir.schedule import TileShape
from tests.cuda.kernels import SHARED, STORED, forward
from tests.emulator.mutation import Generated

ROWS = ((70, 0, 1, 133), (49, 3, 16, 0))
SUBJECTS = {
    "across": Generated(
        forward(4, 136, 200, compute=Compute.TF32, weights="ekn"),
        replace(STORED, tile=TileShape(64, 128, 32), cluster_columns=1),
        ROWS,
        "sm_90a",
    ),
    "gathered": Generated(
        forward(4, 136, 200, compute=Compute.TF32, gather=True),
        replace(SHARED, tile=TileShape(128, 72, 32), consumer_registers=200),
        ROWS,
        "sm_90a",
    ),
}
DAMAGES = {
    "registers may be set later": ("keep_left(word[i]);", "", {"wgmma"}),
    "registers are set without a fence": ("moe::group_fence();", "", {"wgmma"}),
    "registers are written while products read them": (
        "moe::group_wait<1>();",
        "moe::group_wait<2>();",
        {"wgmma"},
    ),
    "a lane may still read what another releases": (
        "moe::sync_warp();  // all lanes have read the stage",
        "",
        {"race", "in_flight"},
    ),
    "products may still read what is released": (
        "moe::group_wait<0>();",
        "",
        {"race", "in_flight", "wgmma"},
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_it_is_found(name: str, damage: str) -> None:
    subject = SUBJECTS[name]
    before, after, kinds = DAMAGES[damage]
    text = subject.unit.emitted
    start = text.index("void run_tile") if before.startswith("moe::") else 0
    damaged = text[:start] + text[start:].replace(before, after, 1)
    assert damaged != text
    assert subject.outcome(replace(subject.unit, emitted=damaged)) in kinds


@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_is_found_in_what_is_emitted(name: str) -> None:
    assert SUBJECTS[name].outcome(SUBJECTS[name].unit) == "survived"
