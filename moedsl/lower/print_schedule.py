"""Complete schedules → the text of a ``schedule`` block, which reads back as the same decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import Along, Eviction, ExpertOrder
from moedsl.ir.tile import Multiply
from moedsl.source.format import format_source
from moedsl.source.span import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.tile import TileKernel


_TOGETHER = {
    "swap_ab": "stages",
    "cluster": "cache",
    "persistent": "order",
    "split_k": "epilogue",
}
"""Directives that share a line with the one before, so that people see a schedule whole."""


def print_schedule(kernel: TileKernel, name: str = "chosen") -> str:
    """The schedule of ``kernel`` as a block called ``name`` for its kernel and target.

    Every decision that the compiler makes is written, also that something is not done: left out,
    it would decide again when it reads the text. What it never does unasked is left out if undone,
    as hints and the order of experts are where no cluster lies along the rows.
    """
    text = f"schedule {name} for {kernel.signature.name} on {kernel.target} {{"
    before = ""
    for directive in schedule_directives(kernel):
        word, _, _ = directive.partition(" ")
        text += "; " if _TOGETHER.get(before) == word else "\n"
        text += directive
        before = word
    return format_source(Source("", f"{text}\n}}\n"))


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
    paired = schedule.cluster_rows > 1
    if paired or set(evictions) != {Eviction.NORMAL}:
        yield f"cache {rows}={evictions[0]} {columns}={evictions[1]}"
    yield f"persistent {schedule.persistent}"
    if paired or schedule.order is not ExpertOrder.INDEX:
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
