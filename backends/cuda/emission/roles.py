"""Specialised warps: the scheduler, the producers, and the kernel that gives warps their roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import (
    build_plan,
    extent,
    factor_type,
    first_row,
    pointer,
    stride,
)
from moedsl.backends.cuda.emission.maps import (
    PANEL,
    boxes_of_block,
    clip_of,
    coordinates,
    map_name,
    row_heights,
)
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.backends.cuda.gpu import CopyWay, Fill, Role, RoleName, Side
from moedsl.ir.schedule import Cooperation, Eviction, Persistence
from moedsl.lower.resources.specialised import (
    BLOCK_BYTES,
    GROUP,
    block_bytes,
    block_depth,
    consumers_of_tile,
)

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import Buffer, Copy, GpuKernel

TILES = "kRing, kTileFull, kTileEmpty"
GROUP_WARPS = 4
_PRODUCERS = (RoleName.COLUMNS, RoleName.ROWS)
_KEEP = {
    Eviction.NORMAL: "",
    Eviction.FIRST: ", moe::keep_briefly",
    Eviction.LAST: ", moe::keep_long",
}


def emit_scheduler(writer: Writer, kernel: GpuKernel) -> None:
    """``schedule_tiles``: one thread walks the plan for all roles."""
    dynamic = kernel.schedule.persistent is Persistence.DYNAMIC
    counter = "arguments.counter" if dynamic else "nullptr"
    writer.line("// Publishes the tiles of this CTA, then one that says there are no more.")
    with writer.block(
        "MOE_DEVICE void schedule_tiles(const Arguments& arguments, const moe::Plan<Order>& plan)"
    ):
        writer.lines(
            f"moe::Walk<Order> walk(plan, {counter});",
            "moe::Ring<kRingSlots> tiles;",
            "MOE_ROLL",
        )
        with writer.block("for (bool open = true; open;)"):
            writer.lines(
                "tiles.wait_empty(kTileEmpty);",
                "const moe::Tile tile = walk.next();",
                "open = tile.expert >= 0;",
                "moe::publish_tile<Order>(tiles, tile, kRing, kTileFull);",
            )
        writer.line("walk.leave();")
    writer.line()


def emit_producers(writer: Writer, kernel: GpuKernel) -> None:
    """``produce_columns`` and ``produce_rows``: stages of every sum of every tile."""
    for name in _PRODUCERS:
        role = kernel.role(name)
        writer.line(f"// Brings in the {name} of every stage, as soon as the stage is free.")
        with writer.block(f"MOE_DEVICE void produce_{name}(const Arguments& arguments)"):
            writer.lines("moe::Ring<kRingSlots> tiles;", "moe::Ring<kStages> stages;")
            if gathers(role):
                threads = f"{32 * GROUP_WARPS}, {32 * role.warps}"
                element = factor_type(kernel)
                writer.line(f"moe::Gather<{element}, {threads}, Order::kTileRows> rows;")
            writer.line("MOE_ROLL")
            with writer.block("for (;;)"):
                writer.line(f"const moe::Tile tile = moe::take_tile<Order>(tiles, {TILES});")
                writer.line("if (tile.expert < 0) break;")
                for number, fill in enumerate(role.body):
                    assert isinstance(fill, Fill)
                    _emit_fill(writer, kernel, fill, number)
            if gathers(role):
                writer.line("// Nothing is under way when a thread ends.")
                writer.lines("moe::copy_commit();", "moe::copy_wait<0>();")
        writer.line()


def _emit_fill(writer: Writer, kernel: GpuKernel, fill: Fill, number: int) -> None:
    writer.line(f"// Stages of the sum over {identifier(fill.over)}.")
    with writer.block(""):
        emit_range(writer, kernel, fill.over, f"depth_blocks{number}(tile.height)")
        if any(copy.way is CopyWay.MAPPED for copy in fill.body):
            _emit_gather(writer, kernel, fill)
        else:
            _emit_tensor_copies(writer, kernel, fill)


def gathers(role: Role) -> bool:
    """Whether the warps of a producer copy by themselves, through a map."""
    fills = [op for op in role.body if isinstance(op, Fill)]
    return any(copy.way is CopyWay.MAPPED for fill in fills for copy in fill.body)


def _emit_gather(writer: Writer, kernel: GpuKernel, fill: Fill) -> None:
    """Stages of rows that a map leads to."""
    signature = kernel.signature
    (copy,) = fill.body
    buffer, access = kernel.buffer(copy.buffer), copy.access
    dim = access.position(signature.rows)
    assert dim is not None
    via = access.coordinates[dim].via
    assert via is not None
    first = f"({first_row(kernel)})"
    place = f"base + kept * {buffer.offset}" if buffer.offset else "base"
    known = signature.index(fill.over).extent
    multiple = known is not None and known % block_depth(signature.compute) == 0
    whole = str(multiple).lower()
    source = f"{pointer(access.tensor)} + range.first"
    writer.lines(
        f"rows.open({source}, {stride(access.tensor, dim)},",
        f"    {pointer(via)} + {first} * {stride(via, 0)}, {stride(via, 0)}, tile.rows);",
        "int left = range.last - range.first;",
        "MOE_ROLL",
    )
    with writer.block("for (; stages_left > 0; --stages_left)"):
        writer.lines(
            "const moe::u32 base = stages.slot * kStageBytes;",
            "stages.wait_empty(kEmpty);",
            "MOE_ROLL",
        )
        with writer.block("for (int block = 0; block < kept; ++block)"):
            with writer.from_source(kernel.source, copy.span):
                writer.line(
                    f"rows.copy<{whole}>({place} + block * ({row_block_bytes(buffer)}), "
                    "tile.height, left);"
                )
            writer.line("left -= kBlockDepth;")
        writer.lines(
            "moe::barrier_arrive_copies(kFull + stages.slot * 8);",
            "stages.advance();",
        )


def emit_range(
    writer: Writer, kernel: GpuKernel, over: str, kept: str, constant: bool = False
) -> None:
    """``range`` of the tile's depth and ``stages_left`` to come, of so many blocks each.

    Every stage is whole: what lies behind the depth's end is zero on both sides.
    """
    whole = "tile.count" if over == kernel.signature.ragged else extent(kernel, over)
    name = "kKept" if constant else "kept"
    writer.lines(
        f"const{'expr' if constant else ''} int {name} = {kept};  // blocks of depth in a stage",
        "const moe::DepthRange range =",
        f"    moe::depth_range<kStageDepth, kSplits>({whole}, tile.split);",
        "int stages_left =",
        f"    moe::ceil_div(range.last - range.first, {name} * kBlockDepth);",
    )


def _emit_tensor_copies(writer: Writer, kernel: GpuKernel, fill: Fill) -> None:
    buffers = [kernel.buffer(copy.buffer) for copy in fill.body]
    for copy, buffer in zip(fill.body, buffers, strict=True):
        name = map_name(copy)
        heights = row_heights(kernel, buffer)
        place = " + height_index(tile.height)" if len(heights) > 1 else ""
        writer.line(f"const moe::TensorMap& {name} = *(arguments.{name}{place});")
    if boxes_of_block(kernel.schedule, buffers[0]) > 1:
        writer.line("const int rank = moe::cluster_rank();")
    start = "tile.start + range.first" if fill.over == kernel.signature.ragged else "range.first"
    writer.lines(
        f"int depth = {start};",
        f"const int stage_bytes = kept * ({_filled(buffers)});",
        "MOE_ROLL",
    )
    with writer.block("for (; stages_left > 0; --stages_left)"):
        writer.lines(
            "const moe::u32 base = stages.slot * kStageBytes;",
            "const moe::u32 full = kFull + stages.slot * 8;",
            "stages.wait_empty(kEmpty);",
        )
        with writer.block("if (moe::elect())"):
            writer.line("moe::barrier_arrive_expect(full, stage_bytes);")
            writer.line("MOE_ROLL")
            with writer.block("for (int block = 0; block < kept; ++block)"):
                for copy, buffer in zip(fill.body, buffers, strict=True):
                    _emit_boxes(writer, kernel, fill, copy, buffer)
        writer.lines(
            "moe::sync_warp();",
            "depth += kept * kBlockDepth;",
            "stages.advance();",
        )


def _filled(buffers: list[Buffer]) -> str:
    """Bytes of one block of all ``buffers``."""
    fixed = sum(block_bytes(b.positions, b.depth_inner) for b in buffers if b.side is Side.COLUMNS)
    terms = [str(fixed)] if fixed else []
    terms += [row_block_bytes(b) for b in buffers if b.side is Side.ROWS]
    return " + ".join(terms)


def row_block_bytes(buffer: Buffer) -> str:
    """Bytes of a block of rows of the tile's height."""
    return "tile.height * 128" if buffer.depth_inner else "moe::ceil_div(tile.height, 64) * 8192"


