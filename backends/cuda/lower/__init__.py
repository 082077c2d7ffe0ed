"""The passes from the tile to the gpu dialect, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.lower.assign_roles import assign_roles
from moedsl.backends.cuda.lower.choose_copies import choose_copies
from moedsl.backends.cuda.lower.fall_back import can_feed, can_store, fall_back, store_staged
from moedsl.backends.cuda.lower.open_pipelines import open_pipelines
from moedsl.backends.cuda.lower.place_buffers import place_buffers
from moedsl.lower.pipeline import Pass

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.cuda.gpu import GpuKernel
    from moedsl.ir.tile import TileKernel

PASSES = (
    Pass(
        "open_pipelines",
        "tile",
        "gpu",
        "turn multiplications into pipelines and what is behind them into an epilogue",
        lambda kernel, _: open_pipelines(kernel, every_vector(kernel.signature)),
    ),
    Pass(
        "choose_copies",
        "gpu",
        "gpu",
        "copy operands 16 bytes at a time where strides and bases allow it",
        lambda kernel, _: choose_copies(kernel),
    ),
    Pass(
        "place_buffers",
        "gpu",
        "gpu",
        "give every buffer its place in a stage of shared memory",
        lambda kernel, _: place_buffers(kernel),
    ),
    Pass(
        "assign_roles",
        "gpu",
        "gpu",
        "give specialised warps their roles: scheduler, producers, consumers",
        lambda kernel, _: assign_roles(kernel),
    ),
)
"""The same as :func:`lower_to_gpu` for arrays that allow vector access."""


def lower_to_gpu(kernel: TileKernel, access: AccessModes) -> GpuKernel:
    """``kernel`` as one CTA executes it. The schedule is legal on the kernel's target.

    Where the copy engine cannot store outputs with ``access``, threads do; where producers cannot
    bring in operands, the portable path computes the kernel.
    """
    lowered = choose_copies(open_pipelines(kernel, access))
    if kernel.schedule.specialised and not can_feed(lowered):
        return lower_to_gpu(fall_back(kernel), access)
    if not can_store(kernel, access):
        return lower_to_gpu(store_staged(kernel) or fall_back(kernel), access)
    return assign_roles(place_buffers(lowered))
