"""Rules about instructions, threads, registers and shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.core import Compute
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import Cooperation
from moedsl.lower.resources import LINE_BYTES, WARP, depth_inner, element_bytes, step_shape
from moedsl.lower.resources.specialised import (
    FLAT_STEP,
    GROUP,
    MOST_BOX,
    MOST_FLAT,
    TALL,
    block_depth,
    consumers_of_tile,
    group_step,
    most_flat,
    product_flat,
    product_registers,
    starting_registers,
)
from moedsl.lower.rules.case import Finding
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.schedule import Schedule
    from moedsl.lower.rules.case import Case

MOST_CONSUMERS = 8
REGISTERS = (24, 240)
"""Fewest and most that roles give a thread (PTX ISA: setmaxnreg, and what leaves ptxas a register
to spare).
"""
STAGES = (2, 8)
"""Fewest and most."""


def stages_in_range(case: Case) -> Iterator[Finding]:
    """A pipeline overlaps copies with products, so it has at least two stages."""
    least, most = STAGES
    if not least <= case.schedule.stages <= most:
        message = f"{case.schedule.stages} stages"
        yield Finding(("stages",), message, f"must be from {least} to {most}")


def consumers_fit_block(case: Case) -> Iterator[Finding]:
    """Every consumer is 128 threads of one CTA, and so are producers if warps are specialised."""
    consumers, threads = case.schedule.consumers, case.target.threads_per_block
    producers = case.producer_groups
    most = min(MOST_CONSUMERS, threads // 128 - producers)
    if not 1 <= consumers <= most:
        groups = consumers + producers
        yield Finding(
            ("consumers",),
            f"{consumers} consumers",
            f"must be from 1 to {most}",
            (f"{groups} × 128 = {groups * 128} threads, {case.target.sm} has {threads}",),
        )


def tile_fits_instruction(case: Case) -> Iterator[Finding]:
    """Heights and columns are whole multiples of what one warp computes at a time."""
    schedule, compute = case.schedule, case.kernel.signature.compute
    if schedule.specialised:
        step, what = group_step(schedule.swap_ab), f"the {compute} MMA of a warpgroup"
    else:
        step = step_shape(compute, schedule.swap_ab)
        what = "the f32 product of a warp" if compute is Compute.F32 else f"the {compute} MMA"
    side = "with swap_ab " if schedule.swap_ab else ""
    note = f"{what} computes {step.rows} rows by {step.columns} columns {side}at a time"
    sizes = [("tile.rows", schedule.tile.rows, step.rows)]
    sizes += [("tails", tail, step.rows) for tail in schedule.tails]
    sizes += [("tile.columns", schedule.tile.columns, step.columns)]
    for field, size, unit in sizes:
        if size % unit:
            near = f"{size // unit * unit} or {ceil_div(size, unit) * unit}"
            yield Finding(
                (field,),
                f"no MMA shape fits {case.words(field)} {size}",
                f"must be a multiple of {unit}",
                (note,),
                f"use {near if size > unit else unit}" + _swap_hint(schedule, field, size),
            )


def _swap_hint(schedule: Schedule, field: str, size: int) -> str:
    narrow = field != "tile.columns" and not schedule.swap_ab and size % 8 == 0
    return ", or `swap_ab`, which has steps of 8 rows" if narrow else ""


def depth_fits_stage(case: Case) -> Iterator[Finding]:
    """One line of a stage is a power of two of bytes, so that its swizzle meets every bank."""
    compute, depth = case.kernel.signature.compute, case.schedule.tile.depth
    size = element_bytes(compute)
    if case.schedule.specialised:
        yield from _depth_fits_blocks(case)
        return
    least, most = (bound // size for bound in LINE_BYTES)
    if not least <= depth <= most or depth & (depth - 1):
        name = case.name("depth")
        sizes = [least << step for step in range((most // least).bit_length())]
        yield Finding(
            ("tile.depth",),
            f"no stage layout fits tile {name} {depth}",
            f"must be one of {', '.join(map(str, sizes))}",
            (f"{depth} × {size} bytes is a line of {depth * size} bytes in shared memory",),
        )


def _depth_fits_blocks(case: Case) -> Iterator[Finding]:
    compute, depth = case.kernel.signature.compute, case.schedule.tile.depth
    block = block_depth(compute)
    sizes = [block << step for step in range(3)]
    if depth not in sizes:
        name = case.name("depth")
        yield Finding(
            ("tile.depth",),
            f"no stage layout fits tile {name} {depth}",
            f"must be one of {', '.join(map(str, sizes))}",
            (f"specialised warps bring operands in by blocks of {block} along {name}",),
        )


def consumers_share_tile(case: Case) -> Iterator[Finding]:
    """Specialised consumers form a grid of which each takes whole products, in every height."""
    if not case.schedule.specialised:
        return
    schedule, found = case.schedule, case.resources
    sharing = consumers_of_tile(schedule)
    tall, flat = ("columns", "rows") if schedule.swap_ab else ("rows", "columns")
    notes = [
        (
            f"each takes a multiple of {TALL} {tall}, and a multiple of {FLAT_STEP} {flat}, at most"
            f" {2 * MOST_FLAT}: over {MOST_FLAT}, in two equal halves of such a multiple"
        )
    ]
    if not _flat_side_is_inner(case):
        notes.append(f"{flat} are innermost in their operand: cuts lie at multiples of {TALL}")
    who = f"{sharing} consumers cannot share" if sharing > 1 else "one consumer cannot compute"
    help = "use a smaller tile"
    if sharing > 1:
        more = "a wider tile" if schedule.swap_ab else "`swap_ab` for low tiles"
        help = f"use fewer consumers, or {more}"
    for height in found.unshared:
        field = "tile.rows" if height == schedule.tile.rows else "tails"
        yield Finding(
            ("consumers", field, "tile.columns"),
            f"{who} a tile of {height} × {schedule.tile.columns}",
            "in no grid that divides the tile",
            tuple(notes),
            help,
        )


def _flat_side_is_inner(case: Case) -> bool:
    """Whether depth is innermost in the operands of the flat side."""
    contracts = [op for op in case.kernel.body if isinstance(op, Contract)]
    swap = case.schedule.swap_ab
    return all(depth_inner(op.lhs if swap else op.rhs, op.over) for op in contracts)


def boxes_fit_engine(case: Case) -> Iterator[Finding]:
    """The copy engine brings a block of an operand in one box, or a CTA's share of it.

    CTAs of a cluster share what they need alike, by whole groups of 8 positions. Those of a pair
    along the rows do so for some tiles, and bring in whole blocks for others.
    """
    schedule = case.schedule
    if not schedule.specialised:
        return
    heights = [("tile.rows", schedule.tile.rows), *(("tails", tail) for tail in schedule.tails)]
    for field, height in heights:
        if not _fits_boxes(case, height, schedule.cluster):
            yield _cannot_bring(case, (field, *case.cluster_fields), height, schedule.cluster)
            break
    columns = schedule.tile.columns
    if not _fits_boxes(case, columns, schedule.cluster_rows):
        fields = case.cluster_fields if schedule.cluster_rows > 1 else ()
        yield _cannot_bring(case, ("tile.columns", *fields), columns, schedule.cluster_rows)


def _fits_boxes(case: Case, extent: int, ctas: int) -> bool:
    return extent % (ctas * FLAT_STEP) == 0 and extent <= _most_brought_in(case, ctas)


def _most_brought_in(case: Case, ctas: int) -> int:
    """By ``ctas`` that share, or, in a pair along the rows, by each alone."""
    return MOST_BOX if case.schedule.cluster_rows > 1 else ctas * MOST_BOX


def _cannot_bring(case: Case, fields: tuple[str, ...], extent: int, ctas: int) -> Finding:
    who = f"each of the {ctas} CTAs of a cluster" if ctas > 1 else "the engine"
    what = "all or half of it" if case.schedule.cluster_rows > 1 else "its share"
    if ctas == 1:
        what = "all of it"
    return Finding(
        fields,
        f"the copy engine cannot bring in {case.words(fields[0])} {extent}",
        f"must be a multiple of {ctas * FLAT_STEP}, at most {_most_brought_in(case, ctas)}",
        (f"{who} brings in {what}, a multiple of {FLAT_STEP}, at most {MOST_BOX}",),
    )


def warps_share_tile(case: Case) -> Iterator[Finding]:
    """The warps form a grid of which each takes whole products, in tiles of every height."""
    if case.schedule.specialised:
        return
    found, columns = case.resources, case.schedule.tile.columns
    warps, step = found.threads // WARP, found.step
    for height in found.unshared:
        field = "tile.rows" if height == case.schedule.tile.rows else "tails"
        yield Finding(
            ("consumers", field),
            f"{warps} warps cannot share a tile of {height} × {columns}",
            "too many, or in no grid that divides the tile",
            (
                (
                    f"{case.schedule.consumers} consumers are {warps} warps; a warp computes"
                    f" {step.rows} × {step.columns} at a time, so the tile has"
                    f" {height // step.rows} × {columns // step.columns} products to share"
                ),
            ),
            "use fewer consumers, or sizes with more powers of two",
        )


def shared_memory_fits(case: Case) -> Iterator[Finding]:
    """Stages, staging of the epilogue and the plan fit into a CTA's shared memory."""
    shared, schedule = case.resources.shared, case.schedule
    available = case.target.shared_per_block
    if shared.bytes <= available:
        return
    stages = schedule.stages * shared.stage_bytes
    room = (available - (shared.bytes - stages)) // shared.stage_bytes
    help = f"use {room} stages" if room >= STAGES[0] else "use a smaller tile"
    yield Finding(
        ("stages", "tile.rows", "tile.columns", "tile.depth"),
        f"the schedule asks for {shared.bytes} bytes of shared memory",
        f"{case.target.sm} has {available} for a CTA",
        (
            f"{schedule.stages} stages of {shared.stage_bytes} bytes: {stages}",
            f"epilogue, work plan and barriers: {shared.bytes - stages}",
        ),
        help,
    )


