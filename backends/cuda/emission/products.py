"""Products of a consumer: the instructions, and the loop over the stages of a sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import factor_type
from moedsl.backends.cuda.emission.consumer import sum_name
from moedsl.backends.cuda.emission.fills import block_place, emit_range, operand_place
from moedsl.backends.cuda.emission.wgmma import Major, WgmmaShape, WgmmaType
from moedsl.backends.cuda.gpu import MultiplyAdd, RoleName, Side
from moedsl.ir.core import Compute
from moedsl.lower.resources.specialised import (
    from_registers,
    gathered,
    peels_first,
    product_flat,
)

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel, Pipeline

_TYPES = {
    Compute.BF16: WgmmaType.BF16,
    Compute.F16: WgmmaType.F16,
    Compute.TF32: WgmmaType.TF32,
}


_NEXT_STAGE = ("before = stages.ring.slot;", "stages.advance(kBytes);")


def products(kernel: GpuKernel) -> tuple[WgmmaShape, ...]:
    """The instructions that ``kernel`` uses."""
    swap, width = kernel.schedule.swap_ab, kernel.schedule.tile.columns
    kind = _TYPES[kernel.signature.compute]
    found = []
    for pipeline in kernel.pipelines:
        fragments = _fragments(kernel, pipeline)
        for op in pipeline.body:
            assert isinstance(op, MultiplyAdd)
            tall, flat = map(kernel.buffer, _sides(kernel, op))
            left = None if tall in fragments else _major(tall)
            found += [
                WgmmaShape(kind, product_flat(each, width, swap), left, _major(flat))
                for each in kernel.resources.layouts
            ]
    return tuple(found)


def reads_fragments(kernel: GpuKernel, pipeline: Pipeline) -> bool:
    """Whether products of ``pipeline`` take an operand from registers."""
    return bool(_fragments(kernel, pipeline))


def _tall(kernel: GpuKernel, pipeline: Pipeline) -> list[Buffer]:
    """The buffers of the tall side."""
    side = Side.COLUMNS if kernel.schedule.swap_ab else Side.ROWS
    return [buffer for buffer in pipeline.buffers if buffer.side is side]


def _fragments(kernel: GpuKernel, pipeline: Pipeline) -> list[Buffer]:
    """Those of them that consumers bring to registers."""
    compute = kernel.signature.compute
    return [
        buffer
        for buffer in _tall(kernel, pipeline)
        if from_registers(kernel.copied(buffer.name), pipeline.over, compute)
    ]


def _sides(kernel: GpuKernel, op: MultiplyAdd) -> tuple[str, str]:
    """The buffers of the tall and of the flat side."""
    return (op.columns, op.rows) if kernel.schedule.swap_ab else (op.rows, op.columns)


def emit_pipeline(writer: Writer, kernel: GpuKernel, pipeline: Pipeline, number: int) -> None:
    """The products of sum ``number`` of one tile, stage by stage.

    Where outputs are kept in the last stage, that is not released, and the products of the last sum
    are under way: ``store_tile`` finishes them, those of each 64 columns by themselves.
    """
    emit_range(writer, kernel, pipeline.over)
    writer.line(f"constexpr moe::u32 kBytes = stage_bytes{number}(kHeight);")
    for buffer in pipeline.buffers:
        positions = "kHeight" if buffer.side is Side.ROWS else str(buffer.positions)
        major = "moe::by_depth" if buffer.depth_inner else "moe::by_outer"
        block = f"moe::Block<{factor_type(kernel)}, {positions}, {major}>"
        writer.line(f"using {buffer.name}_block = {block};")
    fragments = _fragments(kernel, pipeline)
    if fragments:
        _emit_stages_by_step(writer, kernel, pipeline, fragments)
    else:
        _emit_stages(writer, kernel, pipeline, number)
    if _keeps_last(kernel, number):
        writer.lines("kept.slot = before;", "kept.base = base;")
        return
    for op in pipeline.results:
        writer.line(f"{sum_name(op.name)}.finish();")
    if not fragments:
        writer.line(_release_before(kernel, pipeline))


def starts_sums(kernel: GpuKernel, pipeline: Pipeline) -> bool:
    """Whether the first product of a sum writes it."""
    tall = [kernel.copied(buffer.name) for buffer in _tall(kernel, pipeline)]
    return peels_first(kernel.signature, kernel.schedule, pipeline.over, tall)


def _keeps_last(kernel: GpuKernel, number: int) -> bool:
    """Whether the last stage of sum ``number`` is kept for outputs."""
    return kernel.resources.kept is not None and number == len(kernel.pipelines) - 1


def _wait_full(kernel: GpuKernel) -> tuple[str, ...]:
    """Until a stage has landed. What threads have copied there the tensor cores may read then, and
    the copy engine may write over it: columns of another sum may come to lie where rows were.
    """
    wait = "stages.ring.wait_full(kFull);"
    by_threads = kernel.role(RoleName.ROWS).gathers
    return (wait, "moe::fence_async();  // rows were copied by threads") if by_threads else (wait,)


def _release_before(kernel: GpuKernel, pipeline: Pipeline) -> str:
    """There is a stage before, once the first has been peeled off the loop."""
    there = "" if starts_sums(kernel, pipeline) else "if (before >= 0) "
    return f"{there}release(before);"


def _emit_stages(writer: Writer, kernel: GpuKernel, pipeline: Pipeline, number: int) -> None:
    """All operands in shared memory. The products of a stage are one group, or one for every 64
    tall positions, whose outputs can leave while the last products of the next 64 go on.
    """
    writer.line("int before = -1;  // the stage before, whose products may be under way")
    base = "const moe::u32 base"
    if _keeps_last(kernel, number):
        base = "base"
        writer.line("moe::u32 base = 0;")
    if starts_sums(kernel, pipeline):
        with writer.block(""):
            _emit_stage(writer, kernel, pipeline, base, first=True)
            if kernel.resources.kept and number == 0:
                writer.line("store_kept(arguments, kept, group);")
            writer.lines(*_NEXT_STAGE, "--stages_left;")
    writer.line("MOE_ROLL")
    with writer.block("for (; stages_left > 0; --stages_left)"):
        _emit_stage(writer, kernel, pipeline, base)
        groups = "Sums::kTall" if kernel.resources.kept else "1"
        wait = f"moe::group_wait<{groups}>();"
        writer.lines(wait, _release_before(kernel, pipeline), *_NEXT_STAGE)


def _emit_stage(
    writer: Writer, kernel: GpuKernel, pipeline: Pipeline, base: str, *, first: bool = False
) -> None:
    """The products of a stage, once it is full; the ``first`` one's write their sums."""
    writer.lines(
        f"{base} = moe::uniform(stages.start(kBytes));",
        *_wait_full(kernel),
        "moe::group_fence();",
    )
    if kernel.resources.kept:
        writer.line("MOE_UNROLL")
        with writer.block("for (int tall = 0; tall < Sums::kTall; ++tall)"):
            _emit_group(writer, kernel, pipeline, first)
    else:
        _emit_group(writer, kernel, pipeline, first)


