"""Complete schedules → the text of a ``schedule`` block, which reads back as the same decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import Along, Eviction, ExpertOrder
from moedsl.ir.tile import Multiply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.tile import TileKernel


def print_schedule(kernel: TileKernel, name: str = "chosen") -> str:
    """The schedule of ``kernel`` as a block called ``name`` for its kernel and target.

    Every decision that the compiler makes is written, also that something is not done: left out,
    it would decide again when it reads the text. What it never does unasked is left out if undone.
    """
    directives = [line.partition(" ") for line in schedule_directives(kernel)]
    width = max(len(word) for word, _, _ in directives)
    lines = "".join(f"    {word:<{width}} {rest}".rstrip() + "\n" for word, _, rest in directives)
    heading = f"schedule {name} for {kernel.signature.name} on {kernel.target}"
    return f"{heading} {{\n{lines}}}\n"


def schedule_directives(kernel: TileKernel) -> Iterator[str]:
    """One line for each directive of the schedule of ``kernel``."""
    schedule, signature = kernel.schedule, kernel.signature
    rows, columns = signature.rows, signature.columns
    depth = next(op.over for op in kernel.body if isinstance(op, Multiply))
    tile = schedule.tile
    yield f"tile {rows}={tile.rows} {columns}={tile.columns} {depth}={tile.depth}"
    tails = ",".join(map(str, schedule.tails))
    balanced = "balanced " if schedule.balanced else ""
    yield f"tails {balanced}{rows}={tails}" if tails else "tails off"
    yield "swap_ab" if schedule.swap_ab else "swap_ab off"
    yield f"stages {schedule.stages}"
    yield f"warps consumers={schedule.consumers} {schedule.cooperation}"
    registers = {"producer": schedule.producer_registers, "consumer": schedule.consumer_registers}
    given = " ".join(f"{who}={count}" for who, count in registers.items() if count)
    yield f"registers {given or 'off'}"
    yield f"cluster {rows}={schedule.cluster_rows} {columns}={schedule.cluster_columns}"
    evictions = schedule.row_eviction, schedule.column_eviction
    if set(evictions) != {Eviction.NORMAL}:
        yield f"cache {rows}={evictions[0]} {columns}={evictions[1]}"
    yield f"persistent {schedule.persistent}"
    if schedule.order is not ExpertOrder.INDEX:
        yield f"order {schedule.order}"
    raster = schedule.raster
    along = rows if raster.along is Along.ROWS else columns
    serpentine = " serpentine" if raster.serpentine else ""
    yield f"raster along={along} group={raster.group}{serpentine}"
    if schedule.fuse_rows:
        yield f"fuse experts {signature.ragged}<={schedule.fuse_rows}"
    yield f"split_k {schedule.split_k}"
    yield f"epilogue store={schedule.epilogue_store}"
    if schedule.require:
        yield f"require {' '.join(schedule.require)}"
