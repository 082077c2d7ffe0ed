"""The epilogue of specialised warps: outputs from registers through the copy engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import (
    element_type,
    extent,
    first_row,
    mapped,
    pointer,
    stride,
)
from moedsl.backends.cuda.emission.consumer import sum_name
from moedsl.backends.cuda.emission.epilogue import emit_value, sum_names
from moedsl.backends.cuda.emission.fills import TILES
from moedsl.backends.cuda.emission.groups import kept_parameters, leaving_type, sum_parameters
from moedsl.backends.cuda.emission.maps import (
    coordinates,
    store_box,
    store_clip,
    store_map_name,
)
from moedsl.backends.cuda.emission.writer import identifier, plus
from moedsl.backends.cuda.gpu import Side
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.lower.resources.specialised import (
    BLOCK_BYTES,
    FLAT_STEP,
    TALL,
    consumers_of_tile,
    staged_part,
)

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.core import Access


_SYNC = "moe::named_sync(1 + group, moe::kGroupThreads);"


class _Elements:
    """Emits the values of the four sums that a thread has of eight flat positions: the ``j``-th
    eight rows with swap_ab, else columns.

    Sum ``i`` is that of flat position ``j * 8 + i % 2`` and tall position ``i / 2 * 8``, counted
    from ``row`` and ``column``: what depends on rows alone has two values, on columns alone two
    others.
    """

    def __init__(self, writer: Writer, kernel: GpuKernel) -> None:
        self._writer, self._kernel = writer, kernel
        self._swap = kernel.schedule.swap_ab
        self._names: dict[str, str] = {}
        results = [value for pipeline in kernel.pipelines for value in pipeline.results]
        for value, name in zip(results, sum_names(kernel), strict=True):
            self._names[value.name] = f"{name}_four[i]"

    def emit_loads(self, flat: bool) -> None:
        """Loads that depend on flat positions (and perhaps tall ones), or those that do not."""
        for number, op in enumerate(self._kernel.epilogue.body):
            if not isinstance(op, Load):
                continue
            rows, columns = self._kind(op.access)
            if flat is (rows if self._swap else columns):
                with self._writer.from_source(self._kernel.source, op.span):
                    self._emit_load(op.access, f"{identifier(op.access.tensor)}_l{number}")
                self._names[op.result.name] = self._spelled(op, number)

    def _spelled(self, op: Load, number: int) -> str:
        name = f"{identifier(op.access.tensor)}_l{number}"
        match self._kind(op.access):
            case (True, True):
                return f"{name}[i]"
            case (False, False):
                return name
            case (rows, _):
                return f"{name}[i {'%' if rows is self._swap else '/'} 2]"

    def _kind(self, access: Access) -> tuple[bool, bool]:
        signature = self._kernel.signature
        dims = (signature.rows, signature.columns)
        rows, columns = (access.position(dim) is not None for dim in dims)
        return rows, columns

    def _emit_load(self, access: Access, name: str) -> None:
        rows, columns = self._kind(access)
        count = 2 ** (rows + columns)
        tall = "i / 2" if rows and columns else "i"
        flat_at, tall_at = "j * 8 + i % 2", f"{tall} * 8"
        row_at, column_at = (flat_at, tall_at) if self._swap else (tall_at, flat_at)
        row, column = f"row + {row_at}", f"tile.column + column + {column_at}"
        inside = []
        if rows:
            inside.append(f"{row} < tile.rows")
        if columns:
            bound = extent(self._kernel, self._kernel.signature.columns)
            inside.append(f"{column} < {bound}")
        at = self._address(access, row, column)
        value = f"moe::widen(moe::global_load({at}))"
        if count == 1:
            self._writer.line(f"const float {name} = {value};")
            return
        self._writer.lines(f"float {name}[{count}];", "MOE_UNROLL")
        with self._writer.block(f"for (int i = 0; i < {count}; ++i)"):
            self._writer.line(f"{name}[i] = {' && '.join(inside)} ? {value} : 0.0f;")

    def _address(self, access: Access, row: str, column: str) -> str:
        signature = self._kernel.signature
        at = {
            signature.experts: "static_cast<moe::i64>(tile.expert)",
            signature.rows: f"static_cast<moe::i64>({first_row(self._kernel)} + {row})",
            signature.columns: f"static_cast<moe::i64>({column})",
        }
        text = pointer(access.tensor)
        for dim, coordinate in enumerate(access.coordinates):
            place = mapped(coordinate, at[coordinate.index])
            text += f" + {place} * {stride(access.tensor, dim)}"
        return text

    def emit_values(self) -> None:
        """Arithmetic on the four elements, and ``stored`` of each output."""
        writer, kernel = self._writer, self._kernel
        stores = [op for op in kernel.epilogue.body if isinstance(op, Store)]
        for number, _ in enumerate(stores):
            writer.line(f"float stored{number}[4];")
        writer.line("MOE_UNROLL")
        with writer.block("for (int i = 0; i < 4; ++i)"):
            for number, op in enumerate(kernel.epilogue.body):
                if isinstance(op, Apply | Constant):
                    with writer.from_source(kernel.source, op.span):
                        emit_value(writer, self._names, op, number)
            for number, store in enumerate(stores):
                writer.line(f"stored{number}[i] = {self._names[store.operand.name]};")


def emit_store_tile(writer: Writer, kernel: GpuKernel) -> None:
    """``store_tile``: part by part through shared memory, and from there by the copy engine."""
    stores = [op for op in kernel.epilogue.body if isinstance(op, Store)]
    keeps = kernel.resources.kept is not None
    _emit_stage_part(writer, kernel, stores)
    if keeps:
        _emit_kept(writer, kernel)
        _emit_store_parts(writer, kernel, stores)
    else:
        _emit_store_part(writer, kernel, stores)
    writer.line(
        "// Outputs go through shared memory part by part; the copy engine takes them from there."
    )
    if keeps:
        writer.line("// `next` becomes the tile that follows: it is taken while products go on.")
    writer.line("template <int kHeight>")
    with writer.block(
        "MOE_DEVICE void store_tile(const Arguments& arguments, const moe::Tile& tile, "
        f"int group{kept_parameters(kernel)}{sum_parameters(kernel, finished=not keeps)})"
    ):
        writer.lines(
            f"using Sums = {leaving_type(kernel)};",
            "// The last box of this consumer may be higher than what it has.",
            "const int rows = moe::lesser(tile.rows, Groups<kHeight>::row(group) + Sums::kRows);",
            f"const int end = {first_row(kernel)} + rows;",
        )
        unroll = "MOE_UNROLL" if _unrolls_parts(kernel, stores) else "MOE_ROLL"
        emit_parts = _emit_parts_by_columns if keeps else _emit_parts_in_turn
        emit_parts(writer, kernel, unroll)
    writer.line()


def _emit_parts_in_turn(writer: Writer, kernel: GpuKernel, unroll: str) -> None:
    """One part is written while the copy engine reads those before."""
    writer.lines(
        "const bool leads = moe::group_thread() == 0;",
        "if (leads) moe::bulk_wait_read<0>();",
        _SYNC,
        "int buffer = 0;",
        unroll,
    )
    with writer.block("for (int part = 0; part < Sums::kParts; ++part)"):
        sums = ", ".join(sum_names(kernel))
        writer.lines(
            "const moe::u32 staged = kStaging + group * kStagingBytes + buffer * kStoredBytes;",
            f"stage_part<kHeight>(arguments, tile, group, staged, part, {sums});",
            "moe::fence_async();",
            _SYNC,
        )
        with writer.block("if (leads)"):
            writer.lines(
                "store_part<kHeight>(arguments, tile, group, end, staged, part);",
                "moe::bulk_commit();",
                "// Of three buffers, the one after the next is free.",
                "moe::bulk_wait_read<1>();",
            )
        writer.line("buffer = buffer == 2 ? 0 : buffer + 1;")


def _emit_parts_by_columns(writer: Writer, kernel: GpuKernel, unroll: str) -> None:
    """All parts of 64 columns are written while the last products of the next 64 go on, and stored;
    those of the last 64 once the next tile's first products go on. Which tile that is, a consumer
    learns while it would wait for products anyway.
    """
    last_sums = [sum_name(value.name) for value in kernel.pipelines[-1].results]
    sums, talls = ", ".join(sum_names(kernel)), _talls(kernel)
    writer.lines(
        "kept.tile = tile;",
        "kept.end = end;",
        "kept.parts = Sums::kFlatParts;",
        "if (moe::lane_index() == 0) moe::bulk_wait_read<0>();  // of parts beside the stage",
    )
    for tall in range(talls):
        if tall == talls - 1:
            writer.line(f"next = moe::take_tile<Order>(tiles, {TILES});")
        writer.lines(
            *(f"{name}.template finish_tall<{tall}>();" for name in last_sums),
            _SYNC,
            unroll,
        )
        with writer.block("for (int part = 0; part < Sums::kFlatParts; ++part)"):
            writer.lines(
                f"const moe::u32 staged = part_place(kept, group, {tall}, part);",
                f"stage_part<kHeight, {tall}>(arguments, tile, group, staged, part, {sums});",
            )
        if tall < talls - 1:
            writer.line(f"store_parts(arguments, kept, group, {tall});")


def _talls(kernel: GpuKernel) -> int:
    """How many times 64 columns a consumer has, where consumers share the columns of a tile."""
    return kernel.schedule.tile.columns // consumers_of_tile(kernel.schedule) // TALL


def _emit_kept(writer: Writer, kernel: GpuKernel) -> None:
    """``Kept``, and the places of the parts of a consumer's outputs."""
    kept, lent = kernel.resources.kept, kernel.pipelines[-1].buffers[0]
    assert kept is not None
    assert lent.side is Side.COLUMNS
    assert lent.offset == 0
    writer.line("// A tile's last stage: outputs lie there until the copy engine has read them.")
    with writer.block("struct Kept", "};"):
        writer.lines(
            "int slot = -1;",
            "moe::u32 base = 0;",
            "moe::Tile tile{};",
            "int end = 0;  // of the rows to store",
            "int parts = 0;  // of 64 columns",
        )
    writer.lines(
        "",
        f"constexpr int kTalls = {_talls(kernel)};  // times 64 columns of a consumer",
        "// Of the parts of each in the highest tile, how many lie in the stage, and beside it.",
        f"constexpr int kInStage = {kept.in_stage};",
        f"constexpr int kBeside = {kept.beside};",
        "",
        "// The last parts lie beside the stage, those before where their own columns lay, which",
        "// nobody else has read.",
    )
    with writer.block(
        "MOE_DEVICE moe::u32 part_place(const Kept& kept, int group, int tall, int part)"
    ):
        writer.lines(
            "const int place = kInStage + kBeside - kept.parts + part;",
            "const bool in_stage = place < kInStage;",
            "const moe::u32 there = in_stage",
            f"        ? kept.base + (group * kTalls + tall) * {TALL * BLOCK_BYTES}",
            "        : kStaging + group * kStagingBytes + tall * (kBeside * kStoredBytes);",
            "return there + (in_stage ? place : place - kInStage) * kStoredBytes;",
        )
    writer.line()


