"""The work plan: everything is covered once, whatever the rows and the schedule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moedsl.ir.schedule import Along, ExpertOrder, Raster, Schedule, TileShape
from moedsl.work import (
    Item,
    Tile,
    ceil_div,
    depth_range,
    fuse_window,
    plan_depth,
    plan_rows,
    raster_position,
    row_range,
    tile_height,
)
from tests.strategies import schedules

relaxed = settings(deadline=None)
row_counts = st.lists(st.integers(0, 9) | st.integers(0, 130), min_size=1, max_size=9)
CLUSTERS = ((1, 1), (1, 2), (1, 3), (2, 1))
plans = st.tuples(schedules(largest=48, clusters=CLUSTERS), row_counts, st.integers(1, 90))


def covered(items: list[Item]) -> Counter[tuple[int, int, int, int]]:
    """How often each (expert, row, column, split) is computed."""
    return Counter(
        (tile.expert, row, column, tile.split)
        for item in items
        for tile in item.tiles
        for row in range(tile.row, tile.row + tile.rows)
        for column in range(tile.column, tile.column + tile.columns)
    )


@relaxed
@given(plans)
def test_every_element_of_every_expert_is_computed_once(
    plan: tuple[Schedule, list[int], int],
) -> None:
    schedule, rows, columns = plan
    found = covered(list(plan_rows(schedule, rows, columns)))
    assert found.total() == len(found) == sum(rows) * columns * schedule.split_k
    for expert, row, column, split in found:
        assert row < rows[expert]
        assert column < columns
        assert split < schedule.split_k


@relaxed
@given(
    schedules(row_grouped=False, largest=48, clusters=CLUSTERS),
    st.integers(1, 4),
    *(2 * [st.integers(1, 90)]),
)
def test_every_weight_gradient_is_computed_once(
    schedule: Schedule, experts: int, rows: int, columns: int
) -> None:
    found = covered(list(plan_depth(schedule, experts, rows, columns)))
    assert found.total() == len(found) == experts * rows * columns * schedule.split_k
    assert max(row for _, row, _, _ in found) == rows - 1
    assert max(column for _, _, column, _ in found) == columns - 1


@relaxed
@given(plans)
def test_heights_are_the_smallest_that_fit(plan: tuple[Schedule, list[int], int]) -> None:
    schedule, rows, columns = plan
    for item in plan_rows(schedule, rows, columns):
        for tile in item.tiles:
            # Tiles of one expert that a cluster takes are equally high.
            most = max(other.rows for other in item.tiles if other.expert == tile.expert)
            assert 1 <= tile.rows <= tile.height
            assert 1 <= tile.columns <= schedule.tile.columns
            assert tile.height in schedule.heights
            assert not any(most <= height < tile.height for height in schedule.heights)
            last = tile.row + tile.rows == rows[tile.expert]
            full = tile.rows == tile.height == schedule.tile.rows
            assert last or full or schedule.balanced


def shares(schedule: Schedule, rows: int) -> list[int]:
    """Rows of each row tile of an expert."""
    row_tiles = ceil_div(rows, schedule.tile.rows)
    ranges = [row_range(schedule, rows, row_tile) for row_tile in range(row_tiles)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == rows
    assert all(end == start for (_, end), (start, _) in pairwise(ranges))
    return [last - first for first, last in ranges]


@given(st.integers(1, 12), st.integers(2, 20), st.integers(1, 2000))
def test_balanced_tiles_share_rows_evenly_in_units(unit: int, most: int, rows: int) -> None:
    schedule = Schedule(TileShape(unit * most, 16, 16), tails=(unit,), balanced=True)
    *whole, last = shares(schedule, rows)
    units = [ceil_div(share, unit) for share in (*whole, last)]
    assert sum(whole) + last == rows
    assert all(share % unit == 0 for share in whole)
    assert 1 <= last <= schedule.tile.rows
    assert units == sorted(units, reverse=True)
    assert units[0] - units[-1] <= 1
    assert units[0] <= most


def test_balanced_tiles_are_as_documented() -> None:
    schedule = Schedule(TileShape(64, 16, 16), tails=(48, 32, 16), balanced=True)
    assert shares(schedule, 70) == [48, 22]
    assert shares(schedule, 130) == [48, 48, 34]
    assert shares(schedule, 128) == [64, 64]
    assert shares(schedule, 3) == [3]
    assert shares(replace(schedule, balanced=False), 130) == [64, 64, 2]
    assert shares(replace(schedule, tails=()), 130) == [64, 64, 2]
    (first, second) = plan_rows(schedule, [70], 16)
    assert [tile.height for tile in (*first.tiles, *second.tiles)] == [48, 32]
    (first, second) = plan_depth(schedule, 1, 70, 16)
    assert [tile.height for tile in (*first.tiles, *second.tiles)] == [48, 32]


@relaxed
@given(plans)
def test_fused_experts_are_small_near_and_fit_one_tile(
    plan: tuple[Schedule, list[int], int],
) -> None:
    schedule, rows, columns = plan
    window = fuse_window(schedule)
    together: dict[int, frozenset[int]] = {}
    for item in plan_rows(schedule, rows, columns):
        assert [tile.expert for tile in item.tiles] == sorted(tile.expert for tile in item.tiles)
        assert len({tile.split for tile in item.tiles}) == 1
        experts = sorted({tile.expert for tile in item.tiles})
        for expert in experts:
            own = [tile for tile in item.tiles if tile.expert == expert]
            if len({tile.row for tile in own}) > 1:
                upper, lower = own
                assert schedule.cluster_rows == 2
                assert upper.column == lower.column
                assert upper.row + upper.rows == lower.row, "a pair has neighbouring tiles"
                continue
            starts = [tile.column for tile in own]
            first, width = starts[0], schedule.tile.columns
            end = min(columns, first + schedule.cluster * width)
            assert first % (schedule.cluster * width) == 0
            assert starts == list(range(first, end, width)), "a cluster has neighbouring tiles"
            row_tiles = ceil_div(rows[expert], schedule.tile.rows)
            alone = row_tiles % 2 and own[0].row + own[0].rows == rows[expert]
            narrow = len(own) == 1
            assert schedule.cluster_rows == 1 or alone or narrow, "pairs share columns if they can"
        for expert in experts:
            assert together.setdefault(expert, frozenset(experts)) == frozenset(experts)
        if len(experts) > 1:
            assert len({expert // window for expert in experts}) == 1
            assert all(1 <= rows[expert] <= schedule.fuse_rows for expert in experts)
            assert sum(rows[expert] for expert in experts) <= schedule.tile.rows
    for first, second in pairwise(sorted(together)):
        small = 0 < rows[first] <= schedule.fuse_rows and 0 < rows[second] <= schedule.fuse_rows
        if small and first // window == second // window:
            assert together[first] == together[second]


@relaxed
@given(plans)
def test_items_of_an_expert_and_splits_of_a_tile_are_consecutive(
    plan: tuple[Schedule, list[int], int],
) -> None:
    schedule, rows, columns = plan
    items = list(plan_rows(schedule, rows, columns))
    if schedule.order is ExpertOrder.INTERLEAVED:
        kept = kept_items(schedule, rows, items)
        assert all(low(schedule, rows, item) for item in items[len(items) - kept :])
        mixed = items[: len(items) - kept]
        spread = [item for item in mixed if wide(schedule, rows, item)]
        narrow = [item for item in mixed if not wide(schedule, rows, item)]
        for alike in (spread, narrow, items[len(items) - kept :]):
            assert consecutive(schedule, alike) == sorted(consecutive(schedule, alike))
        few = [item.tiles[0].expert for item in items if low(schedule, rows, item)]
        assert few == sorted(few)
        return
    order = consecutive(schedule, items)
    if schedule.order is ExpertOrder.INDEX:
        assert order == sorted(order)
    else:
        assert order == sorted(order, key=lambda expert: (-rows[expert], expert))


def wide(schedule: Schedule, rows: list[int], item: Item) -> bool:
    """Whether the item is one of an expert with several row tiles."""
    return rows[item.tiles[0].expert] > schedule.tile.rows


def low(schedule: Schedule, rows: list[int], item: Item) -> bool:
    """Whether the item is one of an expert with at most a third of a tile's rows, not fused."""
    count = rows[item.tiles[0].expert]
    return count > schedule.fuse_rows and 3 * count <= schedule.tile.rows


