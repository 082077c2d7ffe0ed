"""The epilogue: the kernel's elementwise operations on the sums, and the stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import AccessMode
from moedsl.backends.cuda.emission.arguments import (
    element_type,
    extent,
    first_row,
    mapped,
    pointer,
    stride,
)
from moedsl.backends.cuda.emission.consumer import sum_name, sums_type
from moedsl.backends.cuda.emission.writer import float_literal, identifier
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.core import Access

FUNCTIONS = {
    Function.ADD: "add",
    Function.SUB: "subtract",
    Function.MUL: "multiply",
    Function.DIV: "divide",
    Function.NEG: "negate",
    Function.ABS: "absolute",
    Function.MIN: "minimum",
    Function.MAX: "maximum",
    Function.CLAMP: "clamp",
    Function.EXP: "exponential",
    Function.TANH: "hyperbolic_tangent",
    Function.SIGMOID: "sigmoid",
    Function.SILU: "silu",
    Function.RELU: "relu",
    Function.GELU: "gelu",
    Function.GELU_TANH: "gelu_tanh",
}


class _Outputs:
    """Emits the body of ``write_outputs`` and knows how each value is spelled in it."""

    def __init__(self, writer: Writer, kernel: GpuKernel) -> None:
        self._writer, self._kernel = writer, kernel
        signature = kernel.signature
        self._at = {
            name: f"{identifier(name)}_at"
            for name in (signature.experts, signature.rows, signature.columns)
        }
        self._names: dict[str, str] = {
            value.name: f"{sum_name(value.name)}[i]"
            for pipeline in kernel.pipelines
            for value in pipeline.results
        }

    def emit(self) -> None:
        """Positions, loads, one loop over the thread's columns, stores."""
        writer, kernel = self._writer, self._kernel
        signature = kernel.signature
        known = signature.index(signature.columns).extent
        columns = extent(kernel, signature.columns)
        whole = known is not None and known % kernel.epilogue.vector == 0
        count = "kVector" if whole else f"{columns} - (tile.column + column)"
        writer.lines(
            f"const moe::i64 {self._at[signature.experts]} = tile.expert;",
            f"const moe::i64 {self._at[signature.rows]} = {first_row(kernel)} + row;",
            f"const moe::i64 {self._at[signature.columns]} = tile.column + column;",
            f"const int count = {count};",
        )
        body = kernel.epilogue.body
        stores = [op for op in body if isinstance(op, Store)]
        for number, op in enumerate(body):
            if isinstance(op, Load):
                with writer.from_source(kernel.source, op.span):
                    self._emit_load(op, number)
        for number, _ in enumerate(stores):
            writer.line(f"float stored{number}[kVector];")
        writer.line("MOE_UNROLL")
        with writer.block("for (int i = 0; i < kVector; ++i)"):
            for number, op in enumerate(body):
                if isinstance(op, Apply | Constant):
                    with writer.from_source(kernel.source, op.span):
                        emit_value(writer, self._names, op, number)
            for number, store in enumerate(stores):
                writer.line(f"stored{number}[i] = {self._names[store.operand.name]};")
        for number, store in enumerate(stores):
            with writer.from_source(kernel.source, store.span):
                self._emit_store(store, number)

    def _emit_load(self, op: Load, number: int) -> None:
        """One value, or a vector along the columns."""
        name = f"{identifier(op.access.tensor)}_l{number}"
        columns = self._kernel.signature.columns
        if op.access.position(columns) is None:
            self._names[op.result.name] = name
            at = f"{pointer(op.access.tensor)}{self._offset(op.access)}"
            self._writer.line(f"const float {name} = moe::widen(moe::global_load({at}));")
            return
        self._names[op.result.name] = f"{name}[i]"
        self._writer.line(f"float {name}[kVector];")
        self._read(name, op.access)

    def _read(self, name: str, access: Access) -> None:
        """Fill array ``name`` with the elements of the thread's columns."""
        dim = self._column_dim(access)
        via = access.coordinates[dim].via
        if via is not None:
            each = f"{pointer(access.tensor)}{self._offset(access, ' + i')}"
            self._writer.lines(
                "MOE_UNROLL",
                "for (int i = 0; i < kVector; ++i) {",
                f"    {name}[i] = i < count ? moe::widen(moe::global_load({each})) : 0.0f;",
                "}",
            )
            return
        base = f"{pointer(access.tensor)}{self._offset(access)}"
        if self._vector(access):
            self._writer.line(f"moe::load_vector({name}, {base}, count);")
        else:
            step = stride(access.tensor, dim)
            self._writer.line(f"moe::load_elements({name}, {base}, {step}, count);")

    def _emit_store(self, store: Store, number: int) -> None:
        access, name = store.access, f"stored{number}"
        dim = self._column_dim(access)
        atomic = store.accumulate and any(c.via is not None for c in access.coordinates)
        if store.accumulate and not atomic:
            old = f"old{number}"
            self._writer.line(f"float {old}[kVector];")
            self._read(old, access)
            self._writer.lines(
                "MOE_UNROLL",
                f"for (int i = 0; i < kVector; ++i) {name}[i] = moe::add({old}[i], {name}[i]);",
            )
        element = element_type(self._kernel.signature.tensor(access.tensor).dtype)
        if access.coordinates[dim].via is not None:
            each = f"{pointer(access.tensor)}{self._offset(access, ' + i')}"
            put = (
                f"moe::atomic_add({each}, {name}[i])"
                if atomic
                else f"moe::global_store({each}, moe::rounded<{element}>({name}[i]))"
            )
            self._writer.lines(
                "MOE_UNROLL",
                "for (int i = 0; i < kVector; ++i) {",
                f"    if (i < count) {put};",
                "}",
            )
            return
        base = f"{pointer(access.tensor)}{self._offset(access)}"
        verb = "add" if atomic else "store"
        if self._vector(access):
            self._writer.line(f"moe::{verb}_vector({base}, count, {name});")
        else:
            step = stride(access.tensor, dim)
            self._writer.line(f"moe::{verb}_elements({base}, {step}, count, {name});")

    def _offset(self, access: Access, column: str = "") -> str:
        """`` + elements`` to the thread's first column, or to column ``i`` of them."""
        text = ""
        for dim, coordinate in enumerate(access.coordinates):
            at = self._at[coordinate.index]
            if column and coordinate.index == self._kernel.signature.columns:
                at = f"({at}{column})"
            text += f" + {mapped(coordinate, at)}"
            if dim + 1 < len(access.coordinates) or not self._vector(access):
                text += f" * {stride(access.tensor, dim)}"
        return text

    def _vector(self, access: Access) -> bool:
        """Whether the thread's columns are aligned vectors of 16 bytes."""
        last = access.coordinates[-1]
        return (
            self._kernel.access(access.tensor) is AccessMode.VECTOR
            and last.index == self._kernel.signature.columns
            and last.via is None
        )

    def _column_dim(self, access: Access) -> int:
        dim = access.position(self._kernel.signature.columns)
        assert dim is not None
        return dim