def _emit_group(writer: Writer, kernel: GpuKernel, pipeline: Pipeline, first: bool) -> None:
    writer.line("MOE_UNROLL")
    with writer.block("for (int block = 0; block < kStageBlocks; ++block)"):
        for buffer in pipeline.buffers:
            _emit_descriptor(writer, kernel, buffer)
        writer.line("MOE_UNROLL")
        with writer.block("for (int step = 0; step < 4; ++step)"):
            _emit_products(writer, kernel, pipeline, [], ", block + step == 0" if first else "")
    writer.line("moe::group_commit();")


def _emit_stages_by_step(
    writer: Writer, kernel: GpuKernel, pipeline: Pipeline, fragments: list[Buffer]
) -> None:
    """The products of a step are a group: while they go on, the next step comes to registers.

    None goes on from a stage to the next: the compiler would keep registers for it from the
    kernel's start to its end, for every height.
    """
    for buffer in fragments:
        rounds = str(gathered(kernel.copied(buffer.name))).lower()
        kind = f"moe::Fragments<{buffer.name}_block, Groups<kHeight>::kTall, {rounds}>"
        writer.lines(
            f"using {buffer.name}_fragments = {kind};",
            f"{buffer.name}_fragments {buffer.name}_read[2];  // of two steps, in turn",
        )
    with writer.block("if (stages_left > 0)"):
        writer.lines(
            "moe::u32 base = moe::uniform(stages.start(kBytes));",
            *_wait_full(kernel),
        )
        _emit_loads(writer, fragments, "0")
        writer.line("MOE_ROLL")
        with writer.block("for (; stages_left > 0; --stages_left)"):
            _emit_steps(writer, kernel, pipeline, fragments)
            # Within a branch this would make the compiler wait for each product (C7513).
            writer.lines(
                "moe::sync_warp();  // all lanes have read the stage",
                "const int stage = stages.ring.slot;",
                "stages.advance(kBytes);",
                "base = moe::uniform(stages.start(kBytes));",
            )
            with writer.block("if (stages_left > 1)"):
                writer.lines(*_wait_full(kernel))
                _emit_loads(writer, fragments, "0")
            writer.lines("moe::group_wait<0>();", "release(stage);")


