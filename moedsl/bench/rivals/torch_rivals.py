"""torch: ``_grouped_mm`` and what must stand beside it, and cuBLAS products through torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moedsl.bench.contestant import Launch

if TYPE_CHECKING:
    from moedsl.bench.operands import Operands


def bind_product(operands: Operands) -> Launch:
    """One grouped product."""
    import torch

    x, weights = operands["x"], operands["w"].mT
    return Launch(lambda: torch._grouped_mm(x, weights, offs=operands.offs))


def bind_naive(operands: Operands) -> Launch:
    """One cuBLAS product for each expert that has rows."""
    import torch

    x, w, y = operands["x"], operands["w"], operands.out
    products = [
        (x[rows], w[expert].T, y[rows])
        for expert, rows in operands.workload.case.segments()
        if rows.start < rows.stop
    ]

    def run() -> Any:
        for rows, weights, out in products:
            torch.mm(rows, weights, out=out)
        return y

    return Launch(run)


def bind_dense(operands: Operands) -> Launch:
    """One dense cuBLAS product with the same flops: what no routing at all would cost."""
    import torch

    x, out, weights = operands["x"], torch.empty_like(operands.out), operands["w"][0].T
    return Launch(lambda: torch.mm(x, weights, out=out))


def bind_gate_up(operands: Operands) -> Launch:
    """Two grouped products, then silu and a multiplication, each a kernel of its own."""
    import torch

    x, offs = operands["x"], operands.offs
    gate_weights, up_weights = operands["wg"].mT, operands["wu"].mT

    def run() -> Any:
        gate = torch._grouped_mm(x, gate_weights, offs=offs)
        up = torch._grouped_mm(x, up_weights, offs=offs)
        return torch.nn.functional.silu(gate) * up

    return Launch(run)


def bind_gate_up_joined(operands: Operands) -> Launch:
    """One grouped product of twice as many columns, then silu and a multiplication."""
    import torch

    x, weights, offs = operands["x"], operands.weights.mT, operands.offs

    def run() -> Any:
        gate, up = torch._grouped_mm(x, weights, offs=offs).chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up

    return Launch(run)


def bind_weight_gradient(operands: Operands) -> Launch:
    """One grouped product whose sums are over the rows."""
    import torch

    dy, x = operands["dy"].T, operands["x"]
    return Launch(lambda: torch._grouped_mm(dy, x, offs=operands.offs))


def bind_gather(operands: Operands) -> Launch:
    """The rows copied together, then one grouped product."""
    import torch

    x, src, weights = operands["x"], operands["src"], operands["w"].mT
    return Launch(lambda: torch._grouped_mm(x.index_select(0, src), weights, offs=operands.offs))


def bind_scatter(operands: Operands) -> Launch:
    """One grouped product, a multiplication that widens to f32, and ``index_add_``."""
    import torch

    x, weights, offs = operands["x"], operands["w"].mT, operands.offs
    factors, dst, y = operands["p"][:, None], operands["dst"], operands.out

    def run() -> Any:
        return y.index_add_(0, dst, torch._grouped_mm(x, weights, offs=offs) * factors)

    return Launch(run)
