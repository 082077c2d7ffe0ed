"""The interp backend against the reference, on random kernels, schedules, rows and layouts."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moedsl import work
from moedsl.backends.interp import BACKEND, panels, walk
from moedsl.inputs import Arguments, Layout, make_inputs
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import ExpertOrder, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.reference import Mode, check_outputs
from moedsl.target import DEFAULT_TARGET
from tests.kernels import combine, grouped_gemm, weight_gradient
from tests.strategies import moe_kernels, schedules

if TYPE_CHECKING:
    from collections.abc import Callable


def launch(kernel: MoeKernel, schedule: Schedule, arguments: Arguments) -> None:
    executable = BACKEND.compile(build_tile(kernel, schedule, DEFAULT_TARGET))
    call = arguments.call()
    executable.prepare(call)
    executable.launch(call)


@st.composite
def layouts(draw: st.DrawFn, dims: int) -> Layout:
    order = draw(st.sampled_from(list(permutations(range(dims)))))
    return Layout(
        order, draw(st.integers(0, 9)), draw(st.sampled_from((1, 1, 2))), draw(st.integers(0, 9))
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[MoeKernel, Schedule, Arguments, Mode]:
    kernel = draw(moe_kernels())
    signature = kernel.signature
    schedule = draw(
        schedules(row_grouped=signature.row_grouped, clusters=((1, 1), (1, 2), (1, 3), (2, 1)))
    )
    tile = schedule.tile.rows
    counts = st.sampled_from((0, 1, tile - 1, tile, tile + 1)) | st.integers(0, 3 * tile)
    rows = draw(st.lists(counts, min_size=signature.expert_count, max_size=signature.expert_count))
    sizes = {index.name: draw(st.integers(1, 90)) for index in signature.dynamic}
    mode = draw(st.sampled_from(Mode))
    arguments = make_inputs(
        kernel, rows, sizes, mode, draw(st.integers(0, 2**32)),
        {t.name: draw(layouts(len(t.dims))) for t in signature.tensors},
        draw(st.integers(0, 3)),
    )  # fmt: skip
    return kernel, schedule, arguments, mode


@settings(max_examples=300)
@given(cases())
def test_random_kernels_are_right(case: tuple[MoeKernel, Schedule, Arguments, Mode]) -> None:
    kernel, schedule, arguments, mode = case
    launch(kernel, schedule, arguments)
    verdict = check_outputs(
        kernel, arguments.inputs, arguments.outputs, arguments.initial_outputs, arguments.ends, mode
    )
    assert verdict.passed, verdict.message
    assert arguments.trespass() == ""


def outcome(
    kernel: MoeKernel, schedule: Schedule, rows: list[int], mode: Mode = Mode.EXACT, seed: int = 0
) -> str:
    """Empty if a launch on made-up inputs is right, else what is wrong."""
    sizes = {index.name: 9 for index in kernel.signature.dynamic}
    arguments = make_inputs(kernel, rows, sizes, mode, seed)
    launch(kernel, schedule, arguments)
    verdict = check_outputs(
        kernel, arguments.inputs, arguments.outputs, arguments.initial_outputs, arguments.ends, mode
    )
    return "" if verdict.passed else verdict.message


SCHEDULE = Schedule(
    tile=TileShape(32, 16, 16),
    tails=(16, 8),
    fuse_rows=8,
    split_k=2,
    cluster_columns=2,
    order=ExpertOrder.INTERLEAVED,
)
ROWS = [0, 40, 3, 5, 64, 1]
GEMM = grouped_gemm(6, n=40, k=72)


def short_height(schedule: Schedule, rows: int) -> int:
    return work_tile_height(schedule, rows) - 1


def no_tails(schedule: Schedule, rows: int) -> int:
    return min(schedule.heights)


def one_stage_less(schedule: Schedule, depth: int, split: int) -> tuple[int, int]:
    first, last = work_depth_range(schedule, depth, split)
    return first, max(first, last - schedule.tile.depth)


def overlapping(schedule: Schedule, depth: int, split: int) -> tuple[int, int]:
    first, last = work_depth_range(schedule, depth, split)
    return max(0, first - 1), last


def one_row_less(schedule: Schedule, rows: int, row_tile: int) -> tuple[int, int]:
    first, last = work_row_range(schedule, rows, row_tile)
    return first, max(first + 1, last - 1)


def leaders_only(schedule: Schedule, rows: list[int]) -> list[tuple[int, ...]]:
    return [run[:1] for run in work_fused_runs(schedule, rows)]


def one_of_cluster(*tile: Any) -> tuple[work.Tile, ...]:
    return work_tiles(*tile)[:1]


def narrow_ones(wide: list[work.Item], narrow: list[work.Item]) -> list[work.Item]:
    return narrow


def always_first(*_: object) -> tuple[int, int]:
    return 0, 0


work_tile_height, work_depth_range = work.tile_height, work.depth_range
work_fused_runs, work_row_range = work._fused_runs, work.row_range
work_tiles = work._tiles


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("tile_height", short_height),
        ("tile_height", no_tails),
        ("depth_range", one_stage_less),
        ("depth_range", overlapping),
        ("row_range", one_row_less),
        ("_fused_runs", leaders_only),
        ("_tiles", one_of_cluster),
        ("_interleaved", narrow_ones),
        ("raster_position", always_first),
    ],
)
def test_wrong_plans_give_wrong_results(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., object]
) -> None:
    assert outcome(GEMM, SCHEDULE, ROWS) == ""
    monkeypatch.setattr(work, name, wrong)
    assert "expected" in outcome(GEMM, SCHEDULE, ROWS)


def test_sums_in_the_wrong_order_of_parts_are_still_within_the_bound() -> None:
    for mode in Mode:
        assert outcome(GEMM, replace(SCHEDULE, split_k=5), ROWS, mode) == ""


def test_a_tile_without_its_last_part_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    visit = walk._Walk.visit

    def forgetful(self: walk._Walk, tile: work.Tile) -> None:
        if tile.split == 0 or tile.row == 0:
            visit(self, tile)

    monkeypatch.setattr(walk._Walk, "visit", forgetful)
    assert "nan" in outcome(GEMM, SCHEDULE, ROWS)


def test_empty_groups_of_a_weight_gradient_give_the_epilogue_of_zero() -> None:
    kernel = weight_gradient(3, n=5, k=7, bias=True)
    arguments = make_inputs(kernel, [4, 0, 2], {}, Mode.EXACT, 1)
    launch(kernel, replace(SCHEDULE, tails=(), fuse_rows=0), arguments)
    bias = arguments.inputs["b"]
    assert (arguments.outputs["dw"][1] == bias[:, None]).all()


def test_no_rows_at_all() -> None:
    assert outcome(GEMM, SCHEDULE, [0] * 6) == ""


def test_products_that_numpy_computes_directly() -> None:
    arguments = make_inputs(GEMM, ROWS, {}, Mode.EXACT, 3)
    launch(GEMM, SCHEDULE, arguments)
    x, w = (arguments.inputs[name].astype(np.float64) for name in "xw")
    start = 0
    for expert, end in enumerate(arguments.ends):
        expected = np.einsum("mk,nk->mn", x[start:end], w[expert])
        assert (arguments.outputs["y"][start:end] == expected.astype(ml_dtypes.bfloat16)).all()
        start = end


def test_colliding_rows_are_added_in_place() -> None:
    kernel = combine(2, n=3, k=4)
    arguments = make_inputs(kernel, [5, 4], {"t": 3}, Mode.EXACT, 0)
    launch(kernel, Schedule(tile=TileShape(16, 8, 16)), arguments)
    given = {name: array.astype(np.float64) for name, array in arguments.inputs.items()}
    expected = arguments.initial_outputs["y"].astype(np.float64)
    for row in range(9):
        weights = given["w"][0 if row < 5 else 1]
        token = given["x"][int(given["src"][row])]
        expected[int(given["dst"][row])] += given["p"][row] * (token @ weights)
    assert (arguments.outputs["y"] == expected).all()


def test_panels_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "CACHE_BYTES", 1)
    assert outcome(GEMM, SCHEDULE, ROWS) == ""


def test_the_backend_is_always_usable() -> None:
    availability = BACKEND.availability()
    assert availability.usable
    assert "cores" in availability.detail
