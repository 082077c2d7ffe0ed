"""What kernels take of an SM: the figures that every path fills in.

Sizes are bytes; registers are 32-bit ones of a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.core import Compute
from moedsl.ir.schedule import ExpertOrder
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from moedsl.ir.core import Access
    from moedsl.ir.tile import TileKernel

WARP = 32
SYSTEM_SHARED = 1024
"""Shared memory that the system keeps for each resident CTA."""
TILE_BYTES = 48
"""Of a tile in flight, as prelude/plan.cuh declares it."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """Positions of one warp-level product: what an MMA instruction computes, or a warp in f32."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class WarpLayout:
    """How the warps of a CTA share a tile of ``height`` rows: a grid of ``rows`` × ``columns``.

    Where warps are specialised, it is the consumers that form the grid.
    """

    height: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class SharedLayout:
    """Where everything lies in a CTA's shared memory. ``*_at`` are byte offsets.

    The stages come first, ``stages`` times ``stage_bytes``; ``staging_bytes`` belong to each
    warp, or to each consumer if warps are specialised. ``ring_slots`` counts the tiles that may be
    in flight, ``sort_slots`` is the power of two in which experts are sorted. At ``barriers_at``
    stand two mbarriers for each of ``stage_slots``, then two for each slot of the ring, if warps
    are specialised, and one for each consumer, for when they take turns. Lower tiles have shorter
    stages there, and more of them, ``stage_slots`` at most, but none is shorter than
    ``least_stage_bytes``; if they differ, each producer's counts of bytes follow, an i32 a slot.
    """

    stage_bytes: int
    least_stage_bytes: int
    stage_slots: int
    staging_at: int
    staging_bytes: int
    barriers_at: int
    ring_at: int
    ring_slots: int
    tickets_at: int
    scratch_at: int
    starts_at: int
    item_ends_at: int
    order_at: int
    sort_slots: int
    tile_numbers_at: int
    bytes: int


@dataclass(frozen=True, slots=True)
class KeptParts:
    """Room for all outputs of every 64 columns of a consumer, in parts of 32 rows: ``in_stage`` are
    where these columns lay in the tile's last stage, and ``beside`` have room of their own.
    """

    in_stage: int
    beside: int


@dataclass(frozen=True, slots=True)
class Resources:
    """The demand of one kernel. ``registers`` is an estimate for the threads that multiply;
    ``sums`` is its largest part, ``sums_count`` tiles of sums. ``fragments`` are for operands that
    specialised consumers bring to registers. ``kept`` is where outputs wait for the copy engine
    while their consumer goes on; None if it waits with them.

    ``layouts`` holds one entry for each height that the warps can share; ``unshared`` the heights
    for which no warp grid fits the step's shape. ``blocks`` CTAs fit on one SM.
    """

    threads: int
    step: StepShape
    layouts: tuple[WarpLayout, ...]
    unshared: tuple[int, ...]
    shared: SharedLayout
    sums_count: int
    sums: int
    fragments: int
    registers: int
    blocks: int
    kept: KeptParts | None = None

    def layout(self, height: int) -> WarpLayout:
        """The warp grid of ``height``; KeyError if it has none."""
        for layout in self.layouts:
            if layout.height == height:
                return layout
        raise KeyError(height)


def element_bytes(compute: Compute) -> int:
    """Size of one factor in shared memory."""
    return 2 if compute in (Compute.BF16, Compute.F16) else 4


def depth_inner(access: Access, over: str) -> bool:
    """Whether depth ``over`` is the operand's last dimension, so that lines run along it."""
    return access.coordinates[-1].index == over


def aligned(size: int, unit: int) -> int:
    """``size`` rounded up to whole units."""
    return ceil_div(size, unit) * unit


def lay_out(
    kernel: TileKernel,
    stage_bytes: int,
    staging_bytes: int,
    owners: int,
    ring_slots: int,
    least_stage_bytes: int | None = None,
    turns: int = 0,
) -> SharedLayout:
    """Shared memory of ``kernel``: ``staging_bytes`` for each of ``owners``; for specialised warps
    also mbarriers for stages of ``least_stage_bytes``, for ``ring_slots`` and for ``turns``.
    """
    schedule, experts = kernel.schedule, kernel.signature.expert_count
    by_rows = kernel.signature.row_grouped
    sort_slots = 0
    if schedule.order is ExpertOrder.LONGEST and by_rows:
        sort_slots = 1 << (experts - 1).bit_length()
    interleaved = schedule.order is ExpertOrder.INTERLEAVED and by_rows
    counts_tiles = schedule.fuse_rows > 0 and schedule.split_k > 1
    staging_at = schedule.stages * stage_bytes
    barriers_at = staging_at + owners * staging_bytes
    stage_slots = staging_at // (least_stage_bytes or stage_bytes)
    ring_at = barriers_at
    if least_stage_bytes:
        taken = stage_slots if stage_slots > schedule.stages else 0
        ring_at = aligned(barriers_at + 8 * (2 * (stage_slots + ring_slots) + turns + taken), 16)
    tickets_at = ring_at + ring_slots * TILE_BYTES
    scratch_at = tickets_at + 16
    starts_at = scratch_at + 132
    item_ends_at = starts_at + (experts + 1) * 4
    order_at = item_ends_at + (experts * 4 if by_rows else 0)
    tile_numbers_at = order_at + (experts if interleaved else sort_slots) * 4
    end = tile_numbers_at + (experts * 4 if counts_tiles else 0)
    return SharedLayout(
        stage_bytes=stage_bytes,
        least_stage_bytes=least_stage_bytes or stage_bytes,
        stage_slots=stage_slots,
        staging_at=staging_at,
        staging_bytes=staging_bytes,
        barriers_at=barriers_at,
        ring_at=ring_at,
        ring_slots=ring_slots,
        tickets_at=tickets_at,
        scratch_at=scratch_at,
        starts_at=starts_at,
        item_ends_at=item_ends_at,
        order_at=order_at,
        sort_slots=sort_slots,
        tile_numbers_at=tile_numbers_at,
        bytes=aligned(end, 16),
    )
