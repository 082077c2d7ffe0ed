"""Hypothesis strategies for schedules of specialised warps."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hypothesis import assume
from hypothesis import strategies as st

from moedsl.ir.moe import Contract
from moedsl.ir.schedule import Cooperation, EpilogueStore, Eviction, Schedule, TileShape
from moedsl.lower.resources import depth_inner, element_bytes
from moedsl.lower.resources.specialised import (
    FLAT_STEP,
    MOST_BOX,
    TALL,
    block_depth,
    flat_obstacle,
    gathered,
    kernel_obstacle,
    producer_groups,
    share_groups,
    store_obstacle,
)
from moedsl.lower.rules.demand import STAGES
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.target import Target

REGISTERS = {
    (1, 1): ((24, 232), (40, 216)),
    (1, 2): ((40, 232), (24, 240), (24, 104)),
    (1, 3): ((32, 160), (24, 160)),
    (2, 1): ((40, 232), (56, 232)),
    (2, 2): ((56, 200), (24, 224)),
    (2, 3): ((40, 136), (56, 128)),
}
"""Of producers and consumers, by the warpgroups of each; several for CTAs that share an SM."""
_CLUSTERS = ((1, 1), (1, 1), (2, 1), (1, 2), (1, 2), (1, 4))
"""CTAs along rows and columns; the first three need no rows that are shared."""
_SUMS = 192
"""Most registers of a consumer's thread that hold sums."""


def can_specialise(kernel: MoeKernel, target: Target) -> bool:
    """Whether there are schedules of specialised warps for ``kernel``."""
    return target.warp_specialised and not kernel_obstacle(kernel)


@st.composite
def specialised_shapes(
    draw: st.DrawFn, kernel: MoeKernel, target: Target, largest: int
) -> Schedule:
    """What only specialised warps can be told, and tiles up to ``largest`` that fit it, or wider
    where consumers keep outputs.

    Tiles are of whole products for each consumer; few demand more than ``target`` has.
    """
    compute, block = kernel.signature.compute, block_depth(kernel.signature.compute)
    contracts = [op for op in kernel.body if isinstance(op, Contract)]
    swap, consumers, pingpong, store, keeps = draw(_consumers(kernel))
    shared = not any(gathered(op.lhs) for op in contracts)
    cluster = draw(st.sampled_from(_CLUSTERS if shared else _CLUSTERS[:3]))
    flat = [op.lhs if swap else op.rhs for op in contracts]
    inner = all(depth_inner(access, op.over) for access, op in zip(flat, contracts, strict=True))
    sharing = 1 if pingpong else consumers
    most = _SUMS * 128 * sharing // len(contracts)
    widest = MOST_BOX if keeps else min(largest, MOST_BOX)
    shapes = _shapes(sharing, swap, inner, cluster, min(largest, MOST_BOX), widest, most)
    if keeps:
        shapes = {width: each for width, each in shapes.items() if width % (TALL * sharing) == 0}
    assume(shapes)
    columns = draw(st.sampled_from(sorted(shapes)))
    rows = draw(st.sampled_from(shapes[columns]))
    lower = [height for height in shapes[columns] if height < rows]
    tails = draw(st.sets(st.sampled_from(lower), max_size=4)) if lower else set()
    whole = bool(tails) and rows % min(tails) == 0
    if cluster[0] > 1 and not whole:
        tails = set()
    balanced = whole and (cluster[0] > 1 or draw(st.booleans()))
    # Most of shared memory is stages.
    line = (ceil_div(rows, TALL) * TALL + len(contracts) * columns) * element_bytes(compute)
    fitting = target.shared_per_block * 3 // 4 // line
    depths = [n for n in (block, block, 2 * block, 4 * block) if n * STAGES[0] <= fitting]
    assume(depths)
    depth = draw(st.sampled_from(depths))
    groups = producer_groups(op.lhs for op in contracts), consumers
    producer, consumer = draw(st.sampled_from(REGISTERS[groups]))
    evictions = [eviction for eviction in Eviction if eviction is not Eviction.ONCE]
    once = [Eviction.ONCE] if kernel.signature.row_grouped else []
    return Schedule(
        tile=TileShape(rows, columns, depth),
        tails=tuple(sorted(tails, reverse=True)),
        balanced=balanced,
        swap_ab=swap,
        stages=draw(st.integers(STAGES[0], min(fitting // depth, STAGES[1]))),
        consumers=consumers,
        cooperation=Cooperation.PINGPONG if pingpong else Cooperation.COOPERATIVE,
        producer_registers=producer,
        consumer_registers=consumer,
        cluster_rows=cluster[0],
        cluster_columns=cluster[1],
        row_eviction=draw(st.sampled_from(evictions)) if shared else Eviction.NORMAL,
        column_eviction=draw(st.sampled_from([*evictions, *once])),
        epilogue_store=store,
    )


@st.composite
def _consumers(draw: st.DrawFn, kernel: MoeKernel) -> tuple[bool, int, bool, EpilogueStore, bool]:
    """``swap_ab``, how many consumers there are, whether they take turns, who stores, and whether
    they are to share columns only.

    One draw in four, or fewer, is what it takes for outputs to wait in a tile's last stage, which
    would be rare otherwise: of few columns, or of 64 after the other.
    """
    by_engine = not store_obstacle(kernel)
    if by_engine and not flat_obstacle(kernel, swap_ab=True) and draw(st.integers(0, 3)) == 3:
        return True, draw(st.sampled_from((2, 3))), False, EpilogueStore.TMA, True
    swap = draw(st.booleans())
    swap = not swap if flat_obstacle(kernel, swap) else swap
    consumers = draw(st.sampled_from((2, 1, 3)))
    pingpong = consumers > 1 and draw(st.booleans())
    tma = by_engine and draw(st.booleans())
    return swap, consumers, pingpong, EpilogueStore.TMA if tma else EpilogueStore.STAGED, False


@cache
def _shapes(
    sharing: int,
    swap: bool,
    inner: bool,
    cluster: tuple[int, int],
    highest: int,
    widest: int,
    most: int,
) -> dict[int, list[int]]:
    """Tile columns, with the heights that ``sharing`` consumers take, of up to ``most`` sums."""
    unit = cluster[0] * cluster[1] * FLAT_STEP
    step = TALL if swap else FLAT_STEP * cluster[0]
    shapes = {
        columns: [
            height
            for height in range(unit, highest + 1, unit)
            if height * columns <= most and share_groups(height, columns, sharing, swap, inner)
        ]
        for columns in range(step, widest + 1, step)
    }
    return {columns: heights for columns, heights in shapes.items() if heights}