def emit_outputs(writer: Writer, kernel: GpuKernel) -> None:
    """``write_outputs``: everything behind the sums, for kVector columns of one row."""
    sums = "".join(f", const float (&{name})[kVector]" for name in sum_names(kernel))
    writer.line("// The outputs of kVector columns, from `column` of the tile on, of one row.")
    with writer.block(
        "MOE_DEVICE void write_outputs(const Arguments& arguments, const moe::Tile& tile, "
        f"int row, int column{sums})"
    ):
        _Outputs(writer, kernel).emit()
    writer.line()


def emit_store_tile(writer: Writer, kernel: GpuKernel) -> None:
    """``store_tile``: sums through shared memory to ``write_outputs`` or to the workspace."""
    names = sum_names(kernel)
    parameters = "".join(f", const {sums_type(kernel)}& {name}" for name in names)
    split = kernel.schedule.split_k > 1
    writer.line(
        "// Leaves the sums of one part of a tile; the last part to arrive writes the outputs."
        if split
        else "// Takes the sums through shared memory, eight rows at a time, to the outputs."
    )
    writer.line("template <int kHeight>")
    with writer.block(
        f"MOE_DEVICE void {'store_parts' if split else 'store_tile'}(const Arguments& arguments, "
        f"const moe::Tile& tile{parameters})"
    ):
        writer.lines(
            f"using Sums = {sums_type(kernel)};",
            f"constexpr int kSums = {len(names)};",
            "constexpr moe::u32 kPlane = 8 * Sums::kPitch * 4;  // bytes of eight staged rows",
            "constexpr int kPerRow = Sums::kColumns / kVector;",
            "const moe::u32 staged = kStaging + moe::warp_index() * kStagingBytes;",
        )
        if split:
            _emit_part_addresses(writer)
        writer.line("MOE_ROLL")
        with writer.block("for (int chunk = 0; chunk < Sums::kRows / 8; ++chunk)"):
            writer.line("moe::sync_warp();")
            for place, name in enumerate(names):
                writer.line(f"{name}.stage({plane('staged', place, 'kPlane')}, chunk);")
            writer.line("moe::sync_warp();")
            with writer.block("for (int v = moe::lane_index(); v < 8 * kPerRow; v += 32)"):
                writer.lines(
                    "const int row = Warps<kHeight>::row() + chunk * 8 + v / kPerRow;",
                    "const int column = Warps<kHeight>::column() + v % kPerRow * kVector;",
                    outside(kernel),
                    "const moe::u32 at = staged + (v / kPerRow * Sums::kPitch"
                    " + v % kPerRow * kVector) * 4;",
                )
                for place, name in enumerate(names):
                    writer.line(f"float {name}_part[kVector];")
                    writer.line(f"moe::load_staged({name}_part, {plane('at', place, 'kPlane')});")
                if split:
                    for place, name in enumerate(names):
                        writer.line(
                            f"moe::store_vector({plane('part', place, 'kPlaneFloats')} + row *"
                            f" Order::kTileColumns + column, kVector, {name}_part);"
                        )
                else:
                    parts = ", ".join(f"{name}_part" for name in names)
                    writer.line(f"write_outputs(arguments, tile, row, column, {parts});")
        if split:
            _emit_join(writer, kernel)
    writer.line()


