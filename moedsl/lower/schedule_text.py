"""A complete schedule as ``.moe`` text, so that every choice of the compiler can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import Along

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.moe import Signature
    from moedsl.ir.schedule import Comparison, Schedule


def print_schedule(
    signature: Signature,
    depth: str,
    schedule: Schedule,
    *,
    name: str = "chosen",
    on: str | None = None,
    when: tuple[Comparison, ...] = (),
) -> str:
    """A ``schedule`` block for the kernel of ``signature`` that asks for exactly ``schedule``.

    ``depth`` is a summed index of the kernel (``over`` of one of its contractions). ``on`` and
    ``when`` are the block's conditions.
    """
    heading = f"schedule {name} for {signature.name}"
    if on is not None:
        heading += f" on {on}"
    if when:
        heading += " when " + " and ".join(f"rows {c.operator} {c.bound}" for c in when)
    lines = list(_directives(signature, depth, schedule))
    width = max(len(directive) for directive, _ in lines)
    body = [f"    {directive:<{width}} {rest}".rstrip() for directive, rest in lines]
    return "\n".join([f"{heading} {{", *body, "}", ""])


def _directives(signature: Signature, depth: str, schedule: Schedule) -> Iterator[tuple[str, str]]:
    rows, columns, tile = signature.rows, signature.columns, schedule.tile
    yield "tile", f"{rows}={tile.rows} {columns}={tile.columns} {depth}={tile.depth}"
    tails = ",".join(map(str, schedule.tails))
    yield "tails", f"{rows}={tails}" if tails else "off"
    yield "swap_ab", "" if schedule.swap_ab else "off"
    yield "stages", str(schedule.stages)
    yield "warps", f"consumers={schedule.consumers} {schedule.cooperation}"
    producer, consumer = schedule.producer_registers, schedule.consumer_registers
    registers = [f"producer={producer}"] * (producer > 0) + [f"consumer={consumer}"] * (
        consumer > 0
    )
    yield "registers", " ".join(registers) or "off"
    yield "cluster", f"{rows}={schedule.cluster_rows} {columns}={schedule.cluster_columns}"
    yield "persistent", str(schedule.persistent)
    yield "order", str(schedule.order)
    raster = schedule.raster
    along = rows if raster.along is Along.ROWS else columns
    serpentine = " serpentine" * raster.serpentine
    yield "raster", f"along={along} group={raster.group}{serpentine}"
    fused = schedule.fuse_rows
    yield "fuse", f"experts {signature.ragged}<={fused}" if fused else "off"
    yield "split_k", str(schedule.split_k)
    staged = f" columns={schedule.epilogue_columns}" if schedule.epilogue_columns else ""
    yield "epilogue", f"store={schedule.epilogue_store}{staged}"
    if schedule.require:
        yield "require", " ".join(schedule.require)
