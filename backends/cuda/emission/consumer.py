"""The consumer: products of one tile, and the loop over tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import build_plan, overlaps
from moedsl.backends.cuda.emission.producer import copies, depth_extent
from moedsl.backends.cuda.emission.writer import identifier, plus
from moedsl.backends.cuda.gpu import MultiplyAdd, Side
from moedsl.ir.core import Compute
from moedsl.lower.resources import element_bytes

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel, Pipeline


def sum_name(value: str) -> str:
    """The accumulator of an IR value."""
    return f"{identifier(value)}_sum"


def sums_type(kernel: GpuKernel) -> str:
    """The type of one tile of sums in the registers of a warp, for a height kHeight."""
    shape = "Warps<kHeight>::kRows, Warps<kHeight>::kColumns"
    if kernel.signature.compute is Compute.F32:
        return f"moe::LaneSums<{shape}>"
    return f"moe::TensorSums<{shape}, {str(kernel.schedule.swap_ab).lower()}>"


def emit_run(writer: Writer, kernel: GpuKernel) -> None:
    """``run_tile``: one tile from its first stage, which has landed, to its stores."""
    names = [sum_name(v.name) for pipeline in kernel.pipelines for v in pipeline.results]
    writer.line("// One tile, whose first stage has landed in `stage`.")
    writer.line("template <int kHeight>")
    with writer.block(
        "MOE_DEVICE void run_tile(const Arguments& arguments, Producer& producer, "
        "const moe::Tile& tile, int& stage)"
    ):
        writer.line(f"using Sums = {sums_type(kernel)};")
        for name in names:
            writer.line(f"Sums {name};")
            writer.line(f"{name}.clear();")
        for number, pipeline in enumerate(kernel.pipelines):
            _emit_pipeline(writer, kernel, pipeline, number)
        arguments = ", ".join(names)
        if kernel.joins_parts:
            writer.line(f"store_parts<kHeight>(arguments, tile, {arguments});")
        else:
            writer.line(f"store_tile<kHeight>(arguments, tile, {arguments});")
    writer.line()


def _emit_pipeline(writer: Writer, kernel: GpuKernel, pipeline: Pipeline, number: int) -> None:
    tensor = kernel.signature.compute is not Compute.F32
    line_bytes = pipeline.depth * element_bytes(kernel.signature.compute)
    steps = line_bytes // (32 if tensor else 16)
    writer.line()
    writer.line(f"// Sum over {identifier(pipeline.over)}.")
    with writer.block(""):
        if number:
            writer.line("moe::copy_wait<kStages - 2>();")
            writer.line("moe::sync_cta();")
        for _, buffer in copies(pipeline):
            writer.line(f"{_fragments(kernel, buffer)} {buffer.name}{'[2]' if tensor else ''};")
        writer.lines(
            f"constexpr int kSteps = {steps};",
            "const moe::DepthRange range = moe::depth_range<kStageDepth, kSplits>("
            f"{depth_extent(kernel, pipeline)}, tile.split);",
            "moe::u32 base = stage * kStageBytes;",
        )
        if tensor:
            _emit_tensor_loop(writer, pipeline)
        else:
            _emit_lane_loop(writer, pipeline)


def _fragments(kernel: GpuKernel, buffer: Buffer) -> str:
    extent = "Warps<kHeight>::k" + ("Rows" if buffer.side is Side.ROWS else "Columns")
    tile = f"{buffer.name}_tile"
    if kernel.signature.compute is Compute.F32:
        return f"moe::LaneFragments<{tile}, {extent}, {4 if buffer.side is Side.ROWS else 8}>"
    tall = (buffer.side is Side.ROWS) != kernel.schedule.swap_ab
    return f"moe::{'Tall' if tall else 'Flat'}Fragments<{tile}, {extent}>"


def _loads(pipeline: Pipeline, part: str, step: str) -> list[str]:
    return [
        f"{buffer.name}{part}.load({plus('base', buffer.offset)}, "
        f"Warps<kHeight>::{'row' if buffer.side is Side.ROWS else 'column'}(), {step});"
        for _, buffer in copies(pipeline)
    ]


def _products(pipeline: Pipeline, part: str) -> list[str]:
    return [
        f"{sum_name(op.sum)}.multiply({op.rows}{part}, {op.columns}{part});"
        for op in pipeline.body
        if isinstance(op, MultiplyAdd)
    ]


def _emit_tensor_loop(writer: Writer, pipeline: Pipeline) -> None:
    """Fragments of the next step are read before the products of this one."""
    writer.lines(*_loads(pipeline, "[0]", "0"))
    with writer.block("for (int left = range.steps; left > 0; --left)"):
        writer.line("MOE_UNROLL")
        with writer.block("for (int step = 0; step < kSteps; ++step)"):
            with writer.block("if (step + 1 == kSteps)", "} else {"):
                writer.line("stage = stage + 1 == kStages ? 0 : stage + 1;")
                with writer.block("if (left > 1)"):
                    writer.lines(
                        "base = stage * kStageBytes;",
                        "moe::copy_wait<kStages - 2>();",
                        "moe::sync_cta();",
                        *_loads(pipeline, "[(step + 1) % 2]", "0"),
                    )
            with writer.otherwise():
                writer.lines(*_loads(pipeline, "[(step + 1) % 2]", "step + 1"))
            writer.line("if (step == 0) producer.issue();")
            writer.lines(*_products(pipeline, "[step % 2]"))


def _emit_lane_loop(writer: Writer, pipeline: Pipeline) -> None:
    with writer.block("for (int left = range.steps; left > 0; --left)"):
        writer.line("producer.issue();")
        with writer.block("for (int step = 0; step < kSteps; ++step)"):
            writer.lines(*_loads(pipeline, "", "step"), *_products(pipeline, ""))
        writer.line("stage = stage + 1 == kStages ? 0 : stage + 1;")
        with writer.block("if (left > 1)"):
            writer.lines(
                "base = stage * kStageBytes;", "moe::copy_wait<kStages - 2>();", "moe::sync_cta();"
            )


def emit_entry(writer: Writer, kernel: GpuKernel, entry: str) -> None:
    """The kernel itself."""
    counter = "arguments.counter" if kernel.schedule.persistent == "dynamic" else "nullptr"
    with writer.block(f"MOE_KERNEL(kThreads, kBlocks) {entry}(MOE_ARGUMENTS Arguments arguments)"):
        writer.lines(
            *build_plan(kernel),
            f"Producer producer(arguments, plan, {counter});",
            "MOE_ROLL",
            "for (int ahead = 1; ahead < kStages; ++ahead) producer.issue();",
            "int stage = 0;",
            "int ring_slot = 0;",
        )
        with writer.block("for (;;)"):
            writer.lines(
                "moe::copy_wait<kStages - 2>();",
                "moe::sync_cta();",
                "const moe::Tile tile =",
                "    moe::shared_load<moe::Tile>(kRing + ring_slot * int(sizeof(moe::Tile)));",
                "ring_slot = ring_slot + 1 == kRingSlots ? 0 : ring_slot + 1;",
                "if (tile.expert < 0) break;",
            )
            emit_height_switch(writer, kernel, "tile.height", "arguments, producer, tile, stage")
        if overlaps(kernel):
            writer.line("moe::allow_next_launch();")
        writer.line("producer.walk.leave();")


def emit_height_switch(writer: Writer, kernel: GpuKernel, height: str, arguments: str) -> None:
    """``run_tile`` for a tile of this height; the lowest is the default."""
    *higher, lowest = kernel.schedule.heights
    if not higher:
        writer.line(f"run_tile<{lowest}>({arguments});")
        return
    with writer.block(f"switch ({height})"):
        for each in higher:
            writer.line(f"case {each}: run_tile<{each}>({arguments}); break;")
        writer.line(f"default: run_tile<{lowest}>({arguments});")
