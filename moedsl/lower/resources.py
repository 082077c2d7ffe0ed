"""What a tile kernel takes of an SM on the portable path: the one resource model.

Legality rules quote it, ``choose_schedule`` searches with it, and code generation lays shared
memory out by it. Sizes are bytes; registers are 32-bit ones of a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.core import Compute
from moedsl.ir.schedule import ExpertOrder
from moedsl.ir.tile import Multiply
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from moedsl.ir.core import Access
    from moedsl.ir.schedule import Schedule
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

WARP = 32
STAGED_ROWS = 8
"""Rows that the epilogue takes through shared memory at a time, in each warp."""
TILE_ALIGNMENT = 512
"""Of an operand tile in shared memory: its longest line, so that swizzles start afresh."""
LINE_BYTES = (64, 512)
"""Least and most bytes of depth in one stage; a power of two between them."""

_OTHER_REGISTERS = 36
"""Addresses, the walk over tiles and loop state, as compiled kernels show it."""
_OPERAND_REGISTERS = 8
"""Where the next stage of an operand comes from."""
_WORD_REGISTERS = 20
"""Addresses of single words, for 4-byte operands whose lines run along positions."""
_SPARE_REGISTERS = 20
"""Granted beyond the estimate where that only costs residency, so that nothing spills."""
_SYSTEM_SHARED = 1024
"""Shared memory that the system keeps for each resident CTA."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """Positions and depth of one warp-level product: an MMA instruction, or 4 deep in f32."""

    rows: int
    columns: int
    depth: int


@dataclass(frozen=True, slots=True)
class WarpLayout:
    """How the warps of a CTA share a tile of ``height`` rows: a grid of ``rows`` × ``columns``."""

    height: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class SharedLayout:
    """Where everything lies in a CTA's shared memory. ``*_at`` are byte offsets.

    The stages come first, ``stages`` times ``stage_bytes``; ``staging_bytes`` belong to each
    warp. ``ring_slots`` counts the tiles that may be in flight, ``sort_slots`` is the power of
    two in which experts are sorted.
    """

    stage_bytes: int
    staging_at: int
    staging_bytes: int
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
class Resources:
    """The demand of one kernel. ``registers`` is an estimate; ``sums`` is its largest part,
    ``sums_count`` tiles of sums.

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
    registers: int
    blocks: int

    def layout(self, height: int) -> WarpLayout:
        """The warp grid of ``height``; KeyError if it has none."""
        for layout in self.layouts:
            if layout.height == height:
                return layout
        raise KeyError(height)


def element_bytes(compute: Compute) -> int:
    """Size of one factor in shared memory."""
    return 2 if compute in (Compute.BF16, Compute.F16) else 4


def step_shape(compute: Compute, swap_ab: bool) -> StepShape:
    """The product a warp computes at a time (PTX ISA: mma.sync m16n8k16, m16n8k8)."""
    if compute is Compute.F32:
        return StepShape(8, 8, 4)
    depth = 16 if element_bytes(compute) == 2 else 8
    return StepShape(8, 16, depth) if swap_ab else StepShape(16, 8, depth)


