"""The portable path: all warps copy and multiply alike, with cp.async and mma.sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.core import Compute
from moedsl.ir.tile import Multiply
from moedsl.lower.resources.model import (
    SYSTEM_SHARED,
    WARP,
    Resources,
    StepShape,
    WarpLayout,
    aligned,
    depth_inner,
    element_bytes,
    lay_out,
)
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from moedsl.ir.schedule import Schedule
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

STAGED_ROWS = 8
"""Rows that the epilogue takes through shared memory at a time, in each warp."""
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


def step_shape(compute: Compute, swap_ab: bool) -> StepShape:
    """The product a warp computes at a time (PTX ISA: mma.sync m16n8k16, m16n8k8)."""
    if compute is Compute.F32:
        return StepShape(8, 8)
    return StepShape(8, 16) if swap_ab else StepShape(16, 8)


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


def portable_resources(kernel: TileKernel, target: Target) -> Resources:
    """What ``kernel`` takes on ``target`` if all its warps do the same."""
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
    shared = lay_out(kernel, stage, staging, threads // WARP, schedule.stages + 1)
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
        fragments=0,
        registers=registers,
        blocks=_blocks(shared.bytes, registers, threads, target),
    )


def operand_bytes(positions: int, depth: int, compute: Compute) -> int:
    """Shared memory of one operand tile: 8 of the shortest lines, or a multiple, so that swizzles
    start afresh in what follows it.
    """
    return positions * depth * element_bytes(compute)


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


def _blocks(shared: int, registers: int, threads: int, target: Target) -> int:
    granted = min(aligned(registers + _SPARE_REGISTERS, 8), target.registers_per_thread)
    return max(
        1,
        min(
            target.shared_per_sm // (shared + SYSTEM_SHARED),
            target.registers_per_sm // (granted * threads),
        ),
    )
