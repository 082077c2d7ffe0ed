"""Defaults: legal everywhere, and never at odds with what was asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.dispatch import typical_rows
from moedsl.ir.core import Compute
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import Requirement, Schedule, ScheduleRequest
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import load_program
from moedsl.lower.resources import resources, share_tile, step_shape
from moedsl.source.diagnostic import Severity
from moedsl.source.span import Source
from moedsl.target import TARGETS
from moedsl.work import plan_rows
from tests.cuda.kernels import forward, gate_up, weight_gradient

KERNELS = {
    "forward": forward(n=4096, k=4096),
    "small": forward(n=1, k=1),
    "odd": forward(n=333, k=77, weights="ekn"),
    "many experts": forward(experts=4096, n=1024, k=1024),
    "tf32 kn": forward(n=1024, k=1024, compute=Compute.TF32, weights="ekn"),
    "f32": forward(n=1024, k=1024, compute=Compute.F32),
    "gate and up": gate_up(n=2048, k=2048),
    "gradient": weight_gradient(n=2080, k=2048),
}
ROWS = (None, 0, 1, 8, 300, 2000, 100_000)


def errors(
    kernel: MoeKernel, target: str, request: ScheduleRequest | None, rows: int | None
) -> list[str]:
    schedule = choose_schedule(kernel, TARGETS[target], request, rows)
    found = check_schedule(kernel, schedule, request, TARGETS[target])
    return [str(d) for d in found if d.severity is Severity.ERROR]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", KERNELS)
def test_defaults_are_legal(name: str, target: str) -> None:
    for rows in ROWS:
        assert errors(KERNELS[name], target, None, rows) == []


@pytest.mark.parametrize(
    "given_fields",
    [
        {"tile.rows": 128, "tile.columns": 256, "tile.depth": 64, "consumers": 2},
        {"tile.rows": 8, "swap_ab": True},
        {"tails": (64,), "raster.group": 3},
        {"stages": 2, "split_k": 4},
        {"tile.depth": 32, "fuse_rows": 16},
    ],
    ids=str,
)
def test_what_is_given_is_kept(given_fields: dict[str, object]) -> None:
    request = ScheduleRequest("s", "test", given=given_fields)
    for rows in ROWS:
        schedule = choose_schedule(KERNELS["forward"], TARGETS["sm_90a"], request, rows)
        for name, value in given_fields.items():
            part, _, field = name.rpartition(".")
            owner = getattr(schedule, part) if part else schedule
            assert getattr(owner, field) == value
        assert errors(KERNELS["forward"], "sm_90a", request, rows) == []


def test_batch_invariant_schedules_do_not_depend_on_rows() -> None:
    request = ScheduleRequest("s", "test", given={"require": (Requirement.BATCH_INVARIANT,)})
    target = TARGETS["sm_90a"]
    chosen = {choose_schedule(KERNELS["forward"], target, request, rows) for rows in ROWS}
    assert len(chosen) == 1
    assert chosen.pop().split_k == 1


def test_few_rows_take_narrow_tiles_and_many_rows_wide_ones() -> None:
    target = TARGETS["sm_90a"]
    heights = [
        choose_schedule(KERNELS["forward"], target, None, rows).tile.rows for rows in (8, 300, 8000)
    ]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]
    few = forward(experts=8, n=256, k=8192)
    assert choose_schedule(few, target, None, 1).split_k > 1


def test_few_schedules_serve_all_numbers_of_rows() -> None:
    kernel, target = forward(1, 2048, 4096), TARGETS["sm_90a"]
    numbers = {typical_rows(rows, 1) for rows in range(1, 4097)}
    assert len({choose_schedule(kernel, target, None, rows) for rows in numbers}) <= 7


@given(st.integers(1, 2000), st.integers(1, 64))
def test_splits_feed_each_sm_once(rows: int, column_tiles: int) -> None:
    columns = 128 * column_tiles
    kernel = forward(experts=1, n=columns, k=8192)
    schedule = choose_schedule(kernel, TARGETS["sm_90a"], None, rows)
    ctas = sum(len(item.tiles) for item in plan_rows(schedule, [rows], columns))
    assert schedule.split_k == 1 or ctas <= 132
    assert schedule.split_k == 8 or ctas + ctas // schedule.split_k > 132


@pytest.mark.parametrize("rows", [8, 300])
@pytest.mark.parametrize("consumers", [1, 2, 3, 4])
def test_columns_suit_the_lowest_tail_that_is_given(consumers: int, rows: int) -> None:
    request = ScheduleRequest("s", "test", given={"consumers": consumers, "tails": (8,)})
    assert errors(KERNELS["forward"], "sm_80", request, rows) == []


@pytest.mark.parametrize("depth", [64, 128, 256])
def test_stages_that_are_given_deeper_are_fewer(depth: int) -> None:
    def chosen(given_fields: dict[str, object]) -> Schedule:
        request = ScheduleRequest("s", "test", given=given_fields)
        return choose_schedule(KERNELS["forward"], TARGETS["sm_90"], request, 8)

    usual = chosen({})
    assert usual.tile.depth == 128
    assert chosen({"tile.depth": depth}).stages == min(8, usual.stages * 128 // depth)


@pytest.mark.parametrize("rows", [8, 300, 4000])
def test_the_largest_depth_that_is_given_leaves_two_stages(rows: int) -> None:
    request = ScheduleRequest("s", "test", given={"tile.depth": 256})
    schedule = choose_schedule(KERNELS["forward"], TARGETS["sm_86"], request, rows)
    assert (schedule.tile.depth, schedule.stages) == (256, 2)


@pytest.mark.parametrize("rows", [8, 300, 800, None])
def test_large_tiles_that_are_given_leave_room_for_two_stages(rows: int | None) -> None:
    kernel, target = KERNELS["forward"], TARGETS["sm_86"]
    given_fields = {"tile.rows": 32, "tile.columns": 512, "consumers": 2}
    request = ScheduleRequest("s", "test", given=given_fields)
    schedule = choose_schedule(kernel, target, request, rows)
    assert (schedule.tile.depth, schedule.stages) == (32, 2)
    assert errors(kernel, "sm_86", request, rows) == []
    more = build_tile(kernel, replace(schedule, stages=3), target)
    assert resources(more, target).shared.bytes > target.shared_per_block


def test_too_many_warps_for_any_columns_are_refused_for_that_alone() -> None:
    given_fields = {"consumers": 7, "swap_ab": True, "tails": (8,)}
    (error,) = errors(
        KERNELS["forward"], "sm_80", ScheduleRequest("s", "test", given=given_fields), None
    )
    assert "28 warps cannot share a tile" in error


def test_threads_may_take_the_last_register_there_is() -> None:
    kernel, target = KERNELS["forward"], TARGETS["sm_80"]
    given_fields = {"tile.rows": 128, "tile.columns": 160, "consumers": 4}
    schedule = choose_schedule(kernel, target, ScheduleRequest("s", "test", given=given_fields))
    found = resources(build_tile(kernel, schedule, target), target)
    assert found.registers * found.threads == target.registers_per_sm
    assert (schedule.tile.depth, schedule.stages) == (64, 3)


@pytest.mark.parametrize("fuse_rows", [129, 200, 256])
def test_tiles_hold_fused_experts_that_none_is_proposed_for(fuse_rows: int) -> None:
    request = ScheduleRequest("s", "test", given={"fuse_rows": fuse_rows})
    schedule = choose_schedule(KERNELS["forward"], TARGETS["sm_80"], request)
    assert schedule.tile.rows // 2 < fuse_rows <= schedule.tile.rows
    assert errors(KERNELS["forward"], "sm_80", request, None) == []


@pytest.mark.parametrize(
    ("swap_ab", "heights"), [(True, (64, 32, 24, 16, 8)), (False, (96, 64, 32))]
)
@pytest.mark.parametrize("consumers", range(1, 7))
def test_tails_are_the_lowest_heights_that_the_warps_can_share(
    consumers: int, swap_ab: bool, heights: tuple[int, ...]
) -> None:
    given_fields = {"consumers": consumers, "swap_ab": swap_ab}
    request = ScheduleRequest("s", "test", given=given_fields)
    schedule = choose_schedule(KERNELS["forward"], TARGETS["sm_80"], request)
    step, columns = step_shape(Compute.BF16, swap_ab), schedule.tile.columns
    shared = [h for h in heights if share_tile(h, columns, 4 * consumers, step)]
    assert schedule.tails == tuple(shared[-4:])


@given(
    st.sampled_from((8, 16, 24, 48, 64, 96, 128, 256)),
    st.sampled_from((8, 16, 64, 96, 128, 192, 256)),
    st.sampled_from((4, 8, 12, 16)),
    st.sampled_from(list(Compute)),
    st.booleans(),
)
def test_warps_share_the_whole_tile(
    height: int, columns: int, warps: int, compute: Compute, swap_ab: bool
) -> None:
    step = step_shape(compute, swap_ab)
    layout = share_tile(height, columns, warps, step)
    possible = [
        rows
        for rows in range(1, warps + 1)
        if warps % rows == 0
        and height % (rows * step.rows) == 0
        and columns % (warps // rows * step.columns) == 0
    ]
    assert (layout is None) == (not possible)
    if layout is not None:
        assert layout.rows in possible
        assert layout.rows * layout.columns == warps


def test_several_sums_of_words_that_lie_across_take_the_lowest_tile() -> None:
    """Each operand's addresses take registers: three times two of them leave few for sums."""
    pairs = [(f"a{i}", f"b{i}") for i in range(3)]
    sums = " + ".join(f"s{i}" for i in range(3))
    text = "kernel three { index e = 8; index m = ragged(e); index n = 64; index k = 64\n"
    for a, b in pairs:
        text += f"input {a} : f32[m, n]\ninput {b} : f32[m, k]\n"
    text += "output y : f32[e, n, k]\ncompute tf32\n"
    for i, (a, b) in enumerate(pairs):
        text += f"s{i} = sum[m] {a}[m, n] * {b}[m, k]\n"
    (kernel,) = load_program(Source("three.moe", f"{text}y[e, n, k] = {sums}\n}}")).kernels
    for target in TARGETS:
        assert errors(kernel, target, None, None) == []
        assert choose_schedule(kernel, TARGETS[target]).tile.rows == 32
