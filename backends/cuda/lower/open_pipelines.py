"""Turn multiplications into pipelines and everything behind them into one epilogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.access import VECTOR_BYTES
from moedsl.backends.cuda.gpu import (
    Buffer,
    Copy,
    Epilogue,
    GpuKernel,
    JoinParts,
    MultiplyAdd,
    Pipeline,
    Side,
    TileLoop,
    TileOp,
)
from moedsl.ir.core import Coordinate
from moedsl.ir.elementwise import Load, Store
from moedsl.ir.tile import Multiply
from moedsl.lower.resources import STAGED_ROWS, depth_inner, resources
from moedsl.lower.resources.specialised import staged_part
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.cuda.gpu import EpilogueOp
    from moedsl.ir.tile import TileKernel


def open_pipelines(kernel: TileKernel, access: AccessModes) -> GpuKernel:
    """``kernel`` as a tile loop. Copies are element by element and buffers unplaced."""
    multiplies = [op for op in kernel.body if isinstance(op, Multiply)]
    pipelines = [_pipeline(kernel, op, number) for number, op in enumerate(multiplies)]
    elementwise = tuple(op for op in kernel.body if not isinstance(op, Multiply))
    body: list[TileOp] = list(pipelines)
    if kernel.schedule.split_k > 1:
        sums = tuple(value for op in pipelines for value in op.results)
        body.append(JoinParts(sums, kernel.schedule.split_k))
    staged = STAGED_ROWS
    if kernel.schedule.specialised:
        staged = staged_part(kernel.schedule.swap_ab)[0]
    vector = _vector(kernel, elementwise, access)
    body.append(Epilogue(staged, vector, elementwise, kernel.schedule.epilogue_store))
    return GpuKernel(
        signature=kernel.signature,
        target=kernel.target,
        schedule=kernel.schedule,
        vector=tuple(sorted(access.vector)),
        resources=resources(kernel, TARGETS[kernel.target]),
        body=(TileLoop(kernel.schedule.persistent, kernel.schedule.stages, tuple(body)),),
        source=kernel.source,
    )


def _vector(kernel: TileKernel, body: tuple[EpilogueOp, ...], access: AccessModes) -> int:
    """Columns of a thread: 16 bytes of the smallest type that is stored, or read as vectors."""
    signature = kernel.signature
    along = Coordinate(signature.columns)
    moved = {
        op.access.tensor
        for op in body
        if isinstance(op, Store)
        or (
            isinstance(op, Load)
            and op.access.tensor in access.vector
            and op.access.coordinates[-1] == along
        )
    }
    return VECTOR_BYTES // min(signature.tensor(name).dtype.bytes for name in moved)


def _pipeline(kernel: TileKernel, op: Multiply, number: int) -> Pipeline:
    tile = kernel.schedule.tile
    buffers = [Buffer(f"rows{number}", Side.ROWS, tile.rows, tile.depth, True)]
    copies = [Copy(op.rows, buffers[0].name, span=op.span)]
    products = []
    for position, (result, columns) in enumerate(zip(op.results, op.columns, strict=True)):
        name = f"columns{number}_{position}"
        buffers.append(Buffer(name, Side.COLUMNS, tile.columns, tile.depth, True))
        copies.append(Copy(columns, name, span=op.span))
        products.append(MultiplyAdd(result.name, buffers[0].name, name, op.span))
    oriented = tuple(
        Buffer(b.name, b.side, b.positions, b.depth, depth_inner(c.access, op.over))
        for b, c in zip(buffers, copies, strict=True)
    )
    return Pipeline(op.results, op.over, tile.depth, oriented, (*copies, *products), op.span)
