"""What the compiler chooses, and what that takes of an SM, for the public routings and others.

These are decisions, measured on an H200 and, for sm_90a, on an H100: whoever changes one changes it
here too, on purpose.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

from moedsl.bench.kernels import KERNELS as PUBLIC_KERNELS
from moedsl.bench.kernels import Workload
from moedsl.bench.suite import public_cases
from moedsl.ir.core import Compute
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import Cooperation, ExpertOrder, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.resources import resources
from moedsl.target import TARGETS
from tests.cuda.kernels import forward, gate_up, weight_gradient


def shown(schedule: Schedule) -> str:
    """The decisions that defaults make, in one line."""
    tile = schedule.tile
    text = f"{tile.rows}x{tile.columns}x{tile.depth} stages={schedule.stages}"
    text += f" consumers={schedule.consumers} tails={','.join(map(str, schedule.tails))}"
    text += " swap" if schedule.swap_ab else ""
    text += f" split={schedule.split_k}" if schedule.split_k != 1 else ""
    return text + (_shown_roles(schedule) if schedule.specialised else "")


def _shown_roles(schedule: Schedule) -> str:
    """What only specialised warps have."""
    text = f" {schedule.cooperation} {schedule.producer_registers}/{schedule.consumer_registers}"
    if schedule.cluster > 1:
        text += f" cluster={schedule.cluster_rows}x{schedule.cluster_columns}"
    if schedule.order is not ExpertOrder.INDEX:
        text += f" {schedule.order} cache={schedule.row_eviction},{schedule.column_eviction}"
    text += f" group={schedule.raster.group}"
    return f"{text} {schedule.epilogue_store}" + (" balanced" if schedule.balanced else "")


@cache
def public_kernel(name: str) -> MoeKernel:
    return Workload(PUBLIC_KERNELS["product"], public_cases()[name]).meaning


TRIED_ROWS = (0, 1, 2, 8, 64, 65, 128, 129, 512, 513, 1024, 1025, 8000)

KERNELS = {
    "forward": forward(n=4096, k=4096),
    "small": forward(n=1, k=1),
    "narrow": forward(experts=2, n=96, k=8192),
    "tf32": forward(n=1024, k=1024, compute=Compute.TF32, weights="ekn"),
    "f32": forward(n=1024, k=1024, compute=Compute.F32),
    "f32 kn": forward(n=1024, k=1024, compute=Compute.F32, weights="ekn"),
    "gate and up": gate_up(n=2048, k=2048),
    "gather": forward(n=4096, k=4096, gather=True),
    "gradient": weight_gradient(n=2080, k=2048),
    "whole gradient": weight_gradient(n=2048, k=2048),
}

TALL_TAILS = "176,160,144,128,112,96,80,64,48,32,16"
MANY_ROWS = (
    f"192x128x64 stages=5 consumers=2 tails={TALL_TAILS} swap"
    " pingpong 40/232 cluster=1x2 group=16 tma balanced"
)
SEVERAL_ROWS = (
    f"192x128x64 stages=5 consumers=2 tails={TALL_TAILS} swap"
    " pingpong 40/232 cluster=2x1 interleaved cache=last,once group=8 tma balanced"
)
FEW_ROWS = (
    "128x128x64 stages=6 consumers=2 tails=112,96,80,64,48,32,16 swap"
    " pingpong 40/232 cluster=2x1 interleaved cache=last,normal group=4 tma balanced"
)
DECODE_ROWS = (
    "32x128x64 stages=8 consumers=2 tails=16 swap pingpong 40/232 cluster=1x2 group=16 tma balanced"
)

PUBLIC = {
    "sm_90a": {
        **dict.fromkeys(("seed", "sonic"), MANY_ROWS),
        **dict.fromkeys(("qwen3", "dsv3_ep", "dsv3_down", "skew"), SEVERAL_ROWS),
        "small": FEW_ROWS,
        "decode64": DECODE_ROWS,
        "decode1": DECODE_ROWS,
    },
    "sm_90": {
        "seed": "128x128x64 stages=3 consumers=1 tails=96,64,32",
        "sonic": "128x128x64 stages=3 consumers=1 tails=96,64,32",
        "qwen3": "128x128x64 stages=3 consumers=1 tails=96,64,32",
        "dsv3_ep": "128x128x64 stages=3 consumers=1 tails=96,64,32",
        "dsv3_down": "128x128x64 stages=3 consumers=1 tails=96,64,32",
        "small": "48x128x64 stages=4 consumers=1 tails=32,24,16,8 swap",
        "decode64": "16x64x128 stages=5 consumers=1 tails=8 swap",
        "decode1": "16x64x128 stages=5 consumers=1 tails=8 swap",
        "skew": "128x128x64 stages=3 consumers=1 tails=96,64,32",
    },
    "sm_80": {
        "seed": "128x256x64 stages=3 consumers=2 tails=96,64,32",
        "sonic": "128x256x32 stages=5 consumers=2 tails=96,64,32",
        "qwen3": "128x256x32 stages=5 consumers=2 tails=96,64,32",
        "dsv3_ep": "128x256x64 stages=3 consumers=2 tails=96,64,32",
        "dsv3_down": "128x256x64 stages=3 consumers=2 tails=96,64,32",
        "small": "48x128x64 stages=3 consumers=1 tails=32,24,16,8 swap",
        "decode64": "16x64x64 stages=6 consumers=1 tails=8 swap",
        "decode1": "16x64x64 stages=6 consumers=1 tails=8 swap",
        "skew": "64x128x64 stages=3 consumers=1 tails=32",
    },
    "sm_86": {
        "seed": "128x128x32 stages=5 consumers=2 tails=96,64,32",
        "sonic": "128x128x32 stages=5 consumers=2 tails=96,64,32",
        "qwen3": "128x128x32 stages=5 consumers=2 tails=96,64,32",
        "dsv3_ep": "128x128x32 stages=5 consumers=2 tails=96,64,32",
        "dsv3_down": "128x128x32 stages=5 consumers=2 tails=96,64,32",
        "small": "32x128x32 stages=4 consumers=1 tails=24,16,8 swap",
        "decode64": "16x64x64 stages=4 consumers=1 tails=8 swap",
        "decode1": "16x64x64 stages=4 consumers=1 tails=8 swap",
        "skew": "64x128x32 stages=3 consumers=1 tails=32",
    },
}

BY_ROWS: dict[str, dict[int | None, str]] = {
    "forward": {
        None: "128x128x64 stages=3 consumers=1 tails=96,64,32",
        0: "16x64x128 stages=5 consumers=1 tails=8 swap",
        1: "16x64x128 stages=5 consumers=1 tails=8 swap split=4",
        2: "16x64x128 stages=5 consumers=1 tails=8 swap split=2",
        8: "16x64x128 stages=5 consumers=1 tails=8 swap",
        65: "48x128x64 stages=4 consumers=1 tails=32,24,16,8 swap",
        513: "128x128x64 stages=3 consumers=1 tails=96,64,32",
    },
    "small": {
        None: "128x32x64 stages=4 consumers=1 tails=96,64,32",
        0: "16x64x128 stages=5 consumers=1 tails=8 swap",
        65: "48x64x64 stages=4 consumers=1 tails=32,24,16,8 swap",
        513: "128x32x64 stages=4 consumers=1 tails=96,64,32",
    },
    "narrow": {
        None: "128x128x64 stages=3 consumers=1 tails=96,64,32",
        0: "16x64x128 stages=5 consumers=1 tails=8 swap",
        1: "16x64x128 stages=5 consumers=1 tails=8 swap split=8",
        64: "48x128x64 stages=4 consumers=1 tails=32,24,16,8 swap split=8",
        129: "128x128x64 stages=3 consumers=1 tails=96,64,32 split=8",
        8000: "128x128x64 stages=3 consumers=1 tails=96,64,32 split=4",
    },
    "tf32": {
        None: "128x128x16 stages=6 consumers=2 tails=96,64,32",
        0: "16x64x64 stages=5 consumers=1 tails=8 swap",
        1: "16x64x64 stages=5 consumers=1 tails=8 swap split=2",
        65: "48x128x32 stages=4 consumers=1 tails=32,24,16,8 swap split=4",
        512: "48x128x32 stages=4 consumers=1 tails=32,24,16,8 swap split=2",
        513: "64x128x32 stages=4 consumers=1 tails=32 split=3",
        1024: "64x128x32 stages=4 consumers=1 tails=32 split=2",
        1025: "128x128x16 stages=6 consumers=2 tails=96,64,32 split=3",
        8000: "128x128x16 stages=6 consumers=2 tails=96,64,32",
    },
    "f32": {
        None: "128x64x32 stages=4 consumers=1 tails=96,64,32",
        0: "32x64x32 stages=4 consumers=1 tails=",
        1: "32x64x32 stages=4 consumers=1 tails= split=4",
        8: "32x64x32 stages=4 consumers=1 tails= split=2",
        512: "32x64x32 stages=4 consumers=1 tails=",
        513: "128x64x32 stages=4 consumers=1 tails=96,64,32 split=2",
        1025: "128x64x32 stages=4 consumers=1 tails=96,64,32",
    },
    "gate and up": {
        None: "128x64x64 stages=3 consumers=1 tails=64,32",
        0: "16x64x64 stages=5 consumers=1 tails=8 swap",
        1: "16x64x64 stages=5 consumers=1 tails=8 swap split=4",
        8: "16x64x64 stages=5 consumers=1 tails=8 swap",
        65: "48x64x64 stages=4 consumers=1 tails=32,24,16,8 swap",
        513: "128x64x64 stages=3 consumers=1 tails=64,32",
    },
    "gradient": {
        None: "128x128x64 stages=3 consumers=1 tails=32",
    },
    "whole gradient": {
        None: "128x128x64 stages=3 consumers=1 tails=",
    },
}
"""By the kernel, and from how many rows on, on the portable path."""

DEMAND = {
    ("forward", None): (244, 128, 107936, 2),
    ("forward", 1): (76, 8, 105472, 2),
    ("small", None): (116, 32, 87504, 2),
    ("small", 1): (76, 8, 105472, 2),
    ("narrow", None): (244, 128, 107888, 2),
    ("narrow", 1): (76, 8, 105424, 2),
    ("tf32", None): (184, 64, 109104, 1),
    ("tf32", 1): (96, 8, 105472, 2),
    ("f32", None): (196, 64, 103888, 2),
    ("f32", 1): (108, 16, 54736, 4),
    ("f32 kn", None): (196, 64, 103888, 2),
    ("f32 kn", 1): (108, 16, 54736, 4),
    ("gate and up", None): (252, 128, 108960, 2),
    ("gate and up", 1): (100, 16, 97792, 2),
    ("gradient", None): (244, 128, 107904, 2),
    ("gradient", 1): (244, 128, 107904, 2),
    ("whole gradient", None): (244, 128, 107904, 2),
    ("whole gradient", 1): (244, 128, 107904, 2),
}
"""Registers and sums of a thread, bytes of shared memory and CTAs that fit on an SM."""


@pytest.mark.parametrize("target", PUBLIC)
def test_public_routings(target: str) -> None:
    chosen = {
        name: shown(choose_schedule(public_kernel(name), TARGETS[target], None, case.total))
        for name, case in public_cases().items()
    }
    assert chosen == PUBLIC[target]


SPECIALISED_DEMAND = {
    ("forward", None): (224, 192, 229888, 1),
    ("forward", 1): (64, 32, 188912, 1),
    ("narrow", None): (224, 192, 229840, 1),
    ("gate and up", None): (192, 160, 209408, 1),
    ("gather", None): (160, 128, 229744, 1),
    ("gradient", None): (224, 192, 213456, 1),
}
"""The same, of a consumer's thread, where warps are specialised."""


