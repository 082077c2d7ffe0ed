"""The schedule as constants: sizes, shared memory, the order of tiles, warp grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import factor_type
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.ir.core import IndexKind
from moedsl.ir.schedule import Along, Cooperation, EpilogueStore, Eviction, ExpertOrder
from moedsl.lower.resources.specialised import block_depth, stored_bytes
from moedsl.work import fuse_window

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel

_MOST_RASTER = 1 << 15
"""Groups beyond any count of tiles; keeps 32-bit arithmetic on item numbers from overflowing."""


def emit_constants(writer: Writer, kernel: GpuKernel) -> None:
    """Constants that every other part of the unit uses."""
    signature, shared = kernel.signature, kernel.resources.shared
    owner = "consumer" if kernel.schedule.specialised else "warp"
    for index in signature.indices:
        if index.kind is IndexKind.FIXED:
            writer.line(f"constexpr int {identifier(index.name)}_extent = {index.extent};")
    writer.lines(
        "",
        f"constexpr int kThreads = {kernel.resources.threads};",
        f"constexpr int kBlocks = {kernel.resources.blocks};  // resident on one SM",
        *_stage_counts(kernel),
        f"constexpr int kStageDepth = {kernel.schedule.tile.depth};",
        f"constexpr int kSplits = {kernel.schedule.split_k};",
        f"constexpr int kVector = {kernel.epilogue.vector};  // columns of a thread at a time",
        "",
        "// Shared memory, in bytes from its start.",
        _stage_room(kernel),
        f"constexpr moe::u32 kStaging = {shared.staging_at};",
        f"constexpr moe::u32 kStagingBytes = {shared.staging_bytes};  // of one {owner}",
        f"constexpr moe::u32 kRing = {shared.ring_at};  // tiles in flight",
        f"constexpr int kRingSlots = {shared.ring_slots};",
        f"constexpr moe::u32 kScratch = {shared.scratch_at};",
    )
    if kernel.schedule.specialised:
        _emit_barriers(writer, kernel)
    writer.line()


def _stage_counts(kernel: GpuKernel) -> tuple[str, ...]:
    if not kernel.schedule.specialised:
        return (f"constexpr int kStages = {kernel.schedule.stages};",)
    slots = kernel.resources.shared.stage_slots
    blocks = kernel.schedule.tile.depth // block_depth(kernel.signature.compute)
    return (
        f"constexpr int kStageSlots = {slots};  // the most there can be",
        f"constexpr int kStageBlocks = {blocks};",
    )


def _stage_room(kernel: GpuKernel) -> str:
    shared = kernel.resources.shared
    if not kernel.schedule.specialised:
        return f"constexpr moe::u32 kStageBytes = {shared.stage_bytes};"
    return f"constexpr moe::u32 kStagesBytes = {shared.staging_at};"


def _emit_barriers(writer: Writer, kernel: GpuKernel) -> None:
    shared = kernel.resources.shared
    stages, at, slots = shared.stage_slots, shared.barriers_at, shared.ring_slots
    tiles = at + 16 * stages
    turns = tiles + 16 * slots
    if kernel.epilogue.store is EpilogueStore.TMA:
        writer.line(
            f"constexpr moe::u32 kStoredBytes = {stored_bytes(kernel.signature)};  // of one part"
        )
    writer.lines(
        f"constexpr int kBlockDepth = {block_depth(kernel.signature.compute)};",
        "",
        "// Of each stage, then of each tile in flight: it is full, it is empty again.",
        f"constexpr moe::u32 kFull = {at};",
        f"constexpr moe::u32 kEmpty = {at + 8 * stages};",
        f"constexpr moe::u32 kTileFull = {tiles};",
        f"constexpr moe::u32 kTileEmpty = {tiles + 8 * slots};",
    )
    if stages > kernel.schedule.stages:
        taken = turns + 8 * kernel.schedule.consumers
        writer.line(f"constexpr moe::u32 kTaken = {taken};  // by stages, as each producer counts")
    if kernel.schedule.cooperation is Cooperation.PINGPONG:
        writer.line(f"constexpr moe::u32 kTurn = {turns};  // of each consumer, to multiply")


def emit_order(writer: Writer, kernel: GpuKernel) -> None:
    """What moe::Plan and moe::Walk need to know of the schedule."""
    signature, schedule, shared = kernel.signature, kernel.schedule, kernel.resources.shared
    counts_tiles = schedule.fuse_rows > 0 and schedule.split_k > 1 and signature.row_grouped
    raster = schedule.raster
    longest = schedule.order is ExpertOrder.LONGEST and signature.row_grouped
    flags = {
        "kAlone": schedule.specialised,
        "kRowGrouped": signature.row_grouped,
        "kLongest": longest,
        "kInterleaved": schedule.order is ExpertOrder.INTERLEAVED and signature.row_grouped,
        "kAlongRows": raster.along is Along.ROWS,
        "kSerpentine": raster.serpentine,
        "kBalanced": schedule.balanced,
        "kPairsRows": schedule.cluster_rows > 1,
        "kOnce": schedule.column_eviction is Eviction.ONCE,
        "kCountTiles": counts_tiles,
    }
    numbers = {
        "kExperts": signature.expert_count,
        "kThreads": kernel.resources.threads,
        "kTileRows": schedule.tile.rows,
        "kTileColumns": schedule.tile.columns,
        "kUnit": schedule.unit,
        "kCluster": schedule.cluster,
        "kSplits": schedule.split_k,
        "kFuseRows": schedule.fuse_rows,
        "kFuseWindow": fuse_window(schedule),
        "kRasterGroup": min(raster.group, _MOST_RASTER),
        "kSortSlots": shared.sort_slots,
    }
    places = {
        "kTickets": shared.tickets_at,
        "kScratch": shared.scratch_at,
        "kStarts": shared.starts_at,
        "kItemEnds": shared.item_ends_at,
        "kOrder": shared.order_at,
        "kTileNumbers": shared.tile_numbers_at,
    }
    persistence = f"moe::Persistence::k{schedule.persistent.value.capitalize()}"
    writer.line("// The order of work.")
    with writer.block("struct Order", "};"):
        for name, flag in flags.items():
            writer.line(f"static constexpr bool {name} = {str(flag).lower()};")
        for name, number in numbers.items():
            writer.line(f"static constexpr int {name} = {number};")
        writer.line(f"static constexpr moe::Persistence kPersistence = {persistence};")
        for name, place in places.items():
            writer.line(f"static constexpr moe::u32 {name} = {place};")
        writer.line()
        writer.line("// Rows that are computed for a tile of which `rows` are there.")
        with writer.block("static MOE_DEVICE int height(int rows)"):
            for height in sorted(schedule.heights)[:-1]:
                writer.line(f"if (rows <= {height}) return {height};")
            writer.line(f"return {schedule.tile.rows};")
    writer.line()


def emit_tiles(writer: Writer, kernel: GpuKernel) -> None:
    """The type of each buffer, and the warp grid of each height."""
    element = factor_type(kernel)
    for pipeline in kernel.pipelines:
        for buffer in pipeline.buffers:
            shape = f"{buffer.positions}, {buffer.depth}, {str(buffer.depth_inner).lower()}"
            writer.line(f"using {buffer.name}_tile = moe::OperandTile<{element}, {shape}>;")
    columns = kernel.schedule.tile.columns
    writer.lines(
        "",
        "// How the warps share a tile, by its height.",
        "template <int kHeight>",
        "struct Warps;",
        "",
    )
    for layout in kernel.resources.layouts:
        with writer.block(f"template <>\nstruct Warps<{layout.height}>", "};"):
            writer.lines(
                f"static constexpr int kAcross = {layout.columns};",
                f"static constexpr int kRows = {layout.height // layout.rows};",
                f"static constexpr int kColumns = {columns // layout.columns};",
            )
            with writer.block("static MOE_DEVICE int row()"):
                writer.line("return moe::warp_index() / kAcross * kRows;")
            with writer.block("static MOE_DEVICE int column()"):
                writer.line("return moe::warp_index() % kAcross * kColumns;")
        writer.line()