def _emit_part_addresses(writer: Writer) -> None:
    writer.lines(
        "constexpr int kPlaneFloats = Order::kTileRows * Order::kTileColumns;",
        "constexpr moe::i64 kPartFloats = kSums * kPlaneFloats;",
        "float* const parts = arguments.partials + tile.number * (kSplits * kPartFloats);",
        "float* const part = parts + tile.split * kPartFloats;",
    )


def _emit_join(writer: Writer, kernel: GpuKernel) -> None:
    """The last part adds all of them up in their order."""
    names = sum_names(kernel)
    writer.line(
        "if (!moe::arrive_last(arguments.semaphores + tile.number, kSplits, kScratch)) return;"
    )
    writer.line("constexpr int kAcross = Order::kTileColumns / kVector;")
    with writer.block("for (int v = moe::thread_index(); v < kHeight * kAcross; v += kThreads)"):
        writer.lines(
            "const int row = v / kAcross;",
            "const int column = v % kAcross * kVector;",
            outside(kernel),
            "const float* const source = parts + row * Order::kTileColumns + column;",
        )
        for place, name in enumerate(names):
            writer.lines(
                f"float {name}_all[kVector];",
                f"moe::sum_parts<kVector, kSplits>({name}_all, "
                f"{plane('source', place, 'kPlaneFloats')}, kPartFloats);",
            )
        sums = ", ".join(f"{name}_all" for name in names)
        writer.line(f"write_outputs(arguments, tile, row, column, {sums});")


def sum_names(kernel: GpuKernel) -> list[str]:
    """The accumulators, in order."""
    return [sum_name(v.name) for pipeline in kernel.pipelines for v in pipeline.results]


def emit_value(writer: Writer, names: dict[str, str], op: Apply | Constant, number: int) -> None:
    """What the ``number``-th operation of the epilogue computes, from and into ``names``."""
    name = f"{identifier(op.result.name)}_v{number}"
    if isinstance(op, Constant):
        writer.line(f"const float {name} = {float_literal(op.number)};")
    else:
        operands = ", ".join(names[operand.name] for operand in op.operands)
        writer.line(f"const float {name} = moe::{FUNCTIONS[op.function]}({operands});")
    names[op.result.name] = name


def outside(kernel: GpuKernel) -> str:
    """Leave out what lies outside the matrix."""
    columns = extent(kernel, kernel.signature.columns)
    return f"if (row >= tile.rows || tile.column + column >= {columns}) continue;"


def plane(base: str, place: int, size: str) -> str:
    """Where the ``place``-th of several sums lies."""
    return base if place == 0 else f"{base} + {place} * {size}"
