"""Schedules for specialised warps that are worth trying, the fastest found on Hopper first.

Weights take the tensor core's tall side and rows its flat one, so that tiles of any multiple of 16
rows exist, and an expert's rows are shared evenly among them. Consumers take turns: one multiplies
while the other stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.core import IndexKind
from moedsl.ir.elementwise import Apply, Load, Store
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.lower.resources.specialised import TALL, block_depth, gathered, kernel_obstacle
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.core import Tensor
    from moedsl.ir.moe import MoeKernel

UNIT = 16
"""Rows by which heights differ: 8 for each CTA of a cluster of two."""
_SUMS = 384
"""Tall blocks of 64 times flat positions of all sums of a consumer: 192 registers."""
_FEWER_SUMS = 352
"""The same where the epilogue computes."""
_GATHER_SUMS, _GATHER_REGISTERS = 320, (56, 200)
"""The same, and registers, where a second warpgroup of producers copies by itself."""
_LEAST_ROWS = 32
_GROUP = 16
"""Row tiles that walk through the columns together: they share weights in L2."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``rows`` are the most of a tile, ``stages`` the most and the fewest worth having."""

    rows: int
    stages: tuple[int, int]
    registers: tuple[int, int]


MANY = Shape(192, (5, 3), (40, 232))
FEW = Shape(128, (6, 3), (40, 232))
DECODE = Shape(32, (8, 3), (40, 232))


def propose_specialised(
    kernel: MoeKernel, shape: Shape, wanted: bool = False
) -> Iterator[Schedule]:
    """Schedules of ``shape`` for ``kernel``, clusters and deep pipelines first; none if specialised
    warps cannot compute it, or, unless they are ``wanted``, only for arrays with padded strides.
    """
    if kernel_obstacle(kernel) or not (wanted or _aligned(kernel)):
        return
    sums = sum(isinstance(op, Contract) for op in kernel.body)
    shared = not any(gathered(op.lhs) for op in kernel.body if isinstance(op, Contract))
    tall = 2 if sums == 1 else 1
    plain = not any(isinstance(op, Apply) for op in kernel.body)
    room = (_SUMS if plain else _FEWER_SUMS) if shared else _GATHER_SUMS
    rows = min(shape.rows, room // (sums * tall) // UNIT * UNIT)
    if rows < min(_LEAST_ROWS, shape.rows):
        return
    producer, consumer = _GATHER_REGISTERS if not shared else shape.registers
    most, fewest = shape.stages
    for cluster in (2, 1) if shared and _several_columns(kernel, tall * TALL) else (1,):
        for stages in range(most, fewest - 1, -1):
            yield Schedule(
                tile=TileShape(rows, tall * TALL, block_depth(kernel.signature.compute)),
                tails=tuple(range(rows - UNIT, 0, -UNIT)),
                balanced=True,
                swap_ab=True,
                stages=stages,
                consumers=2,
                cooperation=Cooperation.PINGPONG,
                producer_registers=producer,
                consumer_registers=consumer,
                cluster_columns=cluster,
                persistent=Persistence.DYNAMIC,
                raster=Raster(Along.ROWS, _GROUP),
                epilogue_store=EpilogueStore.TMA
                if _engine_stores(kernel)
                else EpilogueStore.STAGED,
            )


def _several_columns(kernel: MoeKernel, columns: int) -> bool:
    """Whether an even number of tiles covers the columns nearly as well as an odd one."""
    extent = kernel.signature.index(kernel.signature.columns).extent
    tiles = 2 if extent is None else ceil_div(extent, columns)
    return tiles % 2 == 0 or tiles > 8


def _aligned(kernel: MoeKernel) -> bool:
    """Whether the rows of contiguous operands start at multiples of 16 bytes."""
    signature = kernel.signature
    operands = {
        a.tensor for op in kernel.body if isinstance(op, Contract) for a in (op.lhs, op.rhs)
    }
    return all(_vectors(kernel, signature.tensor(name)) for name in operands)


def _vectors(kernel: MoeKernel, tensor: Tensor) -> bool:
    last = kernel.signature.index(tensor.dims[-1])
    if last.kind is not IndexKind.FIXED or last.extent is None:
        return last.kind is IndexKind.DYNAMIC
    return last.extent * tensor.dtype.bytes % 16 == 0


def _engine_stores(kernel: MoeKernel) -> bool:
    """Whether the copy engine can store every output, and loads of whole matrices do not stand in
    its way: they are read element by element where outputs leave registers directly.
    """
    signature = kernel.signature
    for op in kernel.body:
        if isinstance(op, Store) and (
            op.accumulate
            or gathered(op.access)
            or op.access.coordinates[-1].index != signature.columns
            or not _vectors(kernel, signature.tensor(op.access.tensor))
        ):
            return False
    return not any(_whole_matrix(kernel, op) for op in kernel.body)


def _whole_matrix(kernel: MoeKernel, op: object) -> bool:
    dims = {kernel.signature.rows, kernel.signature.columns}
    return isinstance(op, Load) and dims <= set(op.access.indices)
