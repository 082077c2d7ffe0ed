"""Give up what arrays do not allow: the copy engine's stores, or specialised warps altogether."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.gpu import Copy, CopyWay
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import EpilogueStore, ScheduleRequest
from moedsl.ir.tile import Multiply, TileKernel
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.rules.demand import STAGES
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.cuda.gpu import GpuKernel


def can_feed(kernel: GpuKernel) -> bool:
    """Whether producers can bring in every operand; ``kernel`` has its copies chosen."""
    copies = [step for p in kernel.pipelines for step in p.body if isinstance(step, Copy)]
    return all(copy.way in (CopyWay.TENSOR, CopyWay.MAPPED) for copy in copies)


def can_store(kernel: TileKernel, access: AccessModes) -> bool:
    """Whether the schedule's way to store works for outputs with ``access``."""
    if kernel.schedule.epilogue_store is EpilogueStore.STAGED:
        return True
    return access.whole and {tensor.name for tensor in kernel.signature.outputs} <= access.vector


def store_staged(kernel: TileKernel) -> TileKernel | None:
    """``kernel`` with outputs that threads store, in fewer stages where that needs more room; None
    where even two are too many.
    """
    meaning, target = _meaning(kernel), TARGETS[kernel.target]
    for stages in range(kernel.schedule.stages, STAGES[0] - 1, -1):
        schedule = replace(kernel.schedule, epilogue_store=EpilogueStore.STAGED, stages=stages)
        if not check_schedule(meaning, schedule, None, target):
            return replace(kernel, schedule=schedule)
    return None


def fall_back(kernel: TileKernel) -> TileKernel:
    """``kernel`` on the portable path: what the schedule says of the order of work and of splits
    holds, the rest is chosen anew.
    """
    schedule, target = kernel.schedule, TARGETS[kernel.target]
    given = {
        "producer_registers": 0,
        "consumer_registers": 0,
        "persistent": schedule.persistent,
        "order": schedule.order,
        "raster.along": schedule.raster.along,
        "raster.group": schedule.raster.group,
        "raster.serpentine": schedule.raster.serpentine,
        "fuse_rows": schedule.fuse_rows,
        "split_k": schedule.split_k,
        "require": schedule.require,
    }
    meaning = _meaning(kernel)
    request = ScheduleRequest("portable", kernel.signature.name, given=given)
    return build_tile(meaning, choose_schedule(meaning, target, request), target)


def _meaning(kernel: TileKernel) -> MoeKernel:
    """What ``kernel`` computes, its multiplications apart."""
    body = [
        part
        for op in kernel.body
        for part in (
            [
                Contract(result, op.over, op.rows, columns, op.span)
                for result, columns in zip(op.results, op.columns, strict=True)
            ]
            if isinstance(op, Multiply)
            else [op]
        )
    ]
    return MoeKernel(kernel.signature, tuple(body), kernel.source)
