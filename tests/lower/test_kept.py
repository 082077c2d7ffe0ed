"""Where consumers share a tile, outputs wait for the copy engine in its last stage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.ir.core import Compute, DType
from moedsl.ir.schedule import Cooperation, EpilogueStore, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.resources import resources
from moedsl.target import TARGETS
from tests.cuda.kernels import SWAPPED, forward, gate_up, opened, two_depths
from tests.emulator.features import with_double_in_bf16

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule

HOPPER = TARGETS["sm_90a"]
KEPT = replace(SWAPPED, epilogue_store=EpilogueStore.TMA)
WIDE = replace(KEPT, tile=TileShape(128, 256, 64))
PART = 32 * 64 * 2
"""Bytes of a part of a bf16 output: 32 rows by 64 columns."""


def room(kernel: MoeKernel, schedule: Schedule) -> tuple[int, int]:
    """Parts of 64 columns in the last stage, and bytes beside it for all columns of a consumer."""
    used = resources(build_tile(kernel, schedule, HOPPER), HOPPER)
    return (used.kept.in_stage if used.kept else 0), used.shared.staging_bytes


@pytest.mark.parametrize(
    ("kernel", "schedule", "expected"),
    [
        pytest.param(forward(), KEPT, (2, 0), id="all parts in the stage"),
        pytest.param(forward(), WIDE, (2, 4 * PART), id="four parts of 64 columns, twice"),
        pytest.param(
            gate_up(), replace(WIDE, tile=TileShape(128, 128, 64)), (2, 2 * PART), id="two sums"
        ),
        pytest.param(forward(output=DType.F32), KEPT, (1, 2 * PART), id="parts of 8 KB"),
        pytest.param(forward(weights="ekn"), KEPT, (2, 0), id="columns across depth"),
        pytest.param(
            forward(output=DType.F32),
            replace(KEPT, tile=TileShape(160, 128, 64)),
            (1, 4 * 2 * PART),
            id="four parts beside the stage",
        ),
        pytest.param(two_depths(), KEPT, (2, 0), id="two depths"),
    ],
)
def test_all_parts_have_room(
    kernel: MoeKernel, schedule: Schedule, expected: tuple[int, int]
) -> None:
    assert room(kernel, schedule) == expected


@pytest.mark.parametrize(
    ("kernel", "schedule"),
    [
        pytest.param(
            forward(), replace(KEPT, cooperation=Cooperation.PINGPONG), id="the other multiplies"
        ),
        pytest.param(forward(), replace(KEPT, consumers=1), id="another CTA multiplies"),
        pytest.param(forward(), replace(KEPT, split_k=2), id="sums of splits are joined before"),
        pytest.param(opened(forward(), "k"), KEPT, id="there may be no stage"),
        pytest.param(opened(two_depths(), "k"), KEPT, id="there may be no stage of the first sum"),
        pytest.param(opened(two_depths(), "h"), KEPT, id="there may be no stage of the last sum"),
        pytest.param(
            forward(), replace(KEPT, swap_ab=False, tile=TileShape(128, 64, 64)), id="rows are tall"
        ),
        pytest.param(
            forward(output=DType.F32),
            replace(KEPT, tile=TileShape(168, 128, 64)),
            id="five parts beside the stage",
        ),
        pytest.param(with_double_in_bf16(forward(output=DType.F32)), KEPT, id="parts of 12 KB"),
        pytest.param(
            forward(),
            replace(KEPT, tile=TileShape(128, 64, 64), tails=(64,)),
            id="consumers share the columns",
        ),
        pytest.param(
            forward(compute=Compute.TF32, weights="ekn"),
            replace(KEPT, tile=TileShape(64, 128, 32)),
            id="columns come to registers",
        ),
        pytest.param(
            forward(), replace(WIDE, tile=TileShape(144, 256, 64)), id="more parts than have room"
        ),
    ],
)
def test_consumers_wait_part_by_part(kernel: MoeKernel, schedule: Schedule) -> None:
    each = sum(PART * tensor.dtype.bytes // 2 for tensor in kernel.signature.outputs)
    assert room(kernel, schedule) == (0, 3 * each)


def test_threads_that_store_borrow_nothing() -> None:
    assert room(forward(), SWAPPED)[0] == 0


def test_the_smaller_demand_counts_where_none_fits() -> None:
    """No part beside the stages, not three."""
    schedule = replace(KEPT, stages=12)
    used = resources(build_tile(forward(), schedule, HOPPER), HOPPER)
    assert used.shared.bytes > HOPPER.shared_per_block
    assert room(forward(), schedule) == (2, 0)


def test_a_tile_that_only_fits_if_consumers_wait_does_so() -> None:
    """Tables of 400 experts leave room for three parts beside four stages, and not for four."""
    schedule = replace(WIDE, stages=4)
    fits, full = (room(forward(experts=experts), schedule) for experts in (64, 400))
    assert fits == (2, 4 * PART)
    assert full == (0, 3 * PART)
