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
    tile, columns = kernel.schedule.tile, sizes[kernel.signature.columns]
    # In one split, the column tiles of one cluster show what the others repeat, but for the last.
    narrow = replace(kernel.schedule, split_k=1)
    column_tiles, cluster = ceil_div(columns, tile.columns), kernel.schedule.cluster
    whole, rest = divmod(column_tiles, cluster)
    heights: list[Counter[int]] = [Counter() for _ in rows]
    items = computed = 0
    for times, across in ((1 if rest else 0, rest), (whole, cluster)):
        if not times:
            continue
        found: list[Counter[int]] = [Counter() for _ in rows]
        for item in plan_rows(narrow, rows, across * tile.columns):
            items += times
            for part in item.tiles:
                found[part.expert][part.height] += 1
        computed += times * sum(h * n for counts in found for h, n in counts.items())
        heights = [Counter({h: n // across for h, n in counts.items()}) for counts in found]
    shares = tuple(
        Share(
            expert=expert,
            rows=count,
            tiles=counts.total(),
            heights=tuple(sorted(counts.items(), reverse=True)),
            padding=sum(height * number for height, number in counts.items()) - count,
        )
        for expert, (count, counts) in enumerate(zip(rows, heights, strict=True))
    )
    return Tally(
        shares=shares,
        tiles=sum(share.tiles for share in shares) * column_tiles,
        items=items * kernel.schedule.split_k,
        waste=_waste(kernel, sizes, sum(rows) * columns, computed * tile.columns),
    )


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
