"""The work plan: which tile is computed when. Its one definition.

A pure function of the rows per expert and the schedule. The interpreter walks it, ``explain``
counts it, and the device derives the same sequence from ``offs`` by itself, so every rule here
is one that a CTA can evaluate with a prefix sum over experts and arithmetic on one item number:

* An m-grouped expert with r rows has ceil(r / tile.rows) row tiles. All hold tile.rows but the
  last, which holds what is left; if the schedule is balanced, they share the rows evenly, in units
  of the lowest height. A tile is as high as the smallest of ``schedule.heights`` that holds its
  rows, unless a cluster decides (below). A k-grouped expert has the same tiles as every other, with
  its own rows as depth.
* Experts are cut into windows of max(1, tile.rows // fuse_rows) consecutive numbers. In a window
  the experts with 1 to fuse_rows rows share their work items: the first of them leads, and its
  items hold one tile for each of them, in order of number. Every other item holds one tile.
* CTAs of a cluster have neighbouring columns of one row tile. If the cluster lies along the rows,
  it is a pair, and takes two row tiles by two column tiles not row by row but column by column;
  both CTAs then compute the height of the upper tile. Where there are no two by two, nothing
  changes.
* Items are numbered expert by expert (leaders for fused ones) in ``schedule.order``, inside an
  expert in raster order, and inside a tile by split: item numbers of one tile's splits are
  consecutive. If experts are interleaved, this holds of those with several row tiles and of the
  others, each for themselves; but one row tile of every 16 comes behind all these, if it is found
  in experts with at most a third of a tile's rows that are not fused, the last of them: such tiles
  are short, and leave the machine less idle when work runs out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from moedsl.ir.schedule import Along, ExpertOrder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moedsl.ir.schedule import Raster, Schedule
    from moedsl.ir.tile import TileKernel


@dataclass(frozen=True, slots=True)
class Tile:
    """One output tile. ``row`` counts from the expert's first row, ``column`` from column 0.

    ``height`` is one of the schedule's heights; ``rows`` ≤ height and ``columns`` ≤ tile.columns
    are what is really there. ``split`` of ``schedule.split_k`` says which part of the depth.
    """

    expert: int
    row: int
    height: int
    rows: int
    column: int
    columns: int
    split: int


@dataclass(frozen=True, slots=True)
class Item:
    """What a CTA takes at a time: one tile, or one tile for each expert of a fused run.

    A cluster takes an item together: neighbouring tiles, one for each of its CTAs.
    """

    tiles: tuple[Tile, ...]


def ceil_div(numerator: int, denominator: int) -> int:
    """Smallest integer not below ``numerator / denominator``."""
    return -(-numerator // denominator)


def tile_height(schedule: Schedule, rows: int) -> int:
    """The smallest height that holds ``rows`` (1 ≤ rows ≤ tile.rows)."""
    return min(height for height in schedule.heights if height >= rows)


def fuse_window(schedule: Schedule) -> int:
    """Number of consecutive experts that may share an item; 1 if nothing is fused."""
    return max(1, schedule.tile.rows // schedule.fuse_rows) if schedule.fuse_rows else 1


def raster_position(raster: Raster, number: int, rows: int, columns: int) -> tuple[int, int]:
    """Row tile and column tile of the ``number``-th of ``rows`` × ``columns`` tiles."""
    along, across = (rows, columns) if raster.along is Along.ROWS else (columns, rows)
    group, within = divmod(number, raster.group * across)
    width = min(raster.group, along - group * raster.group)
    step, offset = divmod(within, width)
    if raster.serpentine and step % 2:
        offset = width - 1 - offset
    position = group * raster.group + offset
    return (position, step) if raster.along is Along.ROWS else (step, position)


def depth_range(schedule: Schedule, depth: int, split: int) -> tuple[int, int]:
    """First and past-last depth position of part ``split``: whole stages, spread from the front."""
    stages = ceil_div(depth, schedule.tile.depth)
    each, extra = divmod(stages, schedule.split_k)
    first = split * each + min(split, extra)
    last = first + each + (split < extra)
    return min(depth, first * schedule.tile.depth), min(depth, last * schedule.tile.depth)


def row_range(schedule: Schedule, rows: int, row_tile: int) -> tuple[int, int]:
    """First and past-last of an expert's ``rows`` in its ``row_tile``-th row tile."""
    if not schedule.balanced:
        first = row_tile * schedule.tile.rows
        return first, min(rows, first + schedule.tile.rows)
    unit = schedule.unit
    each, extra = divmod(ceil_div(rows, unit), ceil_div(rows, schedule.tile.rows))
    first = row_tile * each + min(row_tile, extra)
    last = first + each + (row_tile < extra)
    return first * unit, min(rows, last * unit)


def _fused_runs(schedule: Schedule, rows: Sequence[int]) -> list[tuple[int, ...]]:
    """For each expert the experts whose tiles its items hold; empty if it leads no item."""
    window = fuse_window(schedule)
    runs: list[tuple[int, ...]] = [(e,) if r else () for e, r in enumerate(rows)]
    if schedule.fuse_rows:
        for start in range(0, len(rows), window):
            members = range(start, min(start + window, len(rows)))
            small = tuple(e for e in members if 0 < rows[e] <= schedule.fuse_rows)
            for expert in small:
                runs[expert] = small if expert == small[0] else ()
    return runs


