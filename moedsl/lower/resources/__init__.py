"""What a tile kernel takes of an SM: the one resource model, with a file for each path.

Legality rules quote it, ``choose_schedule`` searches with it, and code generation lays shared
memory out by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.lower.resources.model import (
    WARP,
    Resources,
    SharedLayout,
    StepShape,
    WarpLayout,
    depth_inner,
    element_bytes,
)
from moedsl.lower.resources.portable import (
    LINE_BYTES,
    STAGED_ROWS,
    operand_bytes,
    portable_resources,
    share_tile,
    staged_pitch,
    step_shape,
)
from moedsl.lower.resources.specialised import specialised_resources

if TYPE_CHECKING:
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

__all__ = [
    "LINE_BYTES",
    "STAGED_ROWS",
    "WARP",
    "Resources",
    "SharedLayout",
    "StepShape",
    "WarpLayout",
    "depth_inner",
    "element_bytes",
    "operand_bytes",
    "resources",
    "share_tile",
    "staged_pitch",
    "step_shape",
]


def resources(kernel: TileKernel, target: Target) -> Resources:
    """What ``kernel`` takes on ``target``."""
    if kernel.schedule.specialised:
        return specialised_resources(kernel, target)
    return portable_resources(kernel, target)
