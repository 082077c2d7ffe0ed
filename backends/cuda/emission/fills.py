"""Specialised warps: the producers, which fill the stages of every sum of every tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import (
    element_type,
    extent,
    first_row,
    pointer,
    stride,
)
from moedsl.backends.cuda.emission.maps import (
    Sharing,
    clip_of,
    coordinates,
    map_name,
    sharing,
)
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.backends.cuda.gpu import CopyWay, Fill, RoleName, Side
from moedsl.ir.schedule import Eviction
from moedsl.lower.resources.specialised import BLOCK_BYTES, block_bytes, block_depth, panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import Buffer, Copy, GpuKernel, Role

TILES = "kRing, kTileFull, kTileEmpty"
GROUP_WARPS = 4
PRODUCERS = (RoleName.COLUMNS, RoleName.ROWS)
_KEEP = {
    Eviction.NORMAL: "",
    Eviction.FIRST: ", moe::keep_briefly",
    Eviction.LAST: ", moe::keep_long",
    Eviction.ONCE: ", tile.once ? moe::keep_briefly : moe::keep_normal",
}


def emit_producers(writer: Writer, kernel: GpuKernel) -> None:
    """``produce_columns`` and ``produce_rows``: stages of every sum of every tile."""
    for name in PRODUCERS:
        role = kernel.role(name)
        alone = not role.gathers
        writer.line(f"// Brings in the {name} of every stage, as soon as the stage is free.")
        with writer.block(f"MOE_DEVICE void produce_{name}(const Arguments& arguments)"):
            writer.line("moe::Ring<kRingSlots> tiles;")
            if stages_alike(kernel):
                writer.line("Stages stages;")
            else:
                writer.line(
                    "moe::StagesToFill<kStageSlots, kStagesBytes> stages("
                    f"kTaken + {PRODUCERS.index(name)} * kStageSlots * 4);"
                )
            if not alone:
                threads = f"{32 * GROUP_WARPS}, {32 * role.warps}"
                element = _gathered_type(kernel, role)
                writer.line(f"moe::Gather<{element}, {threads}, Order::kTileRows> rows;")
            writer.line("MOE_ROLL")
            with writer.block("for (;;)"):
                take = f"moe::take_tile<Order{', true' if alone else ''}>(tiles, {TILES})"
                writer.lines(
                    f"const moe::Tile tile = {take};",
                    "if (tile.expert < 0) break;",
                )
                for number, fill in enumerate(role.body):
                    assert isinstance(fill, Fill)
                    _emit_fill(writer, kernel, fill, number)
            if not alone:
                writer.line("// Nothing is under way when a thread ends.")
                writer.lines("moe::copy_commit();", "moe::copy_wait<0>();")
        writer.line()


def _emit_fill(writer: Writer, kernel: GpuKernel, fill: Fill, number: int) -> None:
    writer.line(f"// Stages of the sum over {identifier(fill.over)}.")
    with writer.block(""):
        emit_range(writer, kernel, fill.over)
        writer.line(f"const moe::u32 stage_bytes = stage_bytes{number}(tile.height);")
        if any(copy.way is CopyWay.MAPPED for copy in fill.body):
            _emit_gather(writer, kernel, fill)
        else:
            _emit_tensor_copies(writer, kernel, fill)


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
            "const moe::u32 base = stages.start(stage_bytes);",
            _wait_free(kernel),
            "MOE_ROLL",
        )
        with writer.block("for (int block = 0; block < kStageBlocks; ++block)"):
            with writer.from_source(kernel.source, copy.span):
                place = block_place(kernel, buffer)
                writer.line(f"rows.copy<{whole}>({place}, tile.height, left);")
            writer.line("left -= kBlockDepth;")
        writer.lines(
            "moe::barrier_arrive_copies(kFull + stages.ring.slot * 8);",
            "stages.advance(stage_bytes);",
        )


def _gathered_type(kernel: GpuKernel, role: Role) -> str:
    """Of the elements in memory that a producer copies by itself; all kernels have one."""
    fills = [fill for fill in role.body if isinstance(fill, Fill)]
    return element_type(kernel.signature.tensor(fills[0].body[0].access.tensor).dtype)


def block_place(kernel: GpuKernel, buffer: Buffer, size: str = "") -> str:
    """Where number ``block`` of an operand's blocks lies in the stage that starts at ``base``.

    ``size`` names a block's bytes, where they have a name.
    """
    if not size:
        rows = buffer.side is Side.ROWS
        size = str(column_block_bytes(kernel, buffer))
        size = f"({row_block_bytes(kernel, buffer)})" if rows else size
    return f"{operand_place(buffer)} + block * {size}"


def operand_place(buffer: Buffer) -> str:
    """Where an operand's blocks begin in the stage that starts at ``base``."""
    return f"base + kStageBlocks * {buffer.offset}" if buffer.offset else "base"


def emit_range(writer: Writer, kernel: GpuKernel, over: str) -> None:
    """``range`` of the tile's depth and ``stages_left`` to come.

    Every stage is whole: what lies behind the depth's end is zero on both sides.
    """
    whole = "tile.count" if over == kernel.signature.ragged else extent(kernel, over)
    writer.lines(
        "const moe::DepthRange range =",
        f"    moe::depth_range<kStageDepth, kSplits>({whole}, tile.split);",
        "int stages_left =",
        "    moe::ceil_div(range.last - range.first, kStageDepth);",
    )


def stages_alike(kernel: GpuKernel) -> bool:
    """Whether stages of all tiles are as long as those of the highest."""
    return kernel.resources.shared.stage_slots == kernel.schedule.stages