def _emit_boxes(writer: Writer, kernel: GpuKernel, fill: Fill, copy: Copy, buffer: Buffer) -> None:
    """One block of one operand: what this CTA needs, or its share of what the cluster needs."""
    if kernel.schedule.cluster_rows == 1:
        shared = boxes_of_block(kernel.schedule, buffer) > 1
        _emit_block(writer, kernel, fill, copy, buffer, shared=shared)
        return
    shares = "tile.below == 0" if buffer.side is Side.ROWS else "tile.below > 0"
    with writer.block(f"if ({shares})", "} else {"):
        _emit_block(writer, kernel, fill, copy, buffer, shared=True)
    with writer.otherwise():
        _emit_block(writer, kernel, fill, copy, buffer, shared=False)


def _emit_block(
    writer: Writer, kernel: GpuKernel, fill: Fill, copy: Copy, buffer: Buffer, *, shared: bool
) -> None:
    """``shared``: each CTA of the cluster brings in its part, to all of them."""
    signature = kernel.signature
    rows = buffer.side is Side.ROWS
    start = first_row(kernel) if rows else "tile.column"
    count = "tile.height" if rows else str(buffer.positions)
    size = (
        row_block_bytes(buffer) if rows else str(block_bytes(buffer.positions, buffer.depth_inner))
    )
    place = f"base + kept * {buffer.offset}" if buffer.offset else "base"
    place += f" + block * ({size})" if rows else f" + block * {size}"
    boxes = boxes_of_block(kernel.schedule, buffer)
    extent = f"({count} / {boxes})" if buffer.depth_inner else str(PANEL)

    def emit(box: str) -> None:
        before = f" + {box} * {extent}" if box else ""
        at = {
            signature.experts: "tile.expert",
            fill.over: "depth + block * kBlockDepth",
            signature.rows if rows else signature.columns: start + before,
        }
        to = place + (f"{before} * {BLOCK_BYTES}" if box else "")
        _emit_box(writer, kernel, fill, copy, at, to, shared)

    if buffer.depth_inner and (shared or boxes == 1):
        emit("rank" if shared else "")
        return
    first, step = ("rank", f"box += {kernel.schedule.cluster}") if shared else ("0", "++box")
    within = f"box < {boxes}" if buffer.depth_inner else f"box * {PANEL} < {count}"
    writer.line("MOE_ROLL")
    with writer.block(f"for (int box = {first}; {within}; {step})"):
        emit("box")


