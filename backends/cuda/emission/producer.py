"""The producer: walks the tiles ahead of the products and keeps the stages filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import (
    extent,
    factor_type,
    first_row,
    offset,
    pointer,
    stride,
)
from moedsl.backends.cuda.emission.writer import plus
from moedsl.backends.cuda.gpu import Copy, CopyWay, Side

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel, Pipeline

_TYPES = {
    CopyWay.VECTOR: "VectorCopy",
    CopyWay.MAPPED: "MappedVectorCopy",
    CopyWay.ELEMENT: "ElementCopy",
}


def emit_producer(writer: Writer, kernel: GpuKernel) -> None:
    """Struct Producer."""
    many = len(kernel.pipelines) > 1
    writer.line("// Brings in one stage after the other, across tiles, ahead of the products.")
    with writer.block("struct Producer", "};"):
        writer.lines(
            "const Arguments& arguments;",
            "moe::Walk<Order> walk;",
            "moe::Tile tile;",
            "int steps_left;  // stages still to come of what is open",
            "int depth_left;",
            "int stage;  // the next to fill",
            "int ring_slot;",
        )
        if many:
            writer.line("int open;  // number of the sum that is brought in")
        for pipeline in kernel.pipelines:
            for copy, buffer in copies(pipeline):
                writer.line(f"{_copy_type(kernel, copy, buffer)} {buffer.name};")
        writer.line()
        _emit_constructor(writer, many)
        for number, pipeline in enumerate(kernel.pipelines):
            _emit_open(writer, kernel, number, pipeline)
        _emit_advance(writer, len(kernel.pipelines))
        _emit_issue(writer, kernel)
    writer.line()


def copies(pipeline: Pipeline) -> list[tuple[Copy, Buffer]]:
    """The copies of a pipeline, each with the buffer it fills."""
    buffers = {buffer.name: buffer for buffer in pipeline.buffers}
    return [(op, buffers[op.buffer]) for op in pipeline.body if isinstance(op, Copy)]


def depth_extent(kernel: GpuKernel, pipeline: Pipeline) -> str:
    """The whole depth of one tile."""
    if pipeline.over == kernel.signature.ragged:
        return "tile.count"
    return extent(kernel, pipeline.over)


def _copy_type(kernel: GpuKernel, copy: Copy, buffer: Buffer) -> str:
    tails = "true" if buffer.side is Side.ROWS and kernel.schedule.tails else "false"
    return f"moe::{_TYPES[copy.way]}<{buffer.name}_tile, kThreads, {tails}>"


def _emit_constructor(writer: Writer, many: bool) -> None:
    start = "walk(plan, counter), steps_left(0), depth_left(0), stage(0), ring_slot(0)"
    with writer.block(
        "MOE_DEVICE Producer(const Arguments& the_arguments, const moe::Plan<Order>& plan, "
        f"int* counter)\n    : arguments(the_arguments), {start}"
    ):
        if many:
            writer.line("open = 0;")
        writer.line("open_tile();")
    writer.line()


def _emit_open(writer: Writer, kernel: GpuKernel, number: int, pipeline: Pipeline) -> None:
    """Point the copies at the open tile."""
    signature = kernel.signature
    with writer.block(f"MOE_DEVICE void open_sum{number}()"):
        writer.lines(
            f"const moe::DepthRange range = moe::depth_range<kStageDepth, kSplits>("
            f"{depth_extent(kernel, pipeline)}, tile.split);",
            "steps_left = range.steps;",
            "depth_left = range.last - range.first;",
        )
        columns = extent(kernel, signature.columns)
        known = signature.index(signature.columns).extent
        fits = known is not None and known % kernel.schedule.tile.columns == 0
        starts = {
            signature.experts: "tile.expert",
            signature.rows: f"static_cast<moe::i64>({first_row(kernel)})",
            signature.columns: "static_cast<moe::i64>(tile.column)",
            pipeline.over: "static_cast<moe::i64>(tile.start + range.first)"
            if pipeline.over == signature.ragged
            else "static_cast<moe::i64>(range.first)",
        }
        for copy, buffer in copies(pipeline):
            rows = buffer.side is Side.ROWS
            count = f"{columns} - tile.column"
            if fits:
                count = "Order::kTileColumns"
            count, height = ("tile.rows", "tile.height") if rows else (count, "Order::kTileColumns")
            _emit_open_copy(writer, kernel, pipeline, copy, buffer, starts, count, height)
    writer.line()


def _emit_open_copy(
    writer: Writer,
    kernel: GpuKernel,
    pipeline: Pipeline,
    copy: Copy,
    buffer: Buffer,
    starts: dict[str, str],
    count: str,
    height: str,
) -> None:
    signature, access = kernel.signature, copy.access
    position = signature.rows if buffer.side is Side.ROWS else signature.columns
    position_dim, depth_dim = access.position(position), access.position(pipeline.over)
    assert position_dim is not None
    assert depth_dim is not None
    maps = {
        index: access.coordinates[dim].via
        for index, dim in ((position, position_dim), (pipeline.over, depth_dim))
    }
    unmapped = {index: at for index, at in starts.items() if maps.get(index) is None}
    element = factor_type(kernel)
    base = pointer(access.tensor)
    if element == "moe::tf32":
        base = f"reinterpret_cast<const moe::tf32*>({base})"
    origin = f"{base} + {offset(access, unmapped)}"
    position_stride = stride(access.tensor, position_dim)
    depth_stride = stride(access.tensor, depth_dim)
    name = buffer.name
    if copy.way is CopyWay.MAPPED:
        line = position if buffer.depth_inner else pipeline.over
        via = maps[line]
        assert via is not None
        line_stride = position_stride if buffer.depth_inner else depth_stride
        writer.lines(
            f"{name}.open({origin},",
            f"    {pointer(via)} + {starts[line]} * {stride(via, 0)}, {stride(via, 0)},",
            f"    {line_stride}, {count}, {height});",
        )
        return
    contiguous = copy.way is CopyWay.VECTOR
    if contiguous and buffer.depth_inner:
        depth_stride = "1"
    if contiguous and not buffer.depth_inner:
        position_stride = "1"
    writer.lines(
        f"{name}.open({origin},",
        f"    {position_stride}, {depth_stride}, {count}, {height});",
    )
    for index, method in ((position, "map_positions"), (pipeline.over, "map_depth")):
        if via := maps[index]:
            at = f"{pointer(via)} + {starts[index]} * {stride(via, 0)}"
            writer.line(f"{name}.{method}({at}, {stride(via, 0)});")


def _emit_advance(writer: Writer, pipelines: int) -> None:
    with writer.block("MOE_DEVICE void open_tile()"):
        writer.lines(
            "tile = walk.next();",
            "if (moe::thread_index() == 0) {",
            "    moe::shared_store(kRing + ring_slot * int(sizeof(moe::Tile)), tile);",
            "}",
            "ring_slot = ring_slot + 1 == kRingSlots ? 0 : ring_slot + 1;",
            "steps_left = 1 << 30;",
            "if (tile.expert >= 0) open_sum0();",
        )
    writer.line()
    if pipelines > 1:
        with writer.block("MOE_DEVICE void advance()"):
            writer.line(f"open = open + 1 == {pipelines} ? 0 : open + 1;")
            writer.line("if (open == 0) open_tile();")
            for number in range(1, pipelines):
                writer.line(f"if (open == {number}) open_sum{number}();")
        writer.line()


def _emit_issue(writer: Writer, kernel: GpuKernel) -> None:
    """One stage, or an empty group behind the last tile."""
    pipelines = kernel.pipelines
    many = len(pipelines) > 1
    with writer.block("MOE_DEVICE void issue()"):
        writer.line(f"if (steps_left == 0) {'advance' if many else 'open_tile'}();")
        with writer.block("if (tile.expert >= 0)"):
            writer.line("const moe::u32 base = stage * kStageBytes;")
            for number, pipeline in enumerate(pipelines):
                if many:
                    with writer.block(f"if (open == {number})"):
                        _emit_copies(writer, kernel, pipeline)
                else:
                    _emit_copies(writer, kernel, pipeline)
            writer.line("depth_left -= kStageDepth;")
        writer.lines(
            "moe::copy_commit();",
            "--steps_left;",
            "stage = stage + 1 == kStages ? 0 : stage + 1;",
        )


def _emit_copies(writer: Writer, kernel: GpuKernel, pipeline: Pipeline) -> None:
    known = None
    if pipeline.over != kernel.signature.ragged:
        known = kernel.signature.index(pipeline.over).extent
    whole = known is not None and known % pipeline.depth == 0 and kernel.schedule.split_k == 1
    left = "kStageDepth" if whole else "depth_left"
    for _, buffer in copies(pipeline):
        writer.line(f"{buffer.name}.copy({plus('base', buffer.offset)}, {left});")
