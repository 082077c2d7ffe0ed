"""Drop what no output depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.elementwise import Store
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.reflect import operands

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeOp


def drop_unused(kernel: MoeKernel) -> MoeKernel:
    """Keep stores and what they use, directly or not; tensors stay arguments of the kernel.

    One contraction stays even if unused, because a kernel has at least one.
    """
    used: set[str] = set()
    kept: list[MoeOp] = []
    contractions = [op for op in kernel.body if isinstance(op, Contract)]
    for op in reversed(kernel.body):
        last = bool(contractions) and op is contractions[0] and not _contracts(kept)
        if isinstance(op, Store) or op.result.name in used or last:
            used.update(value.name for value in operands(op))
            kept.append(op)
    return MoeKernel(kernel.signature, tuple(reversed(kept)), kernel.source)


def _contracts(body: list[MoeOp]) -> bool:
    return any(isinstance(op, Contract) for op in body)