def _emit_box(
    writer: Writer,
    kernel: GpuKernel,
    fill: Fill,
    copy: Copy,
    at: dict[str, str],
    place: str,
    shared: bool,
) -> None:
    """``shared``: to all CTAs of the cluster, each of which brings in a part."""
    clip = clip_of(kernel, fill, copy)
    box = coordinates(copy.access, at, clip, "tile.start + tile.count")
    schedule = kernel.schedule
    rows = kernel.buffer(copy.buffer).side is Side.ROWS
    keep = _KEEP[schedule.row_eviction if rows else schedule.column_eviction]
    ranks = f", {(1 << schedule.cluster) - 1}" if shared else ""
    load = "tensor_load_multicast" if shared else "tensor_load"
    with writer.from_source(kernel.source, copy.span):
        writer.line(
            f"moe::{load}({place}, {map_name(copy)}, "
            f"moe::Box<{len(box)}>{{{{{', '.join(box)}}}}}, full{ranks}{keep});"
        )


def emit_entry(writer: Writer, kernel: GpuKernel, entry: str) -> None:
    """The kernel itself: barriers, plan, roles."""
    schedule = kernel.schedule
    clustered = schedule.cluster > 1
    takers = sum(kernel.role(name).warps for name in (*_PRODUCERS, RoleName.CONSUMER))
    takers *= schedule.cluster
    with writer.block(f"MOE_KERNEL(kThreads, kBlocks) {entry}(MOE_ARGUMENTS Arguments arguments)"):
        with writer.block("if (moe::thread_index() == 0)"):
            writer.lines(
                f"moe::init_ring<kStages>(kFull, {fillers(kernel)}, kEmpty, {emptiers(kernel)});",
                f"moe::init_ring<kRingSlots>(kTileFull, 1, kTileEmpty, {takers});",
                *_init_turns(kernel),
                "moe::fence_barrier_init();",
            )
        writer.lines(
            "moe::Plan<Order> plan;",
            build_plan(kernel),
            "moe::sync_cluster();" if clustered else "moe::sync_cta();",
        )
        groups = kernel.resources.threads // GROUP - schedule.consumers
        with writer.block(f"if (moe::warp_index() < {GROUP_WARPS * groups})", "} else {"):
            writer.line(f"moe::lower_registers<{schedule.producer_registers}>();")
            first = 0
            for role in kernel.loop.body:
                assert isinstance(role, Role)
                if role.name is not RoleName.CONSUMER:
                    # Those who copy by themselves have a warpgroup of their own.
                    first = GROUP_WARPS if gathers(role) else first
                    _emit_role(writer, role, first, clustered)
                    first += role.warps
        with writer.otherwise():
            writer.lines(
                f"moe::raise_registers<{schedule.consumer_registers}>();",
                f"const int group = moe::uniform(moe::group_index() - {groups});",
                'moe::role("consumer", group);',
                "consume(arguments, group);",
            )
        if clustered:
            writer.lines(
                "// Others may still arrive at this CTA's barriers, or write to its stages.",
                "moe::sync_warp();",
                "moe::sync_cluster();",
            )