def kept_items(schedule: Schedule, rows: list[int], items: list[Item]) -> int:
    """How many come behind those that are interleaved: all of an expert, of row tiles one in 16."""
    places = {(e, tile.row) for item in items for e, tile in leading(item)}
    few = {item.tiles[0].expert for item in items if low(schedule, rows, item)}
    each = len([item for item in items if item.tiles[0].expert in few]) // max(1, len(few))
    return min(len(places) // 16, len(few)) * each


def leading(item: Item) -> list[tuple[int, Tile]]:
    """The expert that leads the item, with each tile that is its own."""
    leader = item.tiles[0].expert
    return [(leader, tile) for tile in item.tiles if tile.expert == leader]


def consecutive(schedule: Schedule, items: list[Item]) -> list[int]:
    """The experts that lead ``items``, whose own follow each other, and so do splits of a tile."""
    leaders = [item.tiles[0].expert for item in items]
    assert len([1 for a, b in pairwise(leaders) if a != b]) == max(0, len(set(leaders)) - 1)
    assert [item.tiles[0].split for item in items] == [
        number % schedule.split_k for number in range(len(items))
    ]
    return list(dict.fromkeys(leaders))


@relaxed
@given(plans)
def test_interleaved_items_of_wide_experts_are_spread_evenly_before_the_end(
    plan: tuple[Schedule, list[int], int],
) -> None:
    schedule, rows, columns = plan
    schedule = replace(schedule, order=ExpertOrder.INTERLEAVED)
    items = list(plan_rows(schedule, rows, columns))
    several = [wide(schedule, rows, item) for item in items]
    mixed = len(items) - kept_items(schedule, rows, items)
    for count in range(mixed + 1):
        # As many among the first ones as their share of these, less than one to spare.
        assert 0 <= count * sum(several) - sum(several[:count]) * mixed < max(1, mixed)
    assert not any(several[mixed:])


def test_interleaving_ends_with_low_items_if_there_are_enough() -> None:
    schedule = Schedule(TileShape(64, 16, 16), order=ExpertOrder.INTERLEAVED)

    def experts(*rows: int) -> list[int]:
        return [item.tiles[0].expert for item in plan_rows(schedule, rows, 16)]

    wide = [128] * 3
    # Of 35 row tiles two, those of the last low experts.
    assert experts(*[9] * 29, *wide)[-2:] == [27, 28]
    assert experts(*[9] * 29, *wide)[-3] >= 29
    assert experts(9, 9, 9, *[30] * 26, *wide)[-2:] == [1, 2]
    assert experts(9, *[30] * 28, *wide)[-1] == 0
    # Of those with more rows none is kept, and none that share their items.
    assert experts(*[30] * 29, *wide)[-1] >= 29
    fused = replace(schedule, tile=TileShape(128, 16, 16), fuse_rows=8)
    last = [*plan_rows(fused, [*[8] * 64, *[2048] * 8, 9, 9], 16)][-3:]
    assert [len(item.tiles) for item in last] == [1, 1, 1]
    assert [item.tiles[0].expert for item in last[1:]] == [72, 73]


def test_interleaving_and_clusters_are_as_documented() -> None:
    schedule = Schedule(TileShape(64, 16, 16), order=ExpertOrder.INTERLEAVED)
    experts = [item.tiles[0].expert for item in plan_rows(schedule, [3, 129, 0, 5, 7, 9], 16)]
    assert experts == [0, 3, 1, 4, 1, 5, 1]
    clusters = plan_rows(Schedule(TileShape(64, 16, 16), cluster_columns=2), [70], 40)
    assert [
        [(tile.row, tile.column, tile.columns) for tile in item.tiles] for item in clusters
    ] == [
        [(0, 0, 16), (0, 16, 16)],
        [(64, 0, 16), (64, 16, 16)],
        [(0, 32, 8)],
        [(64, 32, 8)],
    ]


def test_pairs_take_one_column_tile_after_the_other() -> None:
    schedule = Schedule(TileShape(64, 16, 16), cluster_rows=2, tails=(32,), balanced=True)
    items = list(plan_rows(schedule, [140], 40))
    assert [
        [(tile.row, tile.rows, tile.height, tile.column) for tile in item.tiles] for item in items
    ] == [
        [(0, 64, 64, 0), (64, 64, 64, 0)],
        [(0, 64, 64, 16), (64, 64, 64, 16)],
        [(128, 12, 32, 0), (128, 12, 32, 16)],
        [(0, 64, 64, 32)],
        [(64, 64, 64, 32)],
        [(128, 12, 32, 32)],
    ]
    (first, _) = plan_rows(replace(schedule, tails=(16,)), [70], 32)
    assert [(tile.rows, tile.height) for tile in first.tiles] == [(48, 64), (22, 64)]


@relaxed
@given(
    st.builds(Raster, st.sampled_from(Along), st.integers(1, 9), st.booleans()),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_raster_visits_every_tile_once_in_groups(raster: Raster, rows: int, columns: int) -> None:
    visited = [raster_position(raster, i, rows, columns) for i in range(rows * columns)]
    assert sorted(visited) == [(r, c) for r in range(rows) for c in range(columns)]
    along = [r if raster.along is Along.ROWS else c for r, c in visited]
    groups = [position // raster.group for position in along]
    assert groups == sorted(groups)
    if raster.serpentine:
        for (r0, c0), (r1, c1) in pairwise(visited):
            steps = abs(r0 - r1) + abs(c0 - c1)
            assert steps == 1 or groups[visited.index((r0, c0))] != groups[visited.index((r1, c1))]


def test_raster_order_is_as_documented() -> None:
    raster = Raster(Along.ROWS, 2)
    visited = [raster_position(raster, number, 3, 2) for number in range(6)]
    assert visited == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (2, 1)]
    back = [raster_position(replace(raster, serpentine=True), i, 3, 2) for i in range(4)]
    assert back == [(0, 0), (1, 0), (1, 1), (0, 1)]


@given(st.integers(0, 500), st.integers(1, 64), st.integers(1, 9))
def test_depth_ranges_partition_the_depth_in_whole_stages(
    depth: int, stage: int, splits: int
) -> None:
    schedule = Schedule(TileShape(16, 16, stage), split_k=splits)
    ranges = [depth_range(schedule, depth, split) for split in range(splits)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == depth
    assert all(end == start for (_, end), (start, _) in pairwise(ranges))
    assert all(start % stage == 0 or start == depth for start, _ in ranges)
    stages = [ceil_div(end - start, stage) for start, end in ranges]
    assert max(stages) - min(stages) <= 1
    assert stages == sorted(stages, reverse=True)


@given(schedules(), st.data())
def test_tile_height(schedule: Schedule, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, schedule.tile.rows))
    height = tile_height(schedule, rows)
    assert rows <= height
    assert height in schedule.heights


def test_the_seed_case_has_the_tiles_its_file_promises() -> None:
    rows = [1842, 2341, 1756, 2113, 1967, 2480, 1688, 2197]
    schedule = Schedule(TileShape(128, 128, 64))
    tiles = Counter(item.tiles[0].expert for item in plan_rows(schedule, rows, 1))
    assert [tiles[expert] for expert in range(8)] == [15, 19, 14, 17, 16, 20, 14, 18]


def test_tails_and_fusion_are_as_documented() -> None:
    schedule = Schedule(TileShape(64, 16, 16), tails=(32, 16), fuse_rows=20)
    items = list(plan_rows(schedule, [70, 3, 20, 21, 0, 9], 16))
    assert [[(t.expert, t.row, t.height, t.rows) for t in item.tiles] for item in items] == [
        [(0, 0, 64, 64)],
        [(0, 64, 16, 6)],
        [(1, 0, 16, 3), (2, 0, 32, 20)],
        [(3, 0, 32, 21)],
        [(5, 0, 16, 9)],
    ]


@pytest.mark.parametrize("rows", [[], [0], [0, 0, 0]])
def test_no_rows_no_items(rows: list[int]) -> None:
    schedule = Schedule(TileShape(16, 16, 16), fuse_rows=4)
    assert list(plan_rows(schedule, rows, 5)) == []
