"""The ``tile`` dialect: which work is done, in which order, for one target and schedule.

The body of a kernel runs once for every tile of the work plan (:mod:`moedsl.work`); its values
are f32 tiles of ``height`` rows by ``columns`` columns. Rows outside the tile's expert and
columns outside the matrix are neither summed nor stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.core import Access, Value
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.source.span import NOWHERE, Span

if TYPE_CHECKING:
    from moedsl.ir.moe import Signature
    from moedsl.ir.schedule import Schedule
    from moedsl.source.span import Source


@dataclass(frozen=True, slots=True)
class Multiply:
    """Contract one row operand with one or more column operands in a single pass over ``over``.

    ``results[i]`` is ``sum[over] rows * columns[i]``; the row operand is brought in once.
    The depth is cut into the schedule's ``split_k`` parts, summed in the order of the parts.
    """

    results: tuple[Value, ...]
    over: str
    rows: Access
    columns: tuple[Access, ...]
    span: Span = NOWHERE


TileOp = Multiply | Load | Constant | Apply | Store


@dataclass(frozen=True)
class TileKernel:
    """A kernel with every scheduling decision made. ``target`` names an SM, as in ``sm_90a``."""

    signature: Signature
    target: str
    schedule: Schedule
    body: tuple[TileOp, ...]
    source: Source | None = None
