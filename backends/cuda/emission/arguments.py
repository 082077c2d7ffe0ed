"""The argument struct, and how other parts of the unit name what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import (
    ArgumentField,
    IndexExtent,
    OffsetsPointer,
    TensorPointer,
    TensorStride,
    WorkspacePart,
    WorkspacePointer,
)
from moedsl.backends.cuda.emission.maps import map_arrays
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.backends.cuda.tensor_map import MAP_ALIGNMENT, MAP_BYTES
from moedsl.ir.core import Compute, DType, IndexKind, Role
from moedsl.ir.schedule import Persistence
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import ArgumentSource
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.core import Access, Coordinate, Tensor

_TYPES = {DType.BF16: "moe::bf16", DType.F16: "moe::f16", DType.F32: "float", DType.I32: "int"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The struct's fields in order, and the C declarations of its members with their comments.

    Tensor maps come first, those that differ only in their boxes as one array. ``bytes`` is the
    size of the struct.
    """

    fields: tuple[ArgumentField, ...]
    declarations: tuple[tuple[str, str], ...]

    bytes: int


def element_type(dtype: DType) -> str:
    """The C type of a tensor's elements."""
    return _TYPES[dtype]


def factor_type(kernel: GpuKernel) -> str:
    """The C type of factors in shared memory."""
    match kernel.signature.compute:
        case Compute.TF32:
            return "moe::tf32"
        case Compute.F32:
            return "float"
        case Compute.F16:
            return "moe::f16"
        case Compute.BF16:
            return "moe::bf16"


def pointer(tensor: str) -> str:
    """The address of a tensor's element 0."""
    return f"arguments.{identifier(tensor)}_ptr"


def stride(tensor: str, dim: int) -> str:
    """Elements between neighbours along one dimension."""
    return f"arguments.{identifier(tensor)}_stride{dim}"


def extent(kernel: GpuKernel, index: str) -> str:
    """The extent of an index that is not ragged, as an int."""
    known = kernel.signature.index(index).extent
    if known is not None:
        return f"{identifier(index)}_extent"
    return f"static_cast<int>(arguments.{identifier(index)}_extent)"


def first_row(kernel: GpuKernel) -> str:
    """Where the rows of ``tile`` start in the tensors that have them."""
    return "tile.start + tile.row" if kernel.signature.row_grouped else "tile.row"


def overlaps(kernel: GpuKernel) -> bool:
    """Whether launches may start before the one before them in their stream has ended."""
    return TARGETS[kernel.target].overlapping_launches


def build_plan(kernel: GpuKernel) -> list[str]:
    """The statements that derive ``plan`` from ``offs``; nothing is read or written before."""
    signature = kernel.signature
    rows = "0" if signature.row_grouped else extent(kernel, signature.rows)
    return [
        *(["moe::wait_for_previous_launch();"] if overlaps(kernel) else []),
        "moe::Plan<Order> plan;",
        f"plan.build(arguments.offs, {rows}, {extent(kernel, signature.columns)});",
    ]


def mapped(coordinate: Coordinate, at: str) -> str:
    """The position that a coordinate selects where its index stands at ``at``."""
    if coordinate.via is None:
        return at
    return f"moe::global_load({pointer(coordinate.via)} + {at} * {stride(coordinate.via, 0)})"


def offset(access: Access, at: dict[str, str]) -> str:
    """Elements from element 0 to where the indices of ``at`` stand; the others stand at 0."""
    terms = [
        f"{mapped(coordinate, at[coordinate.index])} * {stride(access.tensor, dim)}"
        for dim, coordinate in enumerate(access.coordinates)
        if coordinate.index in at
    ]
    return " + ".join(terms) if terms else "0"


def argument_struct(kernel: GpuKernel) -> Arguments:
    """Every tensor with its strides, dynamic extents, ``offs`` and the workspace."""
    signature, schedule = kernel.signature, kernel.schedule
    sources: list[tuple[str, str, str, ArgumentSource]] = []
    for tensor in signature.tensors:
        name = identifier(tensor.name)
        constant = "const " if tensor.role is Role.INPUT else ""
        declared = f"{constant}{element_type(tensor.dtype)}* {name}_ptr"
        sources.append(
            (f"{name}_ptr", declared, _shape(kernel, tensor), TensorPointer(tensor.name))
        )
        for dim, index in enumerate(tensor.dims):
            name_of = f"{name}_stride{dim}"
            comment = f"elements along {identifier(index)}"
            sources.append(
                (name_of, f"moe::i64 {name_of}", comment, TensorStride(tensor.name, dim))
            )
    for dynamic in signature.dynamic:
        name = f"{identifier(dynamic.name)}_extent"
        sources.append((name, f"moe::i64 {name}", "", IndexExtent(dynamic.name)))
    comment = f"i32[{signature.expert_count}], where each expert's rows end"
    sources.append(("offs", "const int* offs", comment, OffsetsPointer()))
    if schedule.persistent is Persistence.DYNAMIC:
        part = WorkspacePointer(WorkspacePart.COUNTER)
        sources.append(("counter", "int* counter", "i32[2], zero between launches", part))
    if schedule.split_k > 1:
        part = WorkspacePointer(WorkspacePart.SEMAPHORES)
        sources.append(("semaphores", "int* semaphores", "i32[tiles], zero between launches", part))
        part = WorkspacePointer(WorkspacePart.PARTIALS)
        shape = f"f32[tiles, {schedule.split_k} parts, {kernel.resources.sums_count} sums, tile]"
        sources.append(("partials", "float* partials", shape, part))
    fields, declarations = _map_fields(kernel)
    start = len(fields) * MAP_BYTES
    for place, (name, declared, comment, source) in enumerate(sources):
        fields.append(ArgumentField(name, source, start + 8 * place))
        declarations.append((declared, comment))
    size = start + 8 * len(sources)
    alignment = MAP_ALIGNMENT if start else 8
    return Arguments(tuple(fields), tuple(declarations), -(-size // alignment) * alignment)


def _map_fields(kernel: GpuKernel) -> tuple[list[ArgumentField], list[tuple[str, str]]]:
    fields: list[ArgumentField] = []
    declarations = []
    for array in map_arrays(kernel):
        largest = "x".join(map(str, array.maps[0].box))
        comment = f"{identifier(array.maps[0].tensor)}, in boxes of up to {largest}"
        declarations.append((f"moe::TensorMap {array.name}[{len(array.maps)}]", comment))
        for number, one in enumerate(array.maps):
            at = len(fields) * MAP_BYTES
            fields.append(ArgumentField(f"{array.name}{number}", one, at, MAP_BYTES))
    return fields, declarations


def emit_arguments(writer: Writer, arguments: Arguments) -> None:
    """The struct's definition."""
    with writer.block("struct Arguments", "};"):
        for declared, comment in arguments.declarations:
            writer.line(f"{declared};" + (f"  // {comment}" if comment else ""))


def _shape(kernel: GpuKernel, tensor: Tensor) -> str:
    dims = []
    for name in tensor.dims:
        index = kernel.signature.index(name)
        shown = identifier(name)
        if index.kind is IndexKind.FIXED:
            shown += f"={index.extent}"
        dims.append(shown)
    return f"{tensor.dtype}[{', '.join(dims)}]"