@pytest.mark.parametrize("name", BY_ROWS)
def test_rows_decide_where_they_should(name: str) -> None:
    """Each choice holds from its number of rows up to the one before the next."""
    kernel, target = KERNELS[name], TARGETS["sm_90"]
    starts = [rows for rows in BY_ROWS[name] if rows is not None]
    checked: dict[int | None, str] = dict(BY_ROWS[name])
    for rows in TRIED_ROWS:
        below = [start for start in starts if start <= rows]
        if below:
            checked[rows] = BY_ROWS[name][below[-1]]
    found = {rows: shown(choose_schedule(kernel, target, None, rows)) for rows in checked}
    assert found == checked


@pytest.mark.parametrize(("name", "rows"), DEMAND)
def test_demand(name: str, rows: int | None) -> None:
    kernel, target = KERNELS[name], TARGETS["sm_90"]
    schedule = choose_schedule(kernel, target, None, rows)
    found = resources(build_tile(kernel, schedule, target), target)
    assert (found.registers, found.sums, found.shared.bytes, found.blocks) == DEMAND[name, rows]


@pytest.mark.parametrize(("name", "rows"), SPECIALISED_DEMAND)
def test_demand_of_specialised_warps(name: str, rows: int | None) -> None:
    kernel, target = KERNELS[name], TARGETS["sm_90a"]
    schedule = choose_schedule(kernel, target, None, rows)
    found = resources(build_tile(kernel, schedule, target), target)
    demand = (found.registers, found.sums, found.shared.bytes, found.blocks)
    assert demand == SPECIALISED_DEMAND[name, rows]
    producers = 2 if "src" in {t.name for t in kernel.signature.inputs} else 1
    assert found.threads == 128 * (producers + schedule.consumers)


