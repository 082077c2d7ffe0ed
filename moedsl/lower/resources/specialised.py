"""The specialised path: producer warps feed consumers of 128 threads, which multiply with wgmma."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.core import Compute
from moedsl.ir.elementwise import Store
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import Cooperation, EpilogueStore
from moedsl.ir.tile import Multiply
from moedsl.lower.resources.model import (
    SYSTEM_SHARED,
    KeptParts,
    Resources,
    SharedLayout,
    StepShape,
    WarpLayout,
    aligned,
    depth_inner,
    element_bytes,
    lay_out,
)
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.ir.core import Access
    from moedsl.ir.moe import MoeKernel, Signature
    from moedsl.ir.schedule import Schedule
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

GROUP = 128
"""Threads of a warpgroup: the producers together, and each consumer."""
BLOCK_BYTES = 128
"""Of depth in one block of an operand: the width of the widest swizzle."""
TALL = 64
"""Positions of the tall side of a product (PTX ISA: wgmma.mma_async m64nNk16)."""
MOST_FLAT = 256
FLAT_STEP = 8
SWIZZLE_ATOM = 1024
"""Blocks start at multiples of so many bytes: 8 lines, among which chunks change places."""
MOST_BOX = 256
"""Elements of each dimension of a box (CUDA driver API: cuTensorMapEncodeTiled)."""
MORE_STAGES = 1
"""Stages that low tiles may have besides, where they leave room. More of them take L2 from tiles
that share operands, and won nothing.
"""
STAGED_PADDING = {True: 4, False: 8}
"""f32 words between staged rows, with and without swap_ab: prelude/groups.cuh says why."""
STORED_BYTES = 16
"""Of a row of an output, what the copy engine stores at a time."""
STORE_BUFFERS = 3
"""Parts of outputs on their way: one is written while the copy engine reads the other two."""
_MOST_BESIDE = 4
"""Parts of a consumer beside its tile's last stage: those of 128 rows by 256 columns, the highest
such tile that leaves them room beside four stages.
"""
_PRODUCT_REGISTERS, _TALL_WORDS = 26, 4
"""Beside its sums, what one product takes of the registers that a thread starts with, and what more
where its tall side comes from registers, as ptxas counts them (C7602).
"""
_OTHER_REGISTERS = 32
"""Addresses, descriptors and loop state of a consumer, as compiled kernels show it."""
_FRAGMENT_REGISTERS = 2 * 4
"""Of 64 tall positions that come from registers: one step of depth (PTX ISA: wgmma.mma_async
m64nNk8, four words of A), and the step before, which products may still be reading.
"""


def specialised_resources(kernel: TileKernel, target: Target) -> Resources:
    """What ``kernel`` takes on ``target`` if its warps have roles."""
    schedule, tile = kernel.schedule, kernel.schedule.tile
    multiplies = [op for op in kernel.body if isinstance(op, Multiply)]
    sums = sum(len(op.results) for op in multiplies)
    sharing = consumers_of_tile(schedule)
    swap = schedule.swap_ab
    flat_inner = all(_flat_inner(op, swap) for op in multiplies)
    found = [
        (h, share_groups(h, tile.columns, sharing, swap, flat_inner)) for h in schedule.heights
    ]
    layouts = tuple(layout for _, layout in found if layout is not None)
    producers = producer_groups(op.rows for op in multiplies)
    threads = GROUP * (producers + schedule.consumers)
    shared, kept = _share_memory(kernel, target, multiplies, layouts)
    sum_registers = sums * ceil_div(tile.rows * tile.columns, GROUP * sharing)
    registers = GROUP * (
        producers * schedule.producer_registers + schedule.consumers * schedule.consumer_registers
    )
    fragments = _fragments(kernel, multiplies, layouts)
    return Resources(
        threads=threads,
        step=group_step(swap),
        layouts=layouts,
        unshared=tuple(h for h, layout in found if layout is None),
        shared=shared,
        sums_count=sums,
        sums=sum_registers,
        fragments=fragments,
        registers=sum_registers + fragments + _OTHER_REGISTERS,
        blocks=max(
            1,
            min(
                target.shared_per_sm // (shared.bytes + SYSTEM_SHARED),
                target.registers_per_sm // max(registers, 1),
            ),
        ),
        kept=kept,
    )


def _share_memory(
    kernel: TileKernel, target: Target, multiplies: list[Multiply], layouts: tuple[WarpLayout, ...]
) -> tuple[SharedLayout, KeptParts | None]:
    """Shared memory, and where outputs are kept in it, if there is room for that."""
    schedule, tile = kernel.schedule, kernel.schedule.tile
    stage = max(_stage_bytes(kernel, op, tile.rows) for op in multiplies)
    least = min(_stage_bytes(kernel, op, min(schedule.heights)) for op in multiplies)
    # A consumer keeps a stage until it has the next: in room for two of the longest, a short one
    # may lie where no other fits beside it. Threads that gather keep no account of places.
    if schedule.stages < 3 or any(gathered(op.rows) for op in multiplies):
        least = stage

    def laid_out(staging_bytes: int) -> SharedLayout:
        return lay_out(
            kernel,
            stage,
            staging_bytes=staging_bytes,
            owners=schedule.consumers,
            ring_slots=_ring_slots(schedule),
            least_stage_bytes=max(least, _room_for_more(schedule.stages, stage)),
            turns=schedule.consumers,
        )

    waiting = laid_out(_staging_bytes(kernel, sum(len(op.results) for op in multiplies)))
    kept = _kept_parts(kernel, multiplies, layouts)
    if kept is None:
        return waiting, None
    talls = tile.columns // consumers_of_tile(schedule) // TALL
    keeping = laid_out(talls * kept.beside * stored_bytes(kernel.signature))
    fits = keeping.bytes <= max(waiting.bytes, target.shared_per_block)
    return (keeping, kept) if fits else (waiting, None)


def kernel_obstacle(kernel: MoeKernel) -> str:
    """Why specialised warps cannot compute ``kernel`` with any schedule, in words; empty if they
    can.
    """
    signature = kernel.signature
    if signature.compute is Compute.F32:
        return "products are f32, and these warps multiply bf16, f16 and tf32"
    rows = [op.lhs for op in kernel.body if isinstance(op, Contract)]
    mapped = [access.tensor for access in rows if gathered(access)]
    plain = [access.tensor for access in rows if not gathered(access)]
    if mapped and plain:
        return f"{mapped[0]} is read through a map, and {plain[0]} is not"
    for op in kernel.body:
        if isinstance(op, Contract):
            for access, position in ((op.lhs, signature.rows), (op.rhs, signature.columns)):
                inner = access.coordinates[-1].index
                if gathered(access) and not _gathers_rows(signature, op, access):
                    return f"{access.tensor} is read through a map, and not whole rows of it"
                if inner not in (op.over, position):
                    return f"the innermost dimension of {access.tensor} is {inner}"
                if inner == signature.ragged:
                    return f"the ragged {inner} is innermost in {access.tensor}"
    across, along = (flat_obstacle(kernel, swap_ab) for swap_ab in (False, True))
    one = "of tf32 products one side must lie by depth, without a map"
    return f"{one}: {across}, and {along}" if across and along else ""


def flat_obstacle(kernel: MoeKernel, swap_ab: bool) -> str:
    """Why an operand cannot be the flat side of a product, in words; empty if all can.

    That side always comes from shared memory, where products take tf32 by depth only and do not
    round to it (PTX ISA: wgmma.mma_async).
    """
    for op in kernel.body:
        if isinstance(op, Contract):
            access = op.lhs if swap_ab else op.rhs
            if from_registers(access, op.over, kernel.signature.compute):
                if gathered(access):
                    return f"{access.tensor} is read through a map"
                return f"{op.over} is not innermost in {access.tensor}"
    return ""


def from_registers(access: Access, over: str, compute: Compute) -> bool:
    """Whether products can take an operand from registers only: tf32 that does not lie by depth
    ``over``, or that nobody has rounded, since it is not the copy engine that brings it in.
    """
    return compute is Compute.TF32 and (gathered(access) or not depth_inner(access, over))


def fragment_registers(operands: Iterable[tuple[Access, str]], compute: Compute) -> int:
    """Registers of a thread for 64 positions of all tall ``operands``, each with its depth, that
    come from registers.
    """
    taken = (from_registers(access, over, compute) for access, over in operands)
    return sum(taken) * _FRAGMENT_REGISTERS


def _fragments(
    kernel: TileKernel, multiplies: Iterable[Multiply], layouts: Iterable[WarpLayout]
) -> int:
    """Registers of a thread for what comes there of a sum, in the tiles that have most of it."""
    swap, columns = kernel.schedule.swap_ab, kernel.schedule.tile.columns
    operands = ([(a, op.over) for a in (op.columns if swap else (op.rows,))] for op in multiplies)
    each = max(fragment_registers(tall, kernel.signature.compute) for tall in operands)
    return each * max((tall_blocks(layout, columns, swap) for layout in layouts), default=0)


def _gathers_rows(signature: Signature, op: Contract, access: Access) -> bool:
    """Whether the map leads to whole rows, whose depth is innermost."""
    via = [c.index for c in access.coordinates if c.via is not None]
    last = access.coordinates[-1]
    by_row = via == [signature.rows] and last.index == op.over
    return by_row and access is op.lhs


def store_obstacle(kernel: MoeKernel) -> str:
    """Why the copy engine cannot store an output, or nothing if it can store all of them.

    It stores boxes of rows by columns, and cannot follow a map or add to what is there. Of a row
    it stores whole 16 bytes, whatever its map says of the row's end (seen on an H100). Where calls
    decide the columns, threads store for those whose rows end elsewhere.
    """
    columns = kernel.signature.index(kernel.signature.columns)
    for op in kernel.body:
        if isinstance(op, Store):
            name = op.access.tensor
            if op.accumulate:
                return f"{name} is added to"
            if gathered(op.access):
                return f"{name} is stored through a map"
            if op.access.coordinates[-1].index != kernel.signature.columns:
                return f"the innermost dimension of {name} is not {columns.name}"
            row = (columns.extent or 0) * kernel.signature.tensor(name).dtype.bytes % STORED_BYTES
            if row:
                return f"it stores 16 bytes at a time, and rows of {name} end with {row}"
    return ""


def producer_groups(rows: Iterable[Access]) -> int:
    """Warpgroups that bring operands in: one more where threads copy rows that a map leads to."""
    return 2 if any(map(gathered, rows)) else 1


def gathered(access: Access) -> bool:
    """Whether lines of a tensor are found through a map."""
    return any(coordinate.via is not None for coordinate in access.coordinates)


def _flat_inner(op: Multiply, swap_ab: bool) -> bool:
    """Whether depth is innermost in all operands of the flat side."""
    flat = (op.rows,) if swap_ab else op.columns
    return all(depth_inner(access, op.over) for access in flat)


def starting_registers(target: Target, threads: int) -> int:
    """Registers of each of ``threads`` on an SM before roles share them: a multiple of 8."""
    return min(target.registers_per_sm // threads, target.registers_per_thread) // 8 * 8


def product_registers(fragments: int) -> int:
    """What one product takes beside its sums, if all have ``fragments`` registers of their tall
    sides.
    """
    return _PRODUCT_REGISTERS + (_TALL_WORDS if fragments else 0)


def most_flat(start: int, fragments: int) -> int:
    """Flat positions of a product, at most, where a thread starts with so many registers: each of a
    warpgroup's threads holds a sum for every two of them.
    """
    return min(MOST_FLAT, 2 * (start - product_registers(fragments)))


def product_flat(layout: WarpLayout, columns: int, swap_ab: bool) -> int:
    """Flat positions of the products of a consumer in a tile of ``columns``."""
    flat = layout.height // layout.rows if swap_ab else columns // layout.columns
    return flat if flat <= MOST_FLAT else flat // 2


def tall_blocks(layout: WarpLayout, columns: int, swap_ab: bool) -> int:
    """How many times 64 tall positions a consumer has in a tile of ``columns``."""
    tall = columns // layout.columns if swap_ab else layout.height // layout.rows
    return tall // TALL


def _staging_bytes(kernel: TileKernel, sums: int) -> int:
    """Of a consumer that waits part by part: one of every sum, or STORE_BUFFERS of every output."""
    if kernel.schedule.epilogue_store is EpilogueStore.TMA:
        return STORE_BUFFERS * stored_bytes(kernel.signature)
    rows, columns = staged_part(kernel.schedule.swap_ab)
    return sums * rows * (columns + STAGED_PADDING[kernel.schedule.swap_ab]) * 4


def _kept_parts(
    kernel: TileKernel, multiplies: Iterable[Multiply], layouts: Iterable[WarpLayout]
) -> KeptParts | None:
    """Where outputs wait for the copy engine, which reads 16 bytes a cycle (measured on an H200),
    while the next tile is multiplied already; None where a consumer had better wait, part by part.

    Of consumers that share a tile nobody multiplies before the last 64 columns of one have left its
    registers. Where all left at once, gathers took 1 to 2 % less than waiting; where the first 64
    columns leave before, up to 2 % less still (H200). What a consumer alone has read of the last
    stage has room for some.
    """
    signature, schedule, tile = kernel.signature, kernel.schedule, kernel.schedule.tile
    sharing = consumers_of_tile(schedule)
    if (
        schedule.epilogue_store is not EpilogueStore.TMA
        or schedule.split_k > 1
        or not schedule.swap_ab
        or any(layout.rows > 1 for layout in layouts)
        or not all(peels_first(signature, schedule, op.over, op.columns) for op in multiplies)
    ):
        return None
    parts = ceil_div(tile.rows, staged_part(swap_ab=True)[0])
    in_stage = min(parts, TALL * BLOCK_BYTES // stored_bytes(signature))
    beside = parts - in_stage
    fits = in_stage and tile.columns // sharing // TALL * beside <= _MOST_BESIDE
    return KeptParts(in_stage, beside) if fits else None


def stored_bytes(signature: Signature) -> int:
    """Shared memory of one part of every output."""
    rows, columns = staged_part(swap_ab=True)  # as many elements as without
    return rows * columns * sum(tensor.dtype.bytes for tensor in signature.outputs)


def peels_first(
    signature: Signature, schedule: Schedule, over: str, tall: Iterable[Access]
) -> bool:
    """Whether the first stage of a sum over ``over`` stands before the loop over the others, which
    knows that there is one, and its first product writes the sum instead of adding to zeros.

    It takes code for one stage more, and saves 1 % where consumers share a tile: nobody multiplies
    while they clear their sums. ``tall`` operands come from shared memory.
    """
    shared, known = consumers_of_tile(schedule) > 1, signature.index(over).extent
    fragments = any(from_registers(access, over, signature.compute) for access in tall)
    return shared and bool(known) and not fragments


def consumers_of_tile(schedule: Schedule) -> int:
    """Consumers that share one tile."""
    return 1 if schedule.cooperation is Cooperation.PINGPONG else schedule.consumers


def group_step(swap_ab: bool) -> StepShape:
    """The least product of a consumer."""
    return StepShape(FLAT_STEP, TALL) if swap_ab else StepShape(TALL, FLAT_STEP)


def share_groups(
    height: int, columns: int, groups: int, swap_ab: bool, flat_inner: bool = True
) -> WarpLayout | None:
    """The grid of consumers that reads least from shared memory, or None if none fits.

    A product reads its tall operand once and its flat one again for every 64 tall positions, so the
    fewest tall ones are best: all grids multiply as much. More flat positions than it has are
    halved; where depth is not innermost in the flat operand, only between two lines of 64.
    """
    flat_step = FLAT_STEP if flat_inner else TALL
    best: tuple[int, WarpLayout] | None = None
    for along in range(1, groups + 1):
        layout = WarpLayout(height, along, groups // along)
        if groups % along or height % along or columns % layout.columns:
            continue
        rows, across = height // along, columns // layout.columns
        tall, flat = (across, rows) if swap_ab else (rows, across)
        halves = 1 if flat <= MOST_FLAT else 2
        cuts = halves * (layout.rows if swap_ab else layout.columns)
        step = FLAT_STEP if cuts == 1 else flat_step
        if tall % TALL or flat % (halves * step) or flat > 2 * MOST_FLAT:
            continue
        if best is None or tall < best[0]:
            best = tall, layout
    return None if best is None else best[1]


def staged_part(swap_ab: bool) -> tuple[int, int]:
    """Rows and columns that a consumer takes through shared memory at a time."""
    return (32, TALL) if swap_ab else (TALL, 32)


def block_depth(compute: Compute) -> int:
    """Elements of depth in a block."""
    return BLOCK_BYTES // element_bytes(compute)


def panel(compute: Compute) -> int:
    """Positions in a line of a block whose depth is not innermost; its lines at all depths lie
    together.
    """
    return BLOCK_BYTES // element_bytes(compute)


def block_bytes(positions: int, inner: bool, compute: Compute) -> int:
    """Shared memory of one block of an operand: lines of 128 bytes, of a whole panel of positions
    if depth is not its innermost dimension.
    """
    return (positions if inner else aligned(positions, panel(compute))) * BLOCK_BYTES


def _ring_slots(schedule: Schedule) -> int:
    """Tiles that wait until all roles have taken them. Few: taken late, a tile goes to who is free,
    and CTAs that share operands stay close to each other. Ping-pong consumers are one tile apart,
    and whose tile one is follows from its slot.
    """
    return schedule.consumers if schedule.cooperation is Cooperation.PINGPONG else 1


def _room_for_more(stages: int, stage_bytes: int) -> int:
    """Bytes of a stage if MORE_STAGES more than ``stages`` of ``stage_bytes`` share their room."""
    return stages * stage_bytes // (stages + MORE_STAGES) // SWIZZLE_ATOM * SWIZZLE_ATOM


def _stage_bytes(kernel: TileKernel, op: Multiply, height: int) -> int:
    """Of a stage of a tile of ``height`` rows."""
    compute, tile = kernel.signature.compute, kernel.schedule.tile
    columns = sum(
        block_bytes(tile.columns, depth_inner(access, op.over), compute) for access in op.columns
    )
    rows = block_bytes(height, depth_inner(op.rows, op.over), compute)
    return max(1, tile.depth // block_depth(compute) * (columns + rows))
