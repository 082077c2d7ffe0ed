"""Choose how each operand is brought in: as fast as its layout and alignment allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import AccessMode
from moedsl.backends.cuda.gpu import Copy, CopyWay, Pipeline, Side

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import GpuKernel


def choose_copies(kernel: GpuKernel) -> GpuKernel:
    """``kernel`` with the way of every copy decided."""
    body = tuple(
        replace(
            op,
            body=tuple(
                replace(step, way=copy_way(kernel, op, step)) if isinstance(step, Copy) else step
                for step in op.body
            ),
        )
        if isinstance(op, Pipeline)
        else op
        for op in kernel.loop.body
    )
    return replace(kernel, body=(replace(kernel.loop, body=body),))


def copy_way(kernel: GpuKernel, pipeline: Pipeline, copy: Copy) -> CopyWay:
    """VECTOR needs 16-byte lines that start aligned.

    That excludes tensors of other alignment, an innermost dimension that is neither positions nor
    depth or is read through a map, and an innermost ragged one: experts start anywhere in it.
    TENSOR, for specialised warps, is VECTOR without a map.
    """
    signature = kernel.signature
    buffer = next(b for b in pipeline.buffers if b.name == copy.buffer)
    position = signature.rows if buffer.side is Side.ROWS else signature.columns
    inner = pipeline.over if buffer.depth_inner else position
    line = position if buffer.depth_inner else pipeline.over
    last = copy.access.coordinates[-1]
    if (
        kernel.access(copy.access.tensor) is AccessMode.ELEMENT
        or last.index != inner
        or last.via is not None
        or inner == signature.ragged
    ):
        return CopyWay.ELEMENT
    at = copy.access.position(line)
    assert at is not None
    if copy.access.coordinates[at].via is not None:
        return CopyWay.MAPPED
    return CopyWay.TENSOR if kernel.schedule.specialised else CopyWay.VECTOR
