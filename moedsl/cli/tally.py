"""What the work plan makes of a distribution of rows: tiles per expert, padding, work items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from moedsl.ir.core import Role
from moedsl.ir.moe import Contract
from moedsl.ir.tile import Multiply
from moedsl.work import ceil_div, plan_depth, plan_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule
    from moedsl.ir.tile import TileKernel


@dataclass(frozen=True, slots=True)
class Share:
    """One expert's part of the work.

    ``tiles`` counts its row tiles (k-grouped: all of its output tiles), ``heights`` how many there
    are of each height, tallest first; of a pair of CTAs, the heights that both compute. ``padding``
    are rows that are computed and thrown away (k-grouped: rows that fill up the last stage).
    """

    expert: int
    rows: int
    tiles: int
    heights: tuple[tuple[int, int], ...]
    padding: int


@dataclass(frozen=True, slots=True)
class Tally:
    """All experts' shares, and totals.

    ``items`` is how often a CTA, or a cluster, takes work. ``waste`` is the part of all
    multiplications that padding of rows, columns and depth makes, 0 to 1.
    """

    shares: tuple[Share, ...]
    tiles: int
    items: int
    waste: float


def tally(kernel: TileKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> Tally:
    """Count the plan of ``kernel`` for ``rows[e]`` rows of expert e.

    ``sizes`` holds the extent of every index that is not ragged.
    """
    count = _tally_rows if kernel.signature.row_grouped else _tally_depth
    return count(kernel, rows, sizes)


def _tally_rows(kernel: TileKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> Tally:
    schedule, columns = kernel.schedule, sizes[kernel.signature.columns]
    column_tiles = ceil_div(columns, schedule.tile.columns)
    whole, rest = divmod(column_tiles, schedule.cluster)
    # One cluster's column tiles show what the others repeat, but for the last if it has fewer.
    repeated = _across(schedule, rows, schedule.cluster if whole else max(1, rest))
    last = _across(schedule, rows, rest) if whole and rest else None
    times = whole or min(1, rest)
    shares = tuple(
        Share(
            expert=expert,
            rows=count,
            tiles=heights.total(),
            heights=tuple(sorted(heights.items(), reverse=True)),
            padding=_computed(heights) - count,
        )
        for expert, (count, heights) in enumerate(zip(rows, repeated.heights, strict=True))
    )
    computed = times * repeated.computed + (last.computed if last else 0)
    items = times * repeated.items + (last.items if last else 0)
    return Tally(
        shares=shares,
        tiles=sum(share.tiles for share in shares) * column_tiles,
        items=items * schedule.split_k,
        waste=_waste(kernel, sizes, sum(rows) * columns, computed * schedule.tile.columns),
    )


@dataclass(frozen=True, slots=True)
class _Across:
    """Neighbouring column tiles, unsplit: their work items, the rows that are computed in all, and
    the heights of each expert's tiles in one of them.
    """

    items: int
    computed: int
    heights: list[Counter[int]]


def _across(schedule: Schedule, rows: Sequence[int], column_tiles: int) -> _Across:
    narrow, items = replace(schedule, split_k=1), 0
    found: list[Counter[int]] = [Counter() for _ in rows]
    for item in plan_rows(narrow, rows, column_tiles * schedule.tile.columns):
        items += 1
        for tile in item.tiles:
            found[tile.expert][tile.height] += 1
    heights = [Counter({h: n // column_tiles for h, n in every.items()}) for every in found]
    return _Across(items, sum(map(_computed, found)), heights)


def _computed(heights: Counter[int]) -> int:
    """Rows that tiles of these heights compute."""
    return sum(height * number for height, number in heights.items())


def _tally_depth(kernel: TileKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> Tally:
    schedule, signature = kernel.schedule, kernel.signature
    height, width = sizes[signature.rows], sizes[signature.columns]
    narrow = replace(schedule, split_k=1)
    items = list(plan_depth(narrow, 1, height, width))
    tiles = [tile for item in items for tile in item.tiles]
    heights = tuple(sorted(Counter(tile.height for tile in tiles).items(), reverse=True))
    depth = schedule.tile.depth
    shares = tuple(
        Share(expert, count, len(tiles), heights, ceil_div(count, depth) * depth - count)
        for expert, count in enumerate(rows)
    )
    computed = sum(tile.height for tile in tiles) * schedule.tile.columns
    computed *= sum(share.rows + share.padding for share in shares)
    return Tally(
        shares=shares,
        tiles=len(tiles) * len(rows),
        items=len(items) * len(rows) * schedule.split_k,
        waste=1 - height * width * sum(rows) / computed if computed else 0.0,
    )


def _waste(kernel: TileKernel, sizes: Mapping[str, int], useful: int, computed: int) -> float:
    """Both counts are of output elements; the padding of the depth comes on top."""
    stage = kernel.schedule.tile.depth
    depths = [sizes[op.over] for op in kernel.body if isinstance(op, Multiply)]
    useful *= sum(depths)
    computed *= sum(ceil_div(depth, stage) * stage for depth in depths)
    return 1 - useful / computed if computed else 0.0


def flops(kernel: MoeKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> int:
    """Floating-point operations that the kernel's contractions need: 2 for each product."""
    signature = kernel.signature
    extents = {**sizes, signature.ragged: sum(rows)}
    return sum(
        2 * prod(extents[name] for name in {signature.rows, signature.columns, op.over})
        for op in kernel.body
        if isinstance(op, Contract)
    )


def least_bytes(kernel: MoeKernel, rows: Sequence[int], sizes: Mapping[str, int]) -> int:
    """Bytes that must move if each element moves once: weights of experts with rows only.

    Tensors that are read and written count twice.
    """
    signature = kernel.signature
    live = sum(count > 0 for count in rows) if signature.row_grouped else len(rows)
    extents = {**sizes, signature.ragged: sum(rows), signature.experts: live}
    return sum(
        tensor.dtype.bytes
        * (2 if tensor.role is Role.ACCUMULATED else 1)
        * prod(extents[dim] for dim in tensor.dims)
        for tensor in signature.tensors
    )