def share_tile(height: int, columns: int, warps: int, step: StepShape) -> WarpLayout | None:
    """The grid of ``warps`` that reads least from shared memory, or None if none fits ``step``.

    Each warp reads its rows and its columns once for each step of depth, so the sum of both
    counts; ties go to more warps along columns, whose stores are longer per row.
    """
    best: tuple[int, int] | None = None
    for rows in range(1, warps + 1):
        across = warps // rows
        if warps % rows or height % (rows * step.rows) or columns % (across * step.columns):
            continue
        cost = height // rows + columns // across
        if best is None or cost < best[0]:
            best = cost, rows
    return None if best is None else WarpLayout(height, best[1], warps // best[1])


def staged_pitch(columns: int, step: StepShape) -> int:
    """f32 words between staged rows: 8 mod 32, or 4 mod 16 where the step lies across, for distinct
    banks.
    """
    across = step.columns > step.rows
    return (columns + 11) // 16 * 16 + 4 if across else (columns + 23) // 32 * 32 + 8


def resources(kernel: TileKernel, target: Target) -> Resources:
    """What ``kernel`` takes on ``target``."""
    schedule, compute = kernel.schedule, kernel.signature.compute
    tile = schedule.tile
    step = step_shape(compute, schedule.swap_ab)
    multiplies = [op for op in kernel.body if isinstance(op, Multiply)]
    sums = sum(len(op.results) for op in multiplies)
    threads = schedule.consumers * 128
    found = [(h, share_tile(h, tile.columns, threads // WARP, step)) for h in schedule.heights]
    layouts = tuple(layout for _, layout in found if layout is not None)
    stage = max(_stage_bytes(op, schedule, compute) for op in multiplies)
    staging = max(
        (
            STAGED_ROWS * staged_pitch(tile.columns // layout.columns, step) * 4 * sums
            for layout in layouts
        ),
        default=0,
    )
    shared = _lay_out(kernel, stage, staging, threads)
    registers = max(
        (_registers(layout, schedule, multiplies, threads, compute) for layout in layouts),
        default=0,
    )
    return Resources(
        threads=threads,
        step=step,
        layouts=layouts,
        unshared=tuple(h for h, layout in found if layout is None),
        shared=shared,
        sums_count=sums,
        sums=sums * ceil_div(tile.rows * tile.columns, threads),
        registers=registers,
        blocks=_blocks(shared.bytes, registers, threads, target),
    )


def operand_bytes(positions: int, depth: int, compute: Compute) -> int:
    """Shared memory of one operand tile, aligned for what follows it."""
    return _aligned(positions * depth * element_bytes(compute), TILE_ALIGNMENT)


def _stage_bytes(op: Multiply, schedule: Schedule, compute: Compute) -> int:
    tile = schedule.tile
    columns = operand_bytes(tile.columns, tile.depth, compute) * len(op.columns)
    return operand_bytes(tile.rows, tile.depth, compute) + columns


def _registers(
    layout: WarpLayout,
    schedule: Schedule,
    multiplies: list[Multiply],
    threads: int,
    compute: Compute,
) -> int:
    """Sums, two sets of fragments (one in f32), and the rest."""
    tile = schedule.tile
    rows, columns = layout.height // layout.rows, tile.columns // layout.columns
    sums = sum(len(op.results) for op in multiplies) * ceil_div(
        layout.height * tile.columns, threads
    )
    most = max(len(op.columns) for op in multiplies)
    if compute is Compute.F32:
        fragments = rows + columns // 2 * most
    else:
        fragments = 2 * (rows + columns * most) // 4
    operands = [access for op in multiplies for access in (op.rows, *op.columns)]
    addresses = _OPERAND_REGISTERS * len(operands)
    if compute is Compute.TF32:
        over = {access: op.over for op in multiplies for access in (op.rows, *op.columns)}
        addresses += _WORD_REGISTERS * sum(not depth_inner(a, over[a]) for a in operands)
    return sums + fragments + _OTHER_REGISTERS + addresses


def depth_inner(access: Access, over: str) -> bool:
    """Whether depth ``over`` is the operand's last dimension, so that lines run along it."""
    return access.coordinates[-1].index == over


def _blocks(shared: int, registers: int, threads: int, target: Target) -> int:
    granted = min(_aligned(registers + _SPARE_REGISTERS, 8), target.registers_per_thread)
    return max(
        1,
        min(
            target.shared_per_sm // (shared + _SYSTEM_SHARED),
            target.registers_per_sm // (granted * threads),
        ),
    )


def _lay_out(kernel: TileKernel, stage: int, staging: int, threads: int) -> SharedLayout:
    schedule, experts = kernel.schedule, kernel.signature.expert_count
    sort_slots = 0
    if schedule.order is ExpertOrder.LONGEST and kernel.signature.row_grouped:
        sort_slots = 1 << (experts - 1).bit_length()
    counts_tiles = schedule.fuse_rows > 0 and schedule.split_k > 1
    staging_at = schedule.stages * stage
    ring_at = staging_at + threads // WARP * staging
    ring_slots = schedule.stages + 1
    tickets_at = ring_at + ring_slots * 48
    scratch_at = tickets_at + 16
    starts_at = scratch_at + 132
    item_ends_at = starts_at + (experts + 1) * 4
    order_at = item_ends_at + (experts * 4 if kernel.signature.row_grouped else 0)
    tile_numbers_at = order_at + sort_slots * 4
    end = tile_numbers_at + (experts * 4 if counts_tiles else 0)
    return SharedLayout(
        stage_bytes=stage,
        staging_at=staging_at,
        staging_bytes=staging,
        ring_at=ring_at,
        ring_slots=ring_slots,
        tickets_at=tickets_at,
        scratch_at=scratch_at,
        starts_at=starts_at,
        item_ends_at=item_ends_at,
        order_at=order_at,
        sort_slots=sort_slots,
        tile_numbers_at=tile_numbers_at,
        bytes=_aligned(end, 16),
    )


def _aligned(size: int, unit: int) -> int:
    return ceil_div(size, unit) * unit
