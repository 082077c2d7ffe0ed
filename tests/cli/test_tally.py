"""Tiles, padding and work counted for people are those of the work plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.cli.tally import flops, least_bytes, tally
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.ir.tile import Multiply
from moedsl.lower.build_tile import build_tile
from moedsl.target import TARGETS
from moedsl.work import ceil_div, plan
from tests.kernels import combine, grouped_gemm, weight_gradient
from tests.strategies import tile_kernels

if TYPE_CHECKING:
    from moedsl.ir.tile import TileKernel

TARGET = TARGETS["sm_90a"]
SEED_ROWS = [1842, 2341, 1756, 2113, 1967, 2480, 1688, 2197]


def test_the_seed_has_15_row_tiles_for_1842_rows() -> None:
    schedule = Schedule(TileShape(128, 128, 64))
    tile = build_tile(grouped_gemm(8, 14336, 4096), schedule, TARGET)
    found = tally(tile, SEED_ROWS, {"e": 8, "n": 14336, "k": 4096})
    assert [share.tiles for share in found.shares] == [15, 19, 14, 17, 16, 20, 14, 18]
    assert found.shares[0].padding == 15 * 128 - 1842
    assert found.tiles == found.items == sum(share.tiles for share in found.shares) * 112
    assert found.waste == pytest.approx(1 - 16384 / (128 * 133))


def test_tails_shrink_the_padding() -> None:
    schedule = Schedule(TileShape(128, 128, 64), tails=(64, 16))
    tile = build_tile(grouped_gemm(3, 100, 70), schedule, TARGET)
    found = tally(tile, [0, 130, 65], {"e": 3, "n": 100, "k": 70})
    assert [share.heights for share in found.shares] == [(), ((128, 1), (16, 1)), ((128, 1),)]
    assert [share.padding for share in found.shares] == [0, 14, 63]
    assert found.waste == pytest.approx(1 - (195 * 100 * 70) / (272 * 128 * 128))


def test_a_weight_gradient_pads_its_depth() -> None:
    schedule = Schedule(TileShape(128, 128, 64), split_k=2)
    tile = build_tile(weight_gradient(2, 256, 128), schedule, TARGET)
    found = tally(tile, [0, 65], {"e": 2, "n": 256, "k": 128})
    assert [share.tiles for share in found.shares] == [2, 2]
    assert [share.padding for share in found.shares] == [0, 63]
    assert (found.tiles, found.items) == (4, 8)
    assert found.waste == pytest.approx(63 / 128)


def in_clusters(tile: TileKernel, rows: int, columns: int) -> TileKernel:
    """The plan of ``tile`` for clusters, whether or not its path has them."""
    schedule = replace(tile.schedule, cluster_rows=rows, cluster_columns=columns)
    if rows > 1 and not schedule.balanced:
        schedule = replace(schedule, tails=())
    return replace(tile, schedule=schedule)


@given(tile_kernels(), st.sampled_from(((1, 1), (1, 2), (1, 3), (2, 1))), st.data())
def test_it_counts_the_plan(
    kernel: TileKernel, cluster: tuple[int, int], data: st.DataObject
) -> None:
    tile = in_clusters(kernel, *cluster)
    signature = tile.signature
    experts = signature.expert_count
    rows = data.draw(st.lists(st.integers(0, 300), min_size=experts, max_size=experts))
    sizes = {i.name: i.extent or 70 for i in signature.indices if i.name != signature.ragged}
    items = list(plan(tile, rows, sizes))
    found = tally(tile, rows, sizes)
    assert found.items == len(items)
    first = [part for item in items for part in item.tiles if part.split == 0]
    assert found.tiles == len(first)
    computed = sum(part.height * tile.schedule.tile.columns for part in first)
    if signature.row_grouped:
        first = [part for part in first if part.column == 0]
        stage = tile.schedule.tile.depth
        depths = [sizes[op.over] for op in tile.body if isinstance(op, Multiply)]
        computed *= sum(ceil_div(depth, stage) * stage for depth in depths)
        useful = sum(rows) * sizes[signature.columns] * sum(depths)
        assert found.waste == pytest.approx(1 - useful / computed if computed else 0)
    counted = Counter((part.expert, part.height) for part in first)
    for share in found.shares:
        assert dict(share.heights) == {h: n for (e, h), n in counted.items() if e == share.expert}
    assert 0 <= found.waste < 1


def test_work_of_a_call() -> None:
    gemm = grouped_gemm(4, 64, 32)
    sizes = {"e": 4, "n": 64, "k": 32}
    assert flops(gemm, [3, 0, 0, 2], sizes) == 2 * 5 * 64 * 32
    assert least_bytes(gemm, [3, 0, 0, 2], sizes) == 2 * (5 * 32 + 2 * 64 * 32 + 5 * 64)
    scatter = combine(2, 8, 16)
    sizes = {"e": 2, "n": 8, "k": 16, "t": 10}
    moved = 2 * (10 * 16 + 16 * 8) + 4 * 3 * 6 + 4 * 2 * 10 * 8
    assert least_bytes(scatter, [6, 0], sizes) == moved
