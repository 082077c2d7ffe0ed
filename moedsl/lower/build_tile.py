"""Turn a moe kernel and its complete schedule into a tile kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.ir.moe import Contract
from moedsl.ir.tile import Multiply, TileKernel

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule
    from moedsl.ir.tile import TileOp
    from moedsl.target import Target


def build_tile(kernel: MoeKernel, schedule: Schedule, target: Target) -> TileKernel:
    """``kernel`` computed tile by tile as ``schedule`` says.

    Contractions with the same row operand and depth become one multiplication, at the place of
    the first of them, so that the row operand is brought in once. Nothing else moves: a
    contraction reads tensors only, so bringing it forward is always sound.
    """
    body: list[TileOp] = []
    places: dict[object, int] = {}
    for op in kernel.body:
        if not isinstance(op, Contract):
            body.append(op)
            continue
        key = (op.over, op.lhs)
        place = places.setdefault(key, len(body))
        if place == len(body):
            body.append(Multiply((op.result,), op.over, op.lhs, (op.rhs,), op.span))
        else:
            shared = body[place]
            assert isinstance(shared, Multiply)
            body[place] = replace(
                shared,
                results=(*shared.results, op.result),
                columns=(*shared.columns, op.rhs),
                span=shared.span.to(op.span),
            )
    return TileKernel(kernel.signature, target.sm, schedule, tuple(body), kernel.source)
