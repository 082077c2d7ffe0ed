"""Give every buffer its place in a stage of shared memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.gpu import Pipeline, Side
from moedsl.lower.resources import operand_bytes
from moedsl.lower.resources.specialised import block_bytes

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel
    from moedsl.ir.core import Compute


def place_buffers(kernel: GpuKernel) -> GpuKernel:
    """``kernel`` with buffer offsets; pipelines follow each other, so they use the same stages.

    For specialised warps they are those of one block of depth, rows last: they are as long as the
    tile is high.
    """
    specialised = kernel.schedule.specialised
    body = tuple(
        replace(op, buffers=_placed(op.buffers, kernel.signature.compute, specialised))
        if isinstance(op, Pipeline)
        else op
        for op in kernel.loop.body
    )
    return replace(kernel, body=(replace(kernel.loop, body=body),))


def _placed(buffers: tuple[Buffer, ...], compute: Compute, specialised: bool) -> tuple[Buffer, ...]:
    placed, offset = [], 0
    for buffer in sorted(buffers, key=lambda b: specialised and b.side is Side.ROWS):
        placed.append(replace(buffer, offset=offset))
        if specialised:
            offset += block_bytes(buffer.positions, buffer.depth_inner, compute)
        else:
            offset += operand_bytes(buffer.positions, buffer.depth, compute)
    return tuple(placed)