@pytest.mark.parametrize("experts", [1, 2, 8, 9, 300])
@pytest.mark.parametrize("order", ExpertOrder)
@pytest.mark.parametrize(("fuse_rows", "split_k"), [(0, 1), (0, 2), (16, 1), (1, 2)])
@pytest.mark.parametrize("by_rows", [True, False])
def test_shared_memory_has_room_for_all_and_no_more(
    experts: int, order: ExpertOrder, fuse_rows: int, split_k: int, by_rows: bool
) -> None:
    """Sizes of the regions in order, as the prelude's Plan, Walk and Ring use them."""
    kernel = forward(experts, k=1024) if by_rows else weight_gradient(experts)
    schedule = Schedule(
        TileShape(64, 64, 32), stages=3, order=order, fuse_rows=fuse_rows, split_k=split_k
    )
    shared = resources(build_tile(kernel, schedule, TARGETS["sm_80"]), TARGETS["sm_80"]).shared
    sorted_experts = 0
    if by_rows and order is ExpertOrder.LONGEST:
        sorted_experts = next(2**i for i in range(20) if 2**i >= experts)
    ordered = experts if by_rows and order is ExpertOrder.INTERLEAVED else sorted_experts
    places = [
        0,
        shared.staging_at,
        shared.ring_at,
        shared.tickets_at,
        shared.scratch_at,
        shared.starts_at,
        shared.item_ends_at,
        shared.order_at,
        shared.tile_numbers_at,
    ]
    assert [after - at for at, after in pairwise(places)] == [
        3 * (64 + 64) * 32 * 2,
        4 * 8 * 40 * 4,
        (3 + 1) * 48,
        16,
        132,
        (experts + 1) * 4,
        experts * 4 if by_rows else 0,
        ordered * 4,
    ]
    assert shared.sort_slots == sorted_experts
    end = shared.tile_numbers_at + (experts * 4 if fuse_rows and split_k > 1 else 0)
    assert end <= shared.bytes < end + 16
    assert shared.bytes % 16 == 0


@pytest.mark.parametrize(
    ("stages", "tails", "slots"),
    [(2, (16,), 2), (3, (16,), 4), (3, (48,), 3), (5, (16,), 6), (4, (), 4)],
    ids=str,
)
def test_low_tiles_have_a_stage_more_where_they_leave_room(
    stages: int, tails: tuple[int, ...], slots: int
) -> None:
    """Of 64 columns and 64 rows, or fewer, of 64 elements each."""
    kernel, target = forward(k=1024), TARGETS["sm_90a"]
    schedule = Schedule(
        TileShape(64, 64, 64),
        tails=tails,
        swap_ab=True,
        stages=stages,
        consumers=2,
        cooperation=Cooperation.PINGPONG,
        producer_registers=40,
        consumer_registers=232,
    )
    shared = resources(build_tile(kernel, schedule, target), target).shared
    assert (shared.stage_bytes, shared.stage_slots) == (2 * 64 * 128, slots)
    assert slots * shared.least_stage_bytes <= stages * shared.stage_bytes
    counts = 2 * slots * 4 if slots > stages else 0
    barriers = (2 * slots + 2 * 2 + 2) * 8
    assert 0 <= shared.ring_at - shared.barriers_at - barriers - counts < 16