def registers_fit(case: Case) -> Iterator[Finding]:
    """Sums and fragments of a thread fit its registers, those of a CTA the SM's."""
    found, target, schedule = case.resources, case.target, case.schedule
    tile, threads = schedule.tile, found.threads
    if schedule.specialised:
        threads = GROUP * consumers_of_tile(schedule)
        available = schedule.consumer_registers
        source = f"`registers` gives a consumer {available} of at most {REGISTERS[1]}"
        alone = schedule.cooperation is Cooperation.PINGPONG
        help = "use a smaller tile" if alone else "use a smaller tile or more consumers"
    else:
        share = target.registers_per_sm // threads
        available = min(target.registers_per_thread, share)
        source = (
            f"{target.sm} has {target.registers_per_thread} registers a thread and"
            f" {target.registers_per_sm} for {threads} threads"
        )
        crowded = share == available < found.registers - found.sums
        help = "use fewer consumers" if crowded else "use a smaller tile or more consumers"
    if found.registers <= available:
        if schedule.specialised:
            yield from _products_fit(case)
        return
    yield Finding(
        ("tile.columns", "tile.rows", "consumers"),
        f"the schedule needs about {found.registers} registers a thread",
        f"{available} are available",
        (
            (
                f"sums of a {tile.rows} × {tile.columns} tile over {threads} threads:"
                f" {found.sums} registers; the rest are operands and addresses"
            ),
            source,
        ),
        help,
    )


def _products_fit(case: Case) -> Iterator[Finding]:
    """The compiler holds a product in what a thread has before the roles share registers."""
    found, schedule = case.resources, case.schedule
    start = starting_registers(case.target, found.threads * found.blocks)
    columns, swap = schedule.tile.columns, schedule.swap_ab
    flat = max((product_flat(each, columns, swap) for each in found.layouts), default=0)
    most, besides = most_flat(start, found.fragments), product_registers(found.fragments)
    if flat > most:
        side, sums = "rows" if swap else "columns", flat // 2
        yield Finding(
            (f"tile.{side}", "consumers"),
            f"a product of {TALL} × {flat} takes {sums + besides} registers a thread",
            f"threads start with {start}",
            (
                f"{sums} for sums and {besides} besides",
                f"{found.threads * found.blocks} threads of an SM start with equally many",
            ),
            f"use products of {most // 8 * 8} {case.name(side)} or less, or fewer consumers",
        )
