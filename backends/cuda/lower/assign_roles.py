"""Give warps roles: copies go to producers, products and the epilogue to consumers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.gpu import (
    Copy,
    CopyWay,
    Fill,
    MultiplyAdd,
    Pipeline,
    Publish,
    Role,
    RoleName,
    Side,
)

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import GpuKernel, RoleOp

_CONSUMER_WARPS = 4
_COPYING_WARPS = 4
"""A warpgroup of their own."""


def assign_roles(kernel: GpuKernel) -> GpuKernel:
    """``kernel`` with a role for every warp, if its schedule says so; else as it is."""
    schedule = kernel.schedule
    if not schedule.specialised:
        return kernel
    copies = [s for p in kernel.pipelines for s in p.body if isinstance(s, Copy)]
    by_engine = all(copy.way is CopyWay.TENSOR for copy in copies)
    few = schedule.producer_registers
    roles = (
        Role(RoleName.COLUMNS, 1, few, _fills(kernel, Side.COLUMNS)),
        Role(RoleName.SCHEDULER, 1, few, (Publish(kernel.resources.shared.ring_slots),)),
        Role(RoleName.ROWS, 1 if by_engine else _COPYING_WARPS, few, _fills(kernel, Side.ROWS)),
        Role(
            RoleName.CONSUMER,
            _CONSUMER_WARPS * schedule.consumers,
            schedule.consumer_registers,
            tuple(_products(op) for op in kernel.loop.body if not isinstance(op, Role)),
        ),
    )
    return replace(kernel, body=(replace(kernel.loop, body=roles),))


def _fills(kernel: GpuKernel, side: Side) -> tuple[Fill, ...]:
    return tuple(
        Fill(
            pipeline.over,
            tuple(
                step
                for step in pipeline.body
                if isinstance(step, Copy) and kernel.buffer(step.buffer).side is side
            ),
            pipeline.span,
        )
        for pipeline in kernel.pipelines
    )


def _products(op: RoleOp) -> RoleOp:
    if not isinstance(op, Pipeline):
        return op
    return replace(op, body=tuple(s for s in op.body if isinstance(s, MultiplyAdd)))