def _emit_store_parts(writer: Writer, kernel: GpuKernel, stores: list[Store]) -> None:
    writer.line("// Has the copy engine store what has been written of 64 columns of `kept.tile`.")
    with writer.block(
        "MOE_DEVICE void store_parts("
        "const Arguments& arguments, const Kept& kept, int group, int tall)"
    ):
        writer.lines("moe::fence_async();", _SYNC)
        with writer.block("if (moe::lane_index() == 0)"):
            writer.lines(
                "const moe::Tile& tile = kept.tile;",
                f"const int column = tile.column + (group * kTalls + tall) * {TALL};",
                "MOE_ROLL",
            )
            with writer.block(
                "for (int part = moe::warp_index() % 4; part < kept.parts; part += 4)"
            ):
                writer.lines(
                    "const moe::u32 staged = part_place(kept, group, tall, part);",
                    f"const int row = {first_row(kernel)} + part * {staged_part(swap_ab=True)[0]};",
                )
                _emit_boxes(writer, kernel, stores, "row", "column", "kept.end")
            writer.line("moe::bulk_commit();")
    writer.line()


def _unrolls_parts(kernel: GpuKernel, stores: list[Store]) -> bool:
    """Whether the code is there once for each part: parts that are known when compiling leave their
    registers without a jump. What computes, joins splits or stages f32 is too long for that: it
    took up to twice as long to compile, and f32 up to 8 % longer to run.
    """
    words = any(kernel.signature.tensor(s.access.tensor).dtype.bytes >= 4 for s in stores)
    only_stores = len(stores) == len(kernel.epilogue.body)
    return only_stores and not kernel.joins_parts and not words