def _emit_steps(
    writer: Writer, kernel: GpuKernel, pipeline: Pipeline, fragments: list[Buffer]
) -> None:
    """All steps of a stage, of which the first is in registers."""
    writer.line("MOE_UNROLL")
    with writer.block("for (int block = 0; block < kStageBlocks; ++block)"):
        for buffer in pipeline.buffers:
            if buffer not in fragments:
                _emit_descriptor(writer, kernel, buffer)
        writer.line("MOE_UNROLL")
        with writer.block("for (int step = 0; step < 4; ++step)"):
            writer.line("moe::group_fence();")
            _emit_products(writer, kernel, pipeline, fragments)
            writer.lines(
                "moe::group_commit();",
                "moe::group_wait<1>();",
                "const int next = block * 4 + step + 1;",
            )
            with writer.block("if (next < kStageBlocks * 4)"):
                _emit_loads(writer, fragments, "next")


def _emit_descriptor(writer: Writer, kernel: GpuKernel, buffer: Buffer) -> None:
    name = buffer.name
    place = block_place(kernel, buffer, f"{name}_block::kBytes")
    writer.line(f"const moe::u64 {name} = {name}_block::describe({place}, {_first(buffer)});")


def _emit_loads(writer: Writer, fragments: list[Buffer], step: str) -> None:
    """Brings ``step`` of the stage at ``base`` to the registers that are its turn."""
    for buffer in fragments:
        name = buffer.name
        place = f"{name}_fragments::place({operand_place(buffer)}, {_first(buffer)})"
        writer.line(f"{name}_read[{step} % 2].load({place}, {step});")


def _first(buffer: Buffer) -> str:
    """The consumer's first position."""
    return f"Groups<kHeight>::{'row' if buffer.side is Side.ROWS else 'column'}(group)"


def _emit_products(
    writer: Writer,
    kernel: GpuKernel,
    pipeline: Pipeline,
    fragments: list[Buffer],
    first: str = "",
) -> None:
    """``first``, as one more argument, says whether the products write their sums."""
    kind = factor_type(kernel)
    for op in pipeline.body:
        assert isinstance(op, MultiplyAdd)
        tall, flat = map(kernel.buffer, _sides(kernel, op))
        sides = [
            f"moe::advanced({buffer.name}, step * {buffer.name}_block::kStep)"
            for buffer in (tall, flat)
        ]
        blocks = f"{tall.name}_block, {flat.name}_block"
        majors = f"{int(_major(tall))}, {int(_major(flat))}"
        if tall in fragments:
            sides[0] = f"{tall.name}_read[step % 2].word"
            blocks = f"{flat.name}_block"
            majors = f"0, {int(_major(flat))}"
        product = "multiply"
        if kernel.resources.kept:
            product, sides = "multiply_tall", ["tall", *sides]
        with writer.from_source(kernel.source, op.span):
            writer.line(
                f"{sum_name(op.sum)}.template {product}<{blocks}>({', '.join(sides)}, "
                f"moe::Product<{kind}, {majors}>{{}}{first});"
            )


def _major(buffer: Buffer) -> Major:
    return Major.DEPTH if buffer.depth_inner else Major.OUTER
