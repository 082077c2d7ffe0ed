"""Give a specialised schedule up where arrays lie in a way that the copy engine cannot take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.gpu import Copy, CopyWay
from moedsl.ir.schedule import Cooperation, EpilogueStore, Schedule, TileShape
from moedsl.ir.tile import Multiply

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.tile import TileKernel

_ROWS, _DEPTH = 64, 64
_COLUMNS = 128


def can_specialise(kernel: GpuKernel) -> bool:
    """Whether the producers can bring in every operand, and the copy engine store the outputs.

    ``kernel`` has its copies chosen. A schedule without specialised warps needs nothing of it.
    """
    schedule = kernel.schedule
    if not schedule.specialised:
        return True
    copies = [step for p in kernel.pipelines for step in p.body if isinstance(step, Copy)]
    outputs = {tensor.name for tensor in kernel.signature.outputs}
    stored = schedule.epilogue_store is EpilogueStore.STAGED or outputs <= set(kernel.vector)
    return stored and all(copy.way in (CopyWay.TENSOR, CopyWay.MAPPED) for copy in copies)


def fall_back(kernel: TileKernel) -> TileKernel:
    """``kernel`` with a schedule of the portable path that every 2-byte kernel has room for."""
    schedule = kernel.schedule
    sums = sum(len(op.results) for op in kernel.body if isinstance(op, Multiply))
    portable = Schedule(
        tile=TileShape(_ROWS, max(32, _COLUMNS >> (sums - 1).bit_length()), _DEPTH),
        tails=(32, 16),
        stages=3,
        consumers=1,
        cooperation=Cooperation.COOPERATIVE,
        persistent=schedule.persistent,
        order=schedule.order,
        raster=schedule.raster,
        fuse_rows=min(schedule.fuse_rows, _ROWS),
        split_k=schedule.split_k,
        require=schedule.require,
    )
    return replace(kernel, schedule=portable)
