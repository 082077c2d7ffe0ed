"""What a kernel calls the dimensions that schedules speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.ir.moe import Contract

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel


@dataclass(frozen=True)
class Roles:
    """What a kernel calls its rows, columns and depths; ``ragged`` is the index that is fused."""

    rows: str
    columns: str
    depths: tuple[str, ...]
    ragged: str

    @staticmethod
    def of(kernel: MoeKernel) -> Roles:
        """The roles in ``kernel``."""
        signature = kernel.signature
        depths = dict.fromkeys(op.over for op in kernel.body if isinstance(op, Contract))
        return Roles(signature.rows, signature.columns, tuple(depths), signature.ragged)