def _init_turns(kernel: GpuKernel) -> list[str]:
    if kernel.schedule.cooperation is not Cooperation.PINGPONG:
        return []
    consumers = range(kernel.schedule.consumers)
    return [f"moe::barrier_init(kTurn + {8 * consumer}, {GROUP_WARPS});" for consumer in consumers]


def _emit_role(writer: Writer, role: Role, first: int, clustered: bool) -> None:
    leader = "moe::cluster_rank() == 0 && " if clustered else ""
    warps = f"moe::warp_index() == {first}"
    if role.warps > 1:
        warps = f"moe::warp_index() >= {first} && moe::warp_index() < {first + role.warps}"
    with writer.block(f"if ({warps})"):
        if role.name is RoleName.SCHEDULER:
            writer.lines(
                f'moe::role("{role.name}");',
                f"if ({leader}moe::lane_index() == 0) schedule_tiles(arguments, plan);",
            )
        else:
            writer.lines(
                f'moe::role("producer of {role.name}");', f"produce_{role.name}(arguments);"
            )


def fillers(kernel: GpuKernel) -> int:
    """Arrivals that fill a stage: one for each producer that the copy engine works for, and one
    for each thread that copies by itself.
    """
    roles = [kernel.role(name) for name in _PRODUCERS]
    return sum(32 * role.warps if gathers(role) else 1 for role in roles)


def emptiers(kernel: GpuKernel) -> int:
    """Arrivals that free a stage: one for each warp that multiplies what is in it."""
    return GROUP_WARPS * consumers_of_tile(kernel.schedule) * kernel.schedule.cluster
