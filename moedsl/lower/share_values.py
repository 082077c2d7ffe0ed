"""Compute equal values once."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.moe import Contract, MoeKernel

if TYPE_CHECKING:
    from collections.abc import Hashable

    from moedsl.ir.core import Value
    from moedsl.ir.moe import MoeOp


def share_values(kernel: MoeKernel) -> MoeKernel:
    """Drop every contraction, load, constant and application equal to an earlier one.

    Its uses take the earlier value. Stores stay: outputs are read by none, so no load changes
    between two equal ones. Order of operands counts, for ``a + b`` may differ from ``b + a`` in
    the bits of a NaN.
    """
    first: dict[Hashable, Value] = {}
    instead: dict[str, Value] = {}
    body: list[MoeOp] = []
    for original in kernel.body:
        op = _renamed(original, instead)
        if isinstance(op, Store):
            body.append(op)
            continue
        earlier = first.setdefault(_key(op), op.result)
        if earlier is op.result:
            body.append(op)
        else:
            instead[op.result.name] = earlier
    return MoeKernel(kernel.signature, tuple(body), kernel.source)


def _renamed(op: MoeOp, instead: dict[str, Value]) -> MoeOp:
    """``op`` with the values it uses replaced by the ones they equal."""
    match op:
        case Apply():
            return replace(op, operands=tuple(instead.get(v.name, v) for v in op.operands))
        case Store():
            return replace(op, operand=instead.get(op.operand.name, op.operand))
        case _:
            return op


def _key(op: Contract | Load | Constant | Apply) -> Hashable:
    """Equal for operations that compute the same over the same indices."""
    dims = op.result.dims
    match op:
        case Contract():
            return Contract, dims, op.over, op.lhs, op.rhs
        case Load():
            return Load, dims, op.access
        case Constant():
            # As bits: 0.0 == -0.0, yet they divide differently.
            return Constant, dims, struct.pack("<d", op.number)
        case Apply():
            return Apply, dims, op.function, op.operands
        case _:
            assert_never(op)
