"""QuACK (quack-kernels): its GEMMs over rows of varying number, by ``quack.gemm_interface``.

Tuned, a first call with shapes that it has not seen measures every configuration, which takes
minutes where none is compiled yet; the choice does not look at how rows are spread over experts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moedsl.bench.contestant import Launch

if TYPE_CHECKING:
    from moedsl.bench.operands import Operands

Make = Callable[[bool], Callable[["Operands"], Launch]]


def product(tuned: bool) -> Callable[[Operands], Launch]:
    """The plain product, tuned or with the default configuration."""

    def bind(operands: Operands) -> Launch:
        from quack.gemm_interface import gemm

        x, weights, out = operands["x"], operands["w"].mT, operands.out
        limits = _limits(operands)
        return Launch(lambda: gemm(x, weights, out=out, cu_seqlens_m=limits, tuned=tuned))

    return bind


def gather(tuned: bool) -> Callable[[Operands], Launch]:
    """The product of rows that it gathers itself."""

    def bind(operands: Operands) -> Launch:
        from quack.gemm_interface import gemm

        x, weights, out = operands["x"], operands["w"].mT, operands.out
        src, limits = operands["src"], _limits(operands)
        return Launch(
            lambda: gemm(x, weights, out=out, cu_seqlens_m=limits, A_idx=src, tuned=tuned)
        )

    return bind


def gate_up(tuned: bool) -> Callable[[Operands], Launch]:
    """Both products and SwiGLU in one kernel, of weights that lie one behind the other."""

    def bind(operands: Operands) -> Launch:
        from quack.gemm_interface import gemm_gated

        x, weights, limits = operands["x"], operands.weights.mT, _limits(operands)

        def run() -> Any:
            _, activated = gemm_gated(
                x,
                weights,
                activation="swiglu",
                postact_out=operands.out,
                cu_seqlens_m=limits,
                store_preact=False,
                tuned=tuned,
                concat_layout=("B",),
            )
            return activated

        return Launch(run)

    return bind


def weight_gradient(tuned: bool) -> Callable[[Operands], Launch]:
    """The product whose sums are over the rows."""

    def bind(operands: Operands) -> Launch:
        from quack.gemm_interface import gemm

        dy, x, out, limits = operands["dy"].T, operands["x"], operands.out, _limits(operands)
        return Launch(lambda: gemm(dy, x, out=out, cu_seqlens_k=limits, tuned=tuned))

    return bind


def _limits(operands: Operands) -> Any:
    """Where each expert's rows begin and the last one's end, i32[E + 1]."""
    import torch

    return torch.nn.functional.pad(operands.offs, (1, 0))
