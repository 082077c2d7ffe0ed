"""Consumers: how warpgroups share tiles and take turns, and how sums leave."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.consumer import emit_height_switch, sum_name
from moedsl.backends.cuda.emission.epilogue import outside, plane, sum_names
from moedsl.backends.cuda.emission.fills import TILES, emit_range, filled_bytes, stages_alike
from moedsl.backends.cuda.emission.products import emit_pipeline, starts_sums
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.ir.schedule import Cooperation, EpilogueStore
from moedsl.lower.resources.specialised import TALL

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.lower.resources import WarpLayout


_KEPT = {"Kept&": "kept", "moe::Ring<kRingSlots>&": "tiles", "moe::Tile&": "next"}
"""Types and names of what consumers that keep outputs hand from tile to tile."""
_AHEAD_REGISTERS = 144
"""Of a thread, for the next part of all splits and what comes of them; with more, ptxas spills."""


def _sides(kernel: GpuKernel, layout: WarpLayout) -> tuple[int, int]:
    """Positions of the tall and of the flat side that a consumer multiplies."""
    rows = layout.height // layout.rows
    columns = kernel.schedule.tile.columns // layout.columns
    return (columns, rows) if kernel.schedule.swap_ab else (rows, columns)


def emit_groups(writer: Writer, kernel: GpuKernel) -> None:
    """How the consumers share a tile, by its height, and the blocks in which operands lie."""
    writer.lines("// How the consumers share a tile, by its height.", "template <int kHeight>")
    writer.lines("struct Groups;", "")
    for layout in kernel.resources.layouts:
        tall, flat = _sides(kernel, layout)
        with writer.block(f"template <>\nstruct Groups<{layout.height}>", "};"):
            writer.lines(
                f"static constexpr int kTall = {tall // TALL};",
                f"static constexpr int kFlat = {flat};",
            )
            rows = layout.height // layout.rows
            columns = kernel.schedule.tile.columns // layout.columns
            alone = layout.rows * layout.columns == 1
            row = "0" if alone else f"group / {layout.columns} * {rows}"
            column = "0" if alone else f"group % {layout.columns} * {columns}"
            with writer.block("static MOE_DEVICE int row(int group)"):
                writer.line(f"return {row};")
            with writer.block("static MOE_DEVICE int column(int group)"):
                writer.line(f"return {column};")
        writer.line()
    _emit_stage_tables(writer, kernel)


def _emit_stage_tables(writer: Writer, kernel: GpuKernel) -> None:
    heights, shared = sorted(kernel.schedule.heights), kernel.resources.shared
    writer.line("// Bytes of a stage of a tile of this height.")
    for number, pipeline in enumerate(kernel.pipelines):
        with writer.block(f"MOE_DEVICE constexpr moe::u32 stage_bytes{number}(int height)"):
            if stages_alike(kernel):
                writer.line(f"return {shared.stage_bytes};")
            else:
                filled = filled_bytes(kernel, pipeline.buffers, "height")
                least = shared.least_stage_bytes
                writer.lines(
                    f"const moe::u32 filled = kStageBlocks * ({filled});",
                    f"return filled < {least} ? {least} : filled;",
                )
    writer.line("using Stages = moe::Stages<kStageSlots, kStagesBytes>;")
    writer.line()
    writer.line("// The place of a height among all of them, the highest first.")
    with writer.block("MOE_DEVICE int height_index(int height)"):
        steps = {high - low for low, high in pairwise(heights)}
        if len(steps) == 1:
            writer.line(f"return ({heights[-1]} - height) / {steps.pop()};")
        else:
            for place, height in enumerate(kernel.schedule.heights[:-1]):
                writer.line(f"if (height == {height}) return {place};")
            writer.line(f"return {len(heights) - 1};")
    writer.line()


def sums_type(kernel: GpuKernel) -> str:
    """The type of one sum of a consumer, for a height kHeight."""
    swap = str(kernel.schedule.swap_ab).lower()
    return f"moe::GroupSums<Groups<kHeight>::kTall, Groups<kHeight>::kFlat, {swap}>"


def leaving_type(kernel: GpuKernel) -> str:
    """The type of what leaves of one sum: with split_k, what all splits have left of it."""
    own = sums_type(kernel)
    if not kernel.joins_parts:
        return own
    return f"moe::JoinedSums<kSplits, {str(_fetches_ahead(kernel)).lower()}, {own}>"


def _fetches_ahead(kernel: GpuKernel) -> bool:
    """Whether the next part is on its way while one leaves; a thread has 16 sums of each."""
    sums, splits = len(sum_names(kernel)), kernel.schedule.split_k
    return 16 * sums * (splits + 1) <= _AHEAD_REGISTERS


def sum_parameters(kernel: GpuKernel, *, finished: bool = True) -> str:
    """All that leaves, behind other parameters of a function; ``finished`` unless products may be
    under way.
    """
    constant = "const " if finished and not kernel.joins_parts else ""
    return "".join(f", {constant}{leaving_type(kernel)}& {name}" for name in sum_names(kernel))


def kept_parameters(kernel: GpuKernel) -> str:
    """What goes on from tile to tile, behind other parameters of a function."""
    parameters = "".join(f", {kind} {name}" for kind, name in _KEPT.items())
    return parameters if kernel.resources.kept else ""


def _kept_arguments(kernel: GpuKernel) -> str:
    return "".join(f", {name}" for name in _KEPT.values()) if kernel.resources.kept else ""


def emit_run(writer: Writer, kernel: GpuKernel) -> None:
    """``run_tile``: the products of one tile, from its first stage to its stores."""
    names = sum_names(kernel)
    writer.line("// One tile by consumer `group`.")
    writer.line("template <int kHeight>")
    with writer.block(
        "MOE_DEVICE void run_tile(const Arguments& arguments, const moe::Tile& tile, "
        f"Stages& stages, int group{kept_parameters(kernel)})"
    ):
        writer.line(f"using Sums = {sums_type(kernel)};")
        for pipeline in kernel.pipelines:
            clears = not starts_sums(kernel, pipeline)
            for name in (sum_name(value.name) for value in pipeline.results):
                writer.lines(f"Sums {name};", *([f"{name}.clear();"] if clears else []))
        for number, pipeline in enumerate(kernel.pipelines):
            writer.line(f"// Sum over {identifier(pipeline.over)}.")
            with writer.block(""):
                emit_pipeline(writer, kernel, pipeline, number)
        if kernel.schedule.cooperation is Cooperation.PINGPONG:
            writer.line("pass_turn(group);")
        leaving = _emit_join(writer, kernel, names) if kernel.joins_parts else names
        handed = f"arguments, tile, group{_kept_arguments(kernel)}"
        writer.line(f"store_tile<kHeight>({handed}, {', '.join(leaving)});")
    writer.line()


def _emit_join(writer: Writer, kernel: GpuKernel, names: list[str]) -> list[str]:
    """Leave the sums of this split; the last one to come goes on with those of all, whose names are
    returned.
    """
    pingpong = kernel.schedule.cooperation is Cooperation.PINGPONG
    sharing = 1 if pingpong else kernel.schedule.consumers
    share = f"tile.number * {sharing}{'' if pingpong else ' + group'}"
    writer.lines(
        f"constexpr int kSums = {len(names)};",
        "constexpr int kSumFloats = Order::kTileRows * Order::kTileColumns"
        + (f" / {sharing};" if sharing > 1 else ";"),
        "constexpr moe::i64 kSplitFloats = kSums * kSumFloats;",
        f"const int share = {share};  // what this consumer has of all tiles",
        "float* const splits = arguments.partials + share * (kSplits * kSplitFloats);",
        "float* const own = splits + tile.split * kSplitFloats;",
    )
    for place, name in enumerate(names):
        writer.line(f"moe::store_sums({plane('own', place, 'kSumFloats')}, {name});")
    writer.lines(
        "const moe::u32 scratch = kScratch + group * 4;",
        "if (!moe::arrive_last_group(arguments.semaphores + share, kSplits, scratch, 1 + group)) {",
        "    return;",
        "}",
    )
    joined = [f"{name}_joined" for name in names]
    for place, name in enumerate(joined):
        source = plane("splits", place, "kSumFloats")
        writer.line(f"{leaving_type(kernel)} {name}({source}, kSplitFloats);")
    return joined


def emit_consumer(writer: Writer, kernel: GpuKernel) -> None:
    """``consume``: tile after tile; ``release``: a stage has been read."""
    pingpong = kernel.schedule.cooperation is Cooperation.PINGPONG
    keeps = kernel.resources.kept is not None
    with writer.block("MOE_DEVICE void consume(const Arguments& arguments, int group)"):
        writer.lines("moe::Ring<kRingSlots> tiles;", "Stages stages;")
        take = f"moe::take_tile<Order>(tiles, {TILES});"
        if keeps:
            writer.lines("Kept kept;", f"moe::Tile next = {take}")
        writer.line("MOE_ROLL")
        with writer.block("for (;;)"):
            if pingpong:
                consumers = kernel.schedule.consumers
                writer.lines(
                    f'static_assert(kRingSlots == {consumers}, "each consumer has its own slot");',
                    "const bool mine = tiles.slot == group;",
                    "// The first consumer's first turn does not wait for another's.",
                    "const moe::u32 parity = group == 0 ? tiles.parity ^ 1 : tiles.parity;",
                )
            writer.line(f"const moe::Tile tile = {'next;' if keeps else take}")
            writer.line("if (tile.expert < 0) break;")
            if pingpong:
                with writer.block("if (!mine)"):
                    writer.lines("skip_tile(arguments, tile, stages);", "continue;")
                writer.line("moe::barrier_wait(kTurn + group * 8, parity);")
            arguments = f"arguments, tile, stages, group{_kept_arguments(kernel)}"
            emit_height_switch(writer, kernel, "moe::uniform(tile.height)", arguments)
        if keeps:
            writer.line("store_kept(arguments, kept, group);")
        if kernel.epilogue.store is EpilogueStore.TMA:
            leads = "moe::lane_index()" if keeps else "moe::group_thread()"
            writer.line(f"if ({leads} == 0) moe::bulk_wait<0>();")
    writer.line()


def emit_turns(writer: Writer, kernel: GpuKernel) -> None:
    """``pass_turn``: the next consumer may multiply; ``skip_tile``: what passes meanwhile."""
    if kernel.schedule.cooperation is not Cooperation.PINGPONG:
        return
    consumers = kernel.schedule.consumers
    writer.line("// Every stage of this consumer's tile has been full: the next one may go on.")
    with writer.block("MOE_DEVICE void pass_turn(int group)"):
        writer.lines(
            f"const int next = group + 1 == {consumers} ? 0 : group + 1;",
            "// A tile without depth has no product for which all lanes have met.",
            "moe::sync_warp();",
            "if (moe::lane_index() == 0) moe::barrier_arrive(kTurn + next * 8);",
        )
    writer.line()
    writer.line("// Goes past the stages of another consumer's tile.")
    with writer.block(
        "MOE_DEVICE void skip_tile("
        "const Arguments& arguments, const moe::Tile& tile, Stages& stages)"
    ):
        for number, pipeline in enumerate(kernel.pipelines):
            with writer.block(""):
                emit_range(writer, kernel, pipeline.over)
                writer.line(f"stages.skip(stages_left, stage_bytes{number}(tile.height));")
    writer.line()


def emit_release(writer: Writer, kernel: GpuKernel) -> None:
    """``release``: this warp is done with a stage."""
    cluster = kernel.schedule.cluster
    writer.line("// Whatever was in a stage, this warp is done with it.")
    with writer.block("MOE_DEVICE void release(int stage)"):
        which = f"moe::lane_index() < {cluster}" if cluster > 1 else "moe::lane_index() == 0"
        arrive = f"moe::arrive_at<{cluster}>(kEmpty + stage * 8, moe::lane_index());"
        writer.line(f"if ({which}) {arrive}")
    writer.line()
    if kernel.resources.kept:
        writer.lines(
            "// Stores what is left of the tile before; its stage is free once the copy engine has",
            "// read it. Threads wrote there, but showed that to the copy engine before: whoever",
            "// copies next is later.",
        )
        with writer.block(
            "MOE_DEVICE void store_kept(const Arguments& arguments, Kept& kept, int group)"
        ):
            writer.lines(
                "if (kept.slot < 0) return;",
                "store_parts(arguments, kept, group, kTalls - 1);",
                "const bool lent = moe::warp_index() % 4 < kept.parts - kBeside;",
                "if (lent && moe::lane_index() == 0) moe::bulk_wait_read<0>();",
                "moe::sync_warp();",
                "release(kept.slot);",
                "kept.slot = -1;",
            )
        writer.line()


def emit_store_tile(writer: Writer, kernel: GpuKernel) -> None:
    """``store_tile``: sums through shared memory, part by part, to ``write_outputs``."""
    names = sum_names(kernel)
    writer.line("// Takes the sums through shared memory, part by part, to the outputs.")
    writer.line("template <int kHeight>")
    with writer.block(
        "MOE_DEVICE void store_tile(const Arguments& arguments, const moe::Tile& tile, "
        f"int group{sum_parameters(kernel)})"
    ):
        writer.lines(
            f"using Sums = {leaving_type(kernel)};",
            "constexpr moe::u32 kPlane = Sums::kPartRows * Sums::kPitch * 4;",
            "constexpr int kPerRow = Sums::kPartColumns / kVector;",
            "const moe::u32 staged = kStaging + group * kStagingBytes;",
            "const int named = 1 + group;",
            "MOE_ROLL",
        )
        with writer.block("for (int part = 0; part < Sums::kParts; ++part)"):
            writer.line("moe::named_sync(named, moe::kGroupThreads);")
            for place, name in enumerate(names):
                target = plane("staged", place, "kPlane")
                with writer.block(""):
                    writer.lines(
                        "float taken[4][4];",
                        f"{name}.take(taken, part);",
                        f"Sums::stage({target}, part, taken);",
                    )
            writer.lines(
                "moe::named_sync(named, moe::kGroupThreads);",
                "MOE_ROLL",
            )
            with writer.block(
                "for (int v = moe::group_thread(); v < Sums::kPartRows * kPerRow; "
                "v += moe::kGroupThreads)"
            ):
                writer.lines(
                    "const int own_row = Sums::part_row(part) + v / kPerRow;",
                    "const int own_column = Sums::part_column(part) + v % kPerRow * kVector;",
                    "if (Sums::beyond(own_row, own_column)) continue;",
                    "const int row = Groups<kHeight>::row(group) + own_row;",
                    "const int column = Groups<kHeight>::column(group) + own_column;",
                    outside(kernel),
                    "const moe::u32 at = staged + (v / kPerRow * Sums::kPitch"
                    " + v % kPerRow * kVector) * 4;",
                )
                for place, name in enumerate(names):
                    writer.line(f"float {name}_part[kVector];")
                    writer.line(f"moe::load_staged({name}_part, {plane('at', place, 'kPlane')});")
                parts = ", ".join(f"{name}_part" for name in names)
                writer.line(f"write_outputs(arguments, tile, row, column, {parts});")
    writer.line()
