"""Give every buffer its place in a stage of shared memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backends.cuda.gpu import Pipeline
from moedsl.lower.resources import operand_bytes

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel
    from moedsl.ir.core import Compute


def place_buffers(kernel: GpuKernel) -> GpuKernel:
    """``kernel`` with buffer offsets; pipelines follow each other, so they use the same stages."""
    body = tuple(
        replace(op, buffers=_placed(op.buffers, kernel.signature.compute))
        if isinstance(op, Pipeline)
        else op
        for op in kernel.loop.body
    )
    return replace(kernel, body=(replace(kernel.loop, body=body),))


def _placed(buffers: tuple[Buffer, ...], compute: Compute) -> tuple[Buffer, ...]:
    placed, offset = [], 0
    for buffer in buffers:
        placed.append(replace(buffer, offset=offset))
        offset += operand_bytes(buffer.positions, buffer.depth, compute)
    return tuple(placed)
