"""What is proposed for specialised warps that multiply tf32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import EpilogueStore, Schedule, ScheduleRequest
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import load_program
from moedsl.lower.propose_specialised import DECODE, FEW, MANY, Shape
from moedsl.lower.resources import resources
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.lower.test_propose_given import WARPS
from tests.lower.test_propose_specialised import HOPPER, PLAIN, proposals, written

PRODUCT = "sum[k] x[m, k] * w[e, n, k]"


def in_tf32(product: str = PRODUCT, **other: Any) -> MoeKernel:
    """``y[m, n]`` of f32 operands, bf16 if not said otherwise."""
    return written(f"compute tf32; y[m, n] = {product}", dtype="f32", **other)


TF32 = in_tf32()


def stage_bytes(kernel: MoeKernel, schedule: Schedule) -> int:
    return resources(build_tile(kernel, schedule, HOPPER), HOPPER).shared.stage_bytes


@pytest.mark.parametrize("shape", [MANY, FEW, DECODE])
def test_a_stage_has_half_the_depth_of_bf16_and_as_many_bytes(shape: Shape) -> None:
    """Its products take as long, too: whatever else suits bf16 suits tf32."""
    found, plain = proposals(TF32, shape), proposals(PLAIN, shape)
    assert {schedule.tile.depth for schedule in found} == {32}
    assert [replace(s, tile=replace(s.tile, depth=64)) for s in found] == plain
    assert stage_bytes(TF32, found[0]) == stage_bytes(PLAIN, plain[0])


@pytest.mark.parametrize(("rows", "height"), [(8, 32), (300, 128), (8000, 192), (None, 192)])
def test_what_is_chosen_is_legal_and_suits_the_rows(rows: int | None, height: int) -> None:
    for kernel in (TF32, in_tf32(y="f32[m, n]")):
        schedule = choose_schedule(kernel, HOPPER, None, rows)
        assert (schedule.specialised, schedule.tile.rows) == (True, height)
        assert schedule.epilogue_store is EpilogueStore.TMA
        assert check_schedule(kernel, schedule, None, HOPPER) == []


@pytest.mark.parametrize(
    "kernel",
    [
        in_tf32("sum[k] x[k, m] * w[e, n, k]", x="k, m"),
        in_tf32("sum[k] x[at[m], k] * w[e, k, n]", x="t, k", w="e, k, n"),
        in_tf32("(sum[k] x[m, k] * w[e, k, n]) * (sum[k] x[at[m], k] * v[e, k, n])", w="e, k, n"),
        in_tf32(k=258),
    ],
    ids=["rows inside", "both sides", "both sides of two sums", "odd depth"],
)
def test_nothing_is_proposed_where_specialised_warps_cannot_take_operands(
    kernel: MoeKernel,
) -> None:
    assert proposals(kernel) == []
    schedule = choose_schedule(kernel, HOPPER)
    assert not schedule.specialised
    assert check_schedule(kernel, schedule, None, HOPPER) == []


ACROSS = in_tf32("sum[k] x[m, k] * w[e, k, n]", w="e, k, n")
GATHERED = in_tf32("sum[k] x[at[m], k] * w[e, n, k]", x="t, k")
TWO = written(
    "compute tf32; a = sum[k] x[m, k] * w[e, k, n]; c = sum[k] x[m, k] * v[e, k, n];"
    "y[m, n] = silu(a) * c",
    w="e, k, n",
    dtype="f32",
)


@pytest.mark.parametrize("shape", [MANY, FEW, DECODE])
@pytest.mark.parametrize(
    ("kernel", "swap_ab"), [(ACROSS, True), (TWO, True), (GATHERED, False), (TF32, True)]
)
def test_operands_that_products_take_from_registers_are_their_tall_side(
    kernel: MoeKernel, swap_ab: bool, shape: Shape
) -> None:
    found = proposals(kernel, shape)
    assert found
    for schedule in found:
        assert schedule.swap_ab is swap_ab
        assert check_schedule(kernel, schedule, None, HOPPER) == []


@pytest.mark.parametrize("rows", [None, 8, 300])
@pytest.mark.parametrize("kernel", [ACROSS, GATHERED, TWO], ids=["across", "gathered", "two"])
@pytest.mark.parametrize("given", [w for w in WARPS if "swap_ab" not in w], ids=str)
def test_the_side_suits_the_operands_whatever_warps_are_given(
    given: dict[str, Any], kernel: MoeKernel, rows: int | None
) -> None:
    request = ScheduleRequest("s", "gemm", given=given)
    schedule = choose_schedule(kernel, HOPPER, request, rows)
    if kernel is GATHERED and given == {"consumers": 4} and rows != 8:
        # Of 128 rows, and beside six warpgroups, each has no room for 64 columns.
        assert not schedule.specialised
        return
    assert (schedule.specialised, schedule.swap_ab) == (True, kernel is not GATHERED)
    assert {name: getattr(schedule, name) for name in given} == given
    assert check_schedule(kernel, schedule, request, HOPPER) == []


@pytest.mark.parametrize(("kernel", "swap_ab"), [(ACROSS, False), (GATHERED, True)])
def test_where_another_side_is_given_all_warps_do_the_same(
    kernel: MoeKernel, swap_ab: bool
) -> None:
    request = ScheduleRequest("s", "gemm", given={"swap_ab": swap_ab})
    schedule = choose_schedule(kernel, HOPPER, request)
    assert (schedule.specialised, schedule.swap_ab) == (False, swap_ab)
    roles = {"producer_registers": 40, "consumer_registers": 200}
    request = ScheduleRequest("s", "gemm", given={"swap_ab": swap_ab, **roles})
    found = check_schedule(kernel, choose_schedule(kernel, HOPPER, request), request, HOPPER)
    assert [diagnostic.code for diagnostic in found] == ["MOE0432"]


@pytest.mark.parametrize("kernel", [ACROSS, TWO], ids=["one sum", "two sums"])
def test_tiles_leave_room_for_what_comes_to_registers(kernel: MoeKernel) -> None:
    """Two steps of four words for each 64 columns: both sums have 64, the one alone 128."""
    schedule = proposals(kernel, MANY)[0]
    found = resources(build_tile(kernel, schedule, HOPPER), HOPPER)
    assert found.fragments == 16
    assert found.registers <= schedule.consumer_registers
    assert fragments(TF32, schedule) == 0


@pytest.mark.parametrize(("shape", "most"), [(MANY, 6), (FEW, 6), (DECODE, 2)])
def test_few_heights_bring_weights_to_registers(shape: Shape, most: int) -> None:
    """Each takes longer to compile than one whose weights lie by depth."""
    for schedule in proposals(ACROSS, shape):
        assert len(schedule.heights) <= most < len(proposals(TF32, MANY)[0].heights)
        assert schedule.tile.rows % schedule.unit == 0


def fragments(kernel: MoeKernel, schedule: Schedule) -> int:
    return resources(build_tile(kernel, schedule, HOPPER), HOPPER).fragments


def test_the_sum_that_brings_most_to_registers_counts() -> None:
    text = """kernel gemm {
        index e = 8; index m = ragged(e); index n = 512; index k = 256; index j = 128
        input x : f32[m, k]; input w : f32[e, k, n]; input r : f32[m, j]; input q : f32[e, n, j]
        output y : bf16[m, n]
        compute tf32
        y[m, n] = (sum[k] x[m, k] * w[e, k, n]) + (sum[j] r[m, j] * q[e, n, j])
    }"""
    (kernel,) = load_program(Source("gemm.moe", text)).kernels
    assert fragments(kernel, proposals(kernel, MANY)[0]) == 8


def test_the_height_with_most_rows_for_each_consumer_counts() -> None:
    schedule = proposals(GATHERED, MANY)[0]
    assert (schedule.heights, fragments(GATHERED, schedule)) == ((128, 64), 16)
    assert fragments(GATHERED, replace(schedule, tails=())) == 16
    low = replace(schedule, tile=replace(schedule.tile, rows=64), tails=())
    assert fragments(GATHERED, low) == 8


@pytest.mark.parametrize("sm", sorted(set(TARGETS) - {"sm_90a"}))
def test_other_targets_take_the_portable_path(sm: str) -> None:
    assert not choose_schedule(TF32, TARGETS[sm]).specialised