def plan(kernel: TileKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> Iterator[Item]:
    """Items of ``kernel`` for ``rows[e]`` rows of expert e, in order.

    ``sizes`` holds the extent of every index that is not ragged, by name.
    """
    signature = kernel.signature
    columns = sizes[signature.columns]
    if signature.row_grouped:
        return plan_rows(kernel.schedule, rows, columns)
    return plan_depth(kernel.schedule, len(rows), sizes[signature.rows], columns)


def plan_rows(schedule: Schedule, rows: Sequence[int], columns: int) -> Iterator[Item]:
    """Items of an m-grouped kernel: ``rows[e]`` rows by ``columns`` columns for each expert e."""
    order = _expert_order(schedule, rows)
    if schedule.order is not ExpertOrder.INTERLEAVED:
        return _plan_experts(schedule, rows, columns, order)
    wide = [expert for expert in order if rows[expert] > schedule.tile.rows]
    kept = _kept_experts(schedule, rows)
    apart = {*wide, *kept}
    narrow = [expert for expert in order if expert not in apart]
    return chain(
        _interleaved(
            list(_plan_experts(schedule, rows, columns, wide)),
            list(_plan_experts(schedule, rows, columns, narrow)),
        ),
        _plan_experts(schedule, rows, columns, kept),
    )


def _kept_experts(schedule: Schedule, rows: Sequence[int]) -> list[int]:
    """The experts whose items come last if experts are interleaved, in order."""
    leaders = [expert for expert, run in enumerate(_fused_runs(schedule, rows)) if run]
    row_tiles = sum(ceil_div(rows[expert], schedule.tile.rows) for expert in leaders)
    least, most = schedule.fuse_rows + 1, schedule.tile.rows // 3
    low = [expert for expert in leaders if least <= rows[expert] <= most]
    return low[len(low) - min(len(low), row_tiles // 16) :]


def _interleaved(wide: Sequence[Item], narrow: Sequence[Item]) -> Iterator[Item]:
    """Both in their order, ``wide`` ones spread evenly: a rule that every item can evaluate."""
    total = len(wide) + len(narrow)
    for number in range(total):
        before, through = (n * len(wide) // total for n in (number, number + 1))
        yield wide[before] if through > before else narrow[number - before]


def _plan_experts(
    schedule: Schedule, rows: Sequence[int], columns: int, order: Sequence[int]
) -> Iterator[Item]:
    runs = _fused_runs(schedule, rows)
    column_tiles = ceil_div(columns, schedule.tile.columns * schedule.cluster)
    for leader in order:
        if not runs[leader]:
            continue
        row_tiles = ceil_div(rows[leader], schedule.tile.rows)
        for number in range(row_tiles * column_tiles):
            row_tile, column_tile = raster_position(
                schedule.raster, number, row_tiles, column_tiles
            )
            for split in range(schedule.split_k):
                yield Item(
                    tuple(
                        tile
                        for e in runs[leader]
                        for tile in _tiles(
                            schedule, e, rows[e], columns, row_tile, column_tile, split
                        )
                    )
                )


def plan_depth(schedule: Schedule, experts: int, rows: int, columns: int) -> Iterator[Item]:
    """Items of a k-grouped kernel: ``rows`` × ``columns`` for every expert, empty ones too."""
    row_tiles = ceil_div(rows, schedule.tile.rows)
    column_tiles = ceil_div(columns, schedule.tile.columns * schedule.cluster)
    for expert in range(experts):
        for number in range(row_tiles * column_tiles):
            row_tile, column_tile = raster_position(
                schedule.raster, number, row_tiles, column_tiles
            )
            for split in range(schedule.split_k):
                yield Item(_tiles(schedule, expert, rows, columns, row_tile, column_tile, split))


def _expert_order(schedule: Schedule, rows: Sequence[int]) -> list[int]:
    experts = list(range(len(rows)))
    if schedule.order is ExpertOrder.LONGEST:
        experts.sort(key=lambda e: -rows[e])
    return experts


def _tiles(
    schedule: Schedule,
    expert: int,
    rows: int,
    columns: int,
    row_tile: int,
    column_tile: int,
    split: int,
) -> tuple[Tile, ...]:
    """One tile for each CTA of a cluster that has columns."""
    width, row_tiles = schedule.tile.columns, ceil_div(rows, schedule.tile.rows)
    start = column_tile * schedule.cluster * width
    places = [(row_tile, start + rank * width) for rank in range(schedule.cluster)]
    if schedule.cluster_rows > 1 and (row_tile ^ 1) < row_tiles and start + width < columns:
        column = start + row_tile % 2 * width
        places = [(row_tile & ~1, column), (row_tile | 1, column)]
    ranges = [row_range(schedule, rows, taken) for taken, _ in places]
    height = tile_height(schedule, ranges[0][1] - ranges[0][0])
    return tuple(
        Tile(
            expert=expert,
            row=first,
            height=height,
            rows=last - first,
            column=column,
            columns=min(width, columns - column),
            split=split,
        )
        for (first, last), (_, column) in zip(ranges, places, strict=True)
        if column < columns
    )
