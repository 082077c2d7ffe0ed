"""What is timed: the kernels of an MoE layer, each as a text, with its work and what it must give.

Work is counted on the compiled text, so that it cannot differ from what is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from moedsl.bench.expected import (
    Expected,
    expect_gate_up,
    expect_gather,
    expect_product,
    expect_scatter,
    expect_weight_gradient,
)
from moedsl.ir.core import Role
from moedsl.ir.moe import Contract
from moedsl.lower.front import load_program
from moedsl.source.span import Source

if TYPE_CHECKING:
    from moedsl.bench.suite import Case
    from moedsl.ir.core import Tensor
    from moedsl.ir.moe import MoeKernel

_HEAD = """\
kernel {name} {{
    index  e = {experts}
    index  m = ragged(e)
    index  n = {n}
    index  k = {k}
"""
_PRODUCT = """\
    input  x : bf16[m, k]
    input  w : bf16[e, n, k]
    output y : bf16[m, n]
    y[m, n] = sum[k] x[m, k] * w[e, n, k]
"""
_GATE_UP = """\
    input  x  : bf16[m, k]
    input  wg : bf16[e, n, k]
    input  wu : bf16[e, n, k]
    output h  : bf16[m, n]
    gate = sum[k] x[m, k] * wg[e, n, k]
    up   = sum[k] x[m, k] * wu[e, n, k]
    h[m, n] = silu(gate) * up
"""
_WEIGHT_GRADIENT = """\
    input  dy : bf16[m, n]
    input  x  : bf16[m, k]
    output dw : bf16[e, n, k]
    dw[e, n, k] = sum[m] dy[m, n] * x[m, k]
"""
_GATHER = """\
    index  t = dynamic
    input  x   : bf16[t, k]
    input  src : i32[m]
    input  w   : bf16[e, n, k]
    output y   : bf16[m, n]
    y[m, n] = sum[k] x[src[m], k] * w[e, n, k]
"""
_SCATTER = """\
    index  t = dynamic
    input  x   : bf16[m, k]
    input  w   : bf16[e, n, k]
    input  p   : f32[m]
    input  dst : i32[m]
    output y   : f32[t, n]
    d = sum[k] x[m, k] * w[e, n, k]
    y[dst[m], n] += p[m] * d
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel for any case: what it is in words, its statements, and what it must give."""

    name: str
    what: str
    statements: str
    expected: Expected

    def text(self, case: Case) -> str:
        """The kernel for ``case`` as a ``.moe`` text without a schedule."""
        head = _HEAD.format(name=self.name, experts=case.experts, n=case.n, k=case.k)
        return f"{head}{self.statements}}}\n"


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("product", "each expert's rows times its weights", _PRODUCT, expect_product),
        Kernel("gate_up", "two products of the same rows, SwiGLU", _GATE_UP, expect_gate_up),
        Kernel(
            "weight_gradient",
            "a sum over each expert's rows",
            _WEIGHT_GRADIENT,
            expect_weight_gradient,
        ),
        Kernel("gather", "product of rows read from the tokens", _GATHER, expect_gather),
        Kernel("scatter", "product weighted and added to the tokens", _SCATTER, expect_scatter),
    )
}
"""Every kernel by name, the plain product first."""


@dataclass(frozen=True)
class Workload:
    """A kernel on a case."""

    kernel: Kernel
    case: Case

    @property
    def text(self) -> str:
        """The ``.moe`` text."""
        return self.kernel.text(self.case)

    @cached_property
    def meaning(self) -> MoeKernel:
        """The text, checked."""
        (kernel,) = load_program(Source(self.kernel.name, self.text)).kernels
        return kernel

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The extents of one of the kernel's tensors."""
        return self._shape(tensor, self.case.experts)

    @property
    def flops(self) -> float:
        """Useful floating-point operations: two for each term of a sum."""
        contractions = sum(isinstance(op, Contract) for op in self.meaning.body)
        return 2.0 * contractions * self.case.total * self.case.n * self.case.k

    @property
    def bytes(self) -> float:
        """Least traffic: every tensor once, twice if it is added to, no weights of idle experts."""
        return float(sum(self._traffic(tensor) for tensor in self.meaning.signature.tensors))

    @property
    def floor_seconds(self) -> float:
        """What an H200 allows: 790 TFLOP/s and 4.3 TB/s, both measured there on random data."""
        return max(self.flops / 790e12, self.bytes / 4.3e12)

    def _traffic(self, tensor: Tensor) -> int:
        experts = self.case.active if tensor.role is Role.INPUT else self.case.experts
        times = 2 if tensor.role is Role.ACCUMULATED else 1
        return times * tensor.dtype.bytes * prod(self._shape(tensor, experts))

    def _shape(self, tensor: Tensor, experts: int) -> tuple[int, ...]:
        case = self.case
        extents = {"e": experts, "m": case.total, "n": case.n, "k": case.k, "t": case.tokens}
        return tuple(extents[index] for index in tensor.dims)