def _emit_stage_part(writer: Writer, kernel: GpuKernel, stores: list[Store]) -> None:
    names, swap = sum_names(kernel), kernel.schedule.swap_ab
    rows, columns = staged_part(swap)
    flat, tall = "moe::lane_index() % 4 * 2", "moe::warp_index() % 4 * 16 + moe::lane_index() / 4"
    row, column = (flat, tall) if swap else (tall, flat)
    writer.line(f"// The outputs of one part, {rows} rows by {columns} columns, to shared memory.")
    keeps = kernel.resources.kept is not None
    if keeps:
        # Sums of other columns may be under way: asking which of all it is, ptxas would have each
        # product wait for the one before (C7514).
        writer.line("// `own` counts those of the kTall-th 64 columns.")
    writer.line(f"template <int kHeight{', int kTall' if keeps else ''}>")
    with writer.block(
        "MOE_DEVICE void stage_part(const Arguments& arguments, const moe::Tile& tile, "
        f"int group, moe::u32 staged, int {'own' if keeps else 'part'}{sum_parameters(kernel)})"
    ):
        elements = _Elements(writer, kernel)
        writer.lines(
            f"using Sums = {leaving_type(kernel)};",
            *(["const int part = kTall * Sums::kFlatParts + own;"] if keeps else []),
            f"const int row = Groups<kHeight>::row(group) + Sums::part_row(part) + {row};",
            "const int column = Groups<kHeight>::column(group) + Sums::part_column(part)"
            f" + {column};",
        )
        elements.emit_loads(flat=False)
        for name in names:
            writer.line(f"float {name}_taken[4][4];")
            bounds = "<kTall * Sums::kFlatParts, (kTall + 1) * Sums::kFlatParts>" if keeps else ""
            writer.line(f"{name}.{'template ' if keeps else ''}take{bounds}({name}_taken, part);")
        writer.line("MOE_UNROLL")
        with writer.block("for (int j = 0; j < 4; ++j)"):
            writer.line("if (j >= Sums::eights(part)) continue;")
            for name in names:
                writer.line(f"const float (&{name}_four)[4] = {name}_taken[j];")
            elements.emit_loads(flat=True)
            elements.emit_values()
            for number, (store, place) in enumerate(_places(kernel, stores)):
                dtype = kernel.signature.tensor(store.access.tensor).dtype
                verb = "rows" if swap else f"columns<{store_box(kernel, store)[1]}>"
                writer.line(
                    f"moe::stage_{verb}({place}, j, stored{number}, {element_type(dtype)}{{}});"
                )
    writer.line()


