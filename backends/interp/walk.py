"""Walks the work plan of a tile kernel over host arrays.

Every tile is computed as a GPU computes it: operands are brought in as panels of the tile's full
height and width, zero beyond the edge, multiplied once for each part of the depth; the parts are
summed in order; the epilogue runs on the whole tile in f32; stores leave out what is not there.
So a wrong plan, height, mask or split gives a wrong result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from moedsl import work
from moedsl.backends.interp.functions import evaluate
from moedsl.backends.interp.panels import Panels
from moedsl.ir.core import DType
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.tile import Multiply
from moedsl.meaning import NUMPY_TYPES
from moedsl.subscript import locate, open_mesh, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from moedsl.arrays import ArrayView
    from moedsl.backend import Call
    from moedsl.ir.tile import TileKernel
    from moedsl.subscript import Array, Positions
    from moedsl.work import Tile

    F32 = NDArray[np.float32]


class InterpExecutable:
    """A tile kernel on the host; launches are synchronous."""

    def __init__(self, kernel: TileKernel) -> None:
        self.kernel = kernel

    def prepare(self, call: Call) -> None:
        """Nothing to do."""

    def launch(self, call: Call) -> None:
        """Compute all tiles of the plan, in order. IndexError if a map points nowhere."""
        _Walk(self.kernel, call).run()


class _Memory:
    """A host array view as NumPy takes it."""

    def __init__(self, view: ArrayView) -> None:
        size = view.dtype.bytes
        self.owner = view.owner
        self.__array_interface__ = {
            "version": 3,
            "shape": view.shape,
            "strides": tuple(stride * size for stride in view.strides),
            "typestr": f"|u{size}" if size == 1 else f"<u{size}",
            "data": (view.pointer, False),
        }


def host_array(view: ArrayView) -> Array:
    """The NumPy array over the memory of ``view``, which must be on the host."""
    if 0 in view.shape:
        return np.empty(view.shape, NUMPY_TYPES[view.dtype])
    return np.asarray(_Memory(view)).view(NUMPY_TYPES[view.dtype])


class _Walk:
    """One launch."""

    def __init__(self, kernel: TileKernel, call: Call) -> None:
        self.kernel, self.signature, self.sizes = kernel, kernel.signature, call.sizes
        self.arrays = {name: host_array(view) for name, view in call.arrays.items()}
        self.ends = [int(end) for end in host_array(call.offs)]
        self.starts = [0, *self.ends[:-1]]
        self.panels = Panels(self.arrays, self.signature.compute)
        self.parts: dict[tuple[int, int, int], list[dict[str, F32]]] = {}

    def run(self) -> None:
        rows = [end - start for start, end in zip(self.starts, self.ends, strict=True)]
        # Rows and columns beyond the edge are computed too, and may do what they like.
        with np.errstate(all="ignore"):
            for item in work.plan(self.kernel, rows, self.sizes):
                for tile in item.tiles:
                    self.visit(tile)

    def visit(self, tile: Tile) -> None:
        """Multiply one part of a tile; with the last part, sum them and finish the tile."""
        where = self.where(tile)
        key = (tile.expert, tile.row, tile.column)
        parts = self.parts.setdefault(key, [])
        parts.append(self.multiply(tile, where))
        if len(parts) == self.kernel.schedule.split_k:
            del self.parts[key]
            sums, *more = parts
            for part in more:
                for name, values in part.items():
                    sums[name] += values
            self.finish(tile, where, sums)

    def where(self, tile: Tile) -> dict[str, Positions]:
        """Positions of every index in ``tile``: what is there, and the depth in full."""
        signature, expert = self.signature, tile.expert
        places: dict[str, Positions] = {name: slice(0, n) for name, n in self.sizes.items()}
        places[signature.ragged] = slice(self.starts[expert], self.ends[expert])
        first = tile.row + (self.starts[expert] if signature.row_grouped else 0)
        places[signature.experts] = expert
        places[signature.rows] = slice(first, first + min(tile.rows, tile.height))
        places[signature.columns] = slice(tile.column, tile.column + tile.columns)
        return places

    def multiply(self, tile: Tile, where: dict[str, Positions]) -> dict[str, F32]:
        """Sums over this part of the depth, f32[height, tile.columns], by name."""
        schedule, signature = self.kernel.schedule, self.signature
        sums: dict[str, F32] = {}
        for op in self.kernel.body:
            if not isinstance(op, Multiply):
                continue
            rows = self.panels.panel(op.rows, where, signature.rows, op.over, tile.height)
            first, last = work.depth_range(schedule, rows.shape[1], tile.split)
            for result, access in zip(op.results, op.columns, strict=True):
                columns = self.panels.panel(
                    access, where, signature.columns, op.over, schedule.tile.columns
                )
                sums[result.name] = rows[:, first:last] @ columns[:, first:last].T
        return sums

    def finish(self, tile: Tile, where: dict[str, Positions], values: dict[str, F32]) -> None:
        """Run the epilogue of a tile whose multiplications are ``values``."""
        for op in self.kernel.body:
            match op:
                case Multiply():
                    pass
                case Load():
                    values[op.result.name] = self.load(tile, where, op)
                case Constant():
                    values[op.result.name] = np.full((1, 1), op.number, np.float32)
                case Apply():
                    operands = tuple(values[operand.name] for operand in op.operands)
                    values[op.result.name] = evaluate(op.function, operands)
                case Store():
                    self.store(tile, where, op, values[op.operand.name])
                case _:
                    assert_never(op)

    def load(self, tile: Tile, where: dict[str, Positions], op: Load) -> F32:
        """An input over the tile, zero beyond the edge; extent 1 where it does not vary."""
        domain = (self.signature.rows, self.signature.columns)
        values = read(self.arrays, op.access, where, domain).astype(np.float32)
        full = (tile.height, self.kernel.schedule.tile.columns)
        used = [index in op.access.indices for index in domain]
        padding = [
            (0, whole - there if varies else 0)
            for whole, there, varies in zip(full, values.shape, used, strict=True)
        ]
        return np.pad(values, padding)

    def store(self, tile: Tile, where: dict[str, Positions], op: Store, values: F32) -> None:
        """Write what is there of a tile."""
        array = self.arrays[op.access.tensor]
        dtype = self.signature.tensor(op.access.tensor).dtype
        spots = locate(self.arrays, op.access, where)
        domain = (self.signature.rows, self.signature.columns)
        full = np.broadcast_to(values, (tile.height, self.kernel.schedule.tile.columns))
        block: NDArray[Any] = full[: min(tile.rows, tile.height), : tile.columns]
        block = block.transpose([domain.index(i) for i in op.access.indices if i in domain])
        if all(coordinate.via is None for coordinate in op.access.coordinates):
            if op.accumulate:
                block = array[spots].astype(np.float32) + block
            array[spots] = _narrow(block, dtype)
            return
        mesh = open_mesh(spots, array.shape)
        block = block.reshape(np.broadcast_shapes(*(index.shape for index in mesh)))
        if op.accumulate:
            np.add.at(array, mesh, block)
        else:
            array[mesh] = _narrow(block, dtype)


def _narrow(values: NDArray[Any], dtype: DType) -> Array:
    return values.astype(NUMPY_TYPES[dtype])
