"""From a tile kernel to one self-contained unit of CUDA C."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import GeneratedKernel, GridRule, WorkspacePart, WorkspaceRule
from moedsl.backends.cuda.emission import fills, groups, products, roles, tensor_store
from moedsl.backends.cuda.emission.arguments import argument_struct, emit_arguments, overlaps
from moedsl.backends.cuda.emission.constants import emit_constants, emit_order, emit_tiles
from moedsl.backends.cuda.emission.consumer import emit_entry, emit_run
from moedsl.backends.cuda.emission.epilogue import emit_outputs, emit_store_tile
from moedsl.backends.cuda.emission.producer import emit_producer
from moedsl.backends.cuda.emission.wgmma import WGMMA_PART, wgmma_text
from moedsl.backends.cuda.emission.writer import Writer, identifier
from moedsl.backends.cuda.gpu import RoleName
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.ir.core import Compute
from moedsl.ir.schedule import EpilogueStore, Persistence
from moedsl.lower.resources.specialised import consumers_of_tile

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.tile import TileKernel


_SPECIALISED_PARTS = (
    *("words", "memory", "async", "convert", "math", "hopper_barrier", "hopper_bulk"),
    *(
        "hopper_tensor",
        "hopper_warp",
        "hopper_cluster",
        "hopper_launch",
        "hopper_wgmma",
        WGMMA_PART,
        "plan",
        "walk",
        "ring",
        "boxes",
    ),
    *("groups", "epilogue", "group_epilogue"),
)


def generate(kernel: TileKernel, access: AccessModes) -> GeneratedKernel:
    """CUDA C of ``kernel``, whose schedule is legal on its target, for arrays with ``access``."""
    lowered = lower_to_gpu(kernel, access)
    arguments = argument_struct(lowered)
    schedule, signature = lowered.schedule, lowered.signature
    return GeneratedKernel(
        source=emit_unit(lowered),
        entry=entry_name(lowered),
        threads=lowered.resources.threads,
        shared_bytes=lowered.resources.shared.bytes,
        min_blocks=lowered.resources.blocks,
        arguments=arguments.fields,
        argument_bytes=arguments.bytes,
        grid=GridRule(
            persistent=schedule.persistent is not Persistence.OFF,
            row_grouped=signature.row_grouped,
            experts=signature.expert_count,
            rows=signature.rows,
            columns=signature.columns,
            tile_rows=schedule.tile.rows,
            tile_columns=schedule.tile.columns,
            split_k=schedule.split_k,
            cluster=schedule.cluster,
        ),
        cluster=schedule.cluster,
        workspace=_workspace(lowered),
        overlaps=overlaps(lowered),
    )


def entry_name(kernel: GpuKernel) -> str:
    """The name of the kernel in the unit; the prefix keeps it apart from C's own words."""
    return f"moedsl_{identifier(kernel.signature.name)}"


def emit_unit(kernel: GpuKernel) -> str:
    """The text of the whole unit: what it needs of the prelude, then the kernel."""
    writer = Writer(f"{identifier(kernel.signature.name)}.cu")
    # The emulator knows the parts by these lines: it has other halves of some of them.
    for name in prelude_parts(kernel):
        if name == WGMMA_PART:
            writer.text(wgmma_text(products.products(kernel)))
        else:
            writer.line(f"// prelude/{name}.cuh")
            writer.text(prelude_text(name))
        writer.line()
    writer.line("// kernel")
    emit_kernel(writer, kernel)
    return writer.finish()


def emit_kernel(writer: Writer, kernel: GpuKernel) -> None:
    """What is this kernel's own, without the prelude."""
    emit_arguments(writer, argument_struct(kernel))
    writer.line()
    emit_constants(writer, kernel)
    emit_order(writer, kernel)
    if kernel.schedule.specialised:
        _emit_specialised(writer, kernel)
        return
    emit_tiles(writer, kernel)
    emit_producer(writer, kernel)
    emit_outputs(writer, kernel)
    emit_store_tile(writer, kernel)
    emit_run(writer, kernel)
    emit_entry(writer, kernel, entry_name(kernel))


def _emit_specialised(writer: Writer, kernel: GpuKernel) -> None:
    groups.emit_groups(writer, kernel)
    roles.emit_scheduler(writer, kernel)
    fills.emit_producers(writer, kernel)
    if kernel.epilogue.store is EpilogueStore.TMA:
        tensor_store.emit_store_tile(writer, kernel)
    else:
        emit_outputs(writer, kernel)
        groups.emit_store_tile(writer, kernel)
    groups.emit_release(writer, kernel)
    groups.emit_turns(writer, kernel)
    groups.emit_run(writer, kernel)
    groups.emit_consumer(writer, kernel)
    roles.emit_entry(writer, kernel, entry_name(kernel))


def prelude_parts(kernel: GpuKernel) -> list[str]:
    """The files of the prelude that a unit needs, in order."""
    if kernel.schedule.specialised:
        more = ["gather"] if kernel.role(RoleName.ROWS).gathers else []
        if any(products.reads_fragments(kernel, pipeline) for pipeline in kernel.pipelines):
            more += ["mma", "fragments"]
        split = ["group_split"] if kernel.schedule.split_k > 1 else []
        return [*_SPECIALISED_PARTS, *more, *split]
    sums = "simt" if kernel.signature.compute is Compute.F32 else "tensor_core"
    parts = ["words", "memory", "async", "convert", "math", "operand", "plan", "walk"]
    if sums == "tensor_core":
        parts.append("mma")
    parts += [sums, "epilogue"]
    if kernel.schedule.split_k > 1:
        parts.append("split")
    if overlaps(kernel):
        parts.append("hopper_launch")
    return parts


@cache
def prelude_text(name: str) -> str:
    """One file of the prelude."""
    return (files("moedsl.backends.cuda") / "prelude" / f"{name}.cuh").read_text("utf-8")


def _workspace(kernel: GpuKernel) -> tuple[WorkspaceRule, ...]:
    schedule = kernel.schedule
    rules = []
    if schedule.persistent is Persistence.DYNAMIC:
        rules.append(WorkspaceRule(WorkspacePart.COUNTER, fixed=8))
    if schedule.split_k > 1:
        tile = schedule.tile.rows * schedule.tile.columns * 4
        partials = schedule.split_k * kernel.resources.sums_count * tile
        sharing = consumers_of_tile(schedule) if schedule.specialised else 1
        rules.append(WorkspaceRule(WorkspacePart.SEMAPHORES, per_tile=4 * sharing))
        rules.append(WorkspaceRule(WorkspacePart.PARTIALS, per_tile=partials))
    return tuple(rules)