def _emit_store_part(writer: Writer, kernel: GpuKernel, stores: list[Store]) -> None:
    writer.line("// Has the copy engine store one part, up to row `end`.")
    writer.line("template <int kHeight>")
    with writer.block(
        "MOE_DEVICE void store_part(const Arguments& arguments, const moe::Tile& tile, int group, "
        "int end, moe::u32 staged, int part)"
    ):
        row = f"{first_row(kernel)} + Groups<kHeight>::row(group) + Sums::part_row(part)"
        column = "tile.column + Groups<kHeight>::column(group) + Sums::part_column(part)"
        writer.line(f"using Sums = {leaving_type(kernel)};")
        _emit_boxes(writer, kernel, stores, row, column, "end")
    writer.line()


def _emit_boxes(
    writer: Writer, kernel: GpuKernel, stores: list[Store], row: str, column: str, end: str
) -> None:
    """The boxes of a part at ``staged``, whose first row and column are these."""
    signature, swap = kernel.signature, kernel.schedule.swap_ab
    _, width = staged_part(swap)
    for store, place in _places(kernel, stores):
        rows, columns = store_box(kernel, store)
        size = rows * columns * signature.tensor(store.access.tensor).dtype.bytes
        for number in range(width // columns):
            first = number * columns
            position = {
                signature.experts: "tile.expert",
                signature.rows: row,
                signature.columns: plus(column, first),
            }
            box = coordinates(store.access, position, store_clip(kernel, store), end)
            # The last part of a line of columns may have fewer than others.
            there = f"if (Sums::eights(part) > {first // FLAT_STEP}) " if first and not swap else ""
            with writer.from_source(kernel.source, store.span):
                writer.line(
                    f"{there}moe::tensor_store(*arguments.{store_map_name(store)}, "
                    f"moe::Box<{len(box)}>{{{{{', '.join(box)}}}}}, {plus(place, number * size)});"
                )


def _places(kernel: GpuKernel, stores: list[Store]) -> list[tuple[Store, str]]:
    """Each output with where its part is staged."""
    rows, columns = staged_part(kernel.schedule.swap_ab)
    found, at = [], 0
    for store in stores:
        found.append((store, plus("staged", at)))
        at += rows * columns * kernel.signature.tensor(store.access.tensor).dtype.bytes
    return found
