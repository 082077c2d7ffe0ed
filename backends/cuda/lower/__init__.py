"""Passes from the tile to the gpu dialect, in the order of :func:`lower_to_gpu`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.lower.choose_copies import choose_copies
from moedsl.backends.cuda.lower.open_pipelines import open_pipelines
from moedsl.backends.cuda.lower.place_buffers import place_buffers

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.tile import TileKernel


def lower_to_gpu(kernel: TileKernel, access: AccessModes) -> GpuKernel:
    """``kernel`` as one CTA executes it. The schedule is legal on the kernel's target."""
    return place_buffers(choose_copies(open_pipelines(kernel, access)))