def _wait_free(kernel: GpuKernel) -> str:
    if stages_alike(kernel):
        return "stages.ring.wait_empty(kEmpty);"
    return "stages.wait_free(kEmpty, stage_bytes);"


def _emit_tensor_copies(writer: Writer, kernel: GpuKernel, fill: Fill) -> None:
    """One thread has the copy engine bring in all stages."""
    copies = [(copy, kernel.buffer(copy.buffer)) for copy in fill.body]
    if any(sharing(kernel.schedule, b) is not Sharing.NEVER for _, b in copies):
        writer.line("const int rank = moe::cluster_rank();")
    for copy, buffer in copies:
        _emit_boxes(writer, kernel, copy, buffer)
    start = "tile.start + range.first" if fill.over == kernel.signature.ragged else "range.first"
    filled = filled_bytes(kernel, [buffer for _, buffer in copies])
    writer.lines(
        f"int depth = {start};",
        f"const int filled = kStageBlocks * ({filled});",
        "MOE_ROLL",
    )
    with writer.block("for (; stages_left > 0; --stages_left)"):
        writer.lines(
            "const moe::u32 base = stages.start(stage_bytes);",
            "const moe::u32 full = kFull + stages.ring.slot * 8;",
            _wait_free(kernel),
            "moe::barrier_arrive_expect(full, filled);",
            "MOE_ROLL",
        )
        with writer.block("for (int block = 0; block < kStageBlocks; ++block)"):
            for copy, buffer in copies:
                _emit_block(writer, kernel, fill, copy, buffer)
        writer.lines("depth += kStageDepth;", "stages.advance(stage_bytes);")


def _emit_boxes(writer: Writer, kernel: GpuKernel, copy: Copy, buffer: Buffer) -> None:
    """Constants of one operand of a tile: the map, and the boxes that this CTA brings in."""
    schedule, name, map_ = kernel.schedule, identifier(buffer.name), map_name(copy)
    rows = buffer.side is Side.ROWS
    shared, cluster = sharing(schedule, buffer), schedule.cluster
    if shared.varies:
        writer.line(f"const bool {name}_shared = {shared};")

    def choose(if_shared: str, otherwise: str) -> str:
        if shared.varies:
            return f"{name}_shared ? {if_shared} : {otherwise}"
        return if_shared if shared is Sharing.ALWAYS else otherwise

    if not buffer.depth_inner:
        writer.lines(
            f"const moe::TensorMap& {map_} = *arguments.{map_};",
            f"const int {name}_first = {choose('rank', '0')};",
            f"const int {name}_step = {choose(str(cluster), '1')};",
        )
        return
    count = "tile.height" if rows else str(buffer.positions)
    heights = kernel.schedule.heights if rows else ()
    places = ["height_index(tile.height)"] if len(heights) > 1 else []
    if shared.varies:
        places.append(f"({name}_shared ? {len(heights) or 1} : 0)")
    place = " + ".join([f"arguments.{map_}", *places])
    writer.line(f"const moe::TensorMap& {map_} = *({place});")
    if shared is not Sharing.NEVER:
        writer.line(f"const int {name}_first = {choose(f'rank * ({count} / {cluster})', '0')};")


def filled_bytes(kernel: GpuKernel, buffers: Sequence[Buffer], height: str = "tile.height") -> str:
    """Bytes of one block of all ``buffers``."""
    fixed = sum(column_block_bytes(kernel, b) for b in buffers if b.side is Side.COLUMNS)
    terms = [str(fixed)] if fixed else []
    terms += [row_block_bytes(kernel, b, height) for b in buffers if b.side is Side.ROWS]
    return " + ".join(terms)


def row_block_bytes(kernel: GpuKernel, buffer: Buffer, height: str = "tile.height") -> str:
    """Bytes of a block of rows of the tile's height."""
    if buffer.depth_inner:
        return f"{height} * {BLOCK_BYTES}"
    width = panel(kernel.signature.compute)
    return f"({height} + {width - 1}) / {width} * {width * BLOCK_BYTES}"


def column_block_bytes(kernel: GpuKernel, buffer: Buffer) -> int:
    """Bytes of a block of columns."""
    return block_bytes(buffer.positions, buffer.depth_inner, kernel.signature.compute)


def _emit_block(writer: Writer, kernel: GpuKernel, fill: Fill, copy: Copy, buffer: Buffer) -> None:
    """One block of one operand: what this CTA needs, or its share of what the cluster needs."""
    signature, name = kernel.signature, identifier(buffer.name)
    rows = buffer.side is Side.ROWS
    shared = sharing(kernel.schedule, buffer)
    first = f" + {name}_first" if shared is not Sharing.NEVER else ""
    width = panel(kernel.signature.compute)
    if not buffer.depth_inner:
        first = f" + box * {width}"
    start = first_row(kernel) if rows else "tile.column"
    at = {
        signature.experts: "tile.expert",
        fill.over: "depth + block * kBlockDepth",
        signature.rows if rows else signature.columns: start + first,
    }
    place = block_place(kernel, buffer) + (f"{first} * {BLOCK_BYTES}" if first else "")

    def emit() -> None:
        if not shared.varies:
            _emit_box(writer, kernel, fill, copy, at, place, shared is Sharing.ALWAYS)
            return
        with writer.block(f"if ({name}_shared)", "} else {"):
            _emit_box(writer, kernel, fill, copy, at, place, True)
        with writer.otherwise():
            _emit_box(writer, kernel, fill, copy, at, place, False)

    if buffer.depth_inner:
        emit()
        return
    count = "tile.height" if rows else str(buffer.positions)
    writer.line("MOE_ROLL")
    with writer.block(f"for (int box = {name}_first; box * {width} < {count}; box += {name}_step)"):
        emit()


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
