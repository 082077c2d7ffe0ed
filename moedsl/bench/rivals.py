"""What moedsl is compared with. Each contestant binds one case's tensors and returns a launch.

All run on torch's current stream, write ``[rows, n]`` in bf16, and start from the same tensors:
x [rows, k], w [E, n, k], offs i32[E]. Rivals that need row counts on the host get them for free.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.bench.suite import Case


@dataclass(frozen=True)
class Operands:
    """The tensors of one case on the current device, as torch tensors."""

    case: Case
    x: Any
    w: Any
    offs: Any
    y: Any


def bind_moedsl(operands: Operands) -> Callable[[], Any]:
    """Moedsl with the schedule its compiler chooses."""
    import moedsl

    compiled = moedsl.load(operands.case.text).kernel("grouped").compile(backend="cuda")
    arguments = {"x": operands.x, "w": operands.w, "offs": operands.offs, "out": operands.y}
    compiled.warmup(**arguments)

    def launch() -> Any:
        compiled(**arguments)
        return operands.y

    return launch


def bind_cublas_grouped(operands: Operands) -> Callable[[], Any]:
    """``cublasGemmGroupedBatchedEx`` through nvmath-python: a group for each expert with rows."""
    import numpy as np
    import torch
    from nvmath.bindings import cublas

    case, x, w, y = operands.case, operands.x, operands.w, operands.y
    ends = np.cumsum(case.rows)
    active = [e for e in range(case.experts) if case.rows[e]]
    starts = [int(ends[e]) - case.rows[e] for e in active]
    groups = len(active)

    def pointers(base: int, steps: list[int]) -> Any:
        return torch.tensor([base + step for step in steps], dtype=torch.int64, device=x.device)

    weights = pointers(w.data_ptr(), [2 * e * case.n * case.k for e in active])
    rows = pointers(x.data_ptr(), [2 * start * case.k for start in starts])
    outputs = pointers(y.data_ptr(), [2 * start * case.n for start in starts])
    one, zero = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    handle = cublas.create()
    cublas.set_stream(handle, torch.cuda.current_stream().cuda_stream)
    bf16 = 14  # CUDA_R_16BF of library_types.h
    # cuBLAS is column-major: it computes y^T[n, rows] = (w as [k, n])^T · (x as [k, rows]).
    arguments = (
        [int(cublas.Operation.T)] * groups,
        [int(cublas.Operation.N)] * groups,
        [case.n] * groups,
        [case.rows[e] for e in active],
        [case.k] * groups,
        one.ctypes.data,
        weights.data_ptr(),
        bf16,
        [case.k] * groups,
        rows.data_ptr(),
        bf16,
        [case.k] * groups,
        zero.ctypes.data,
        outputs.data_ptr(),
        bf16,
        [case.n] * groups,
        groups,
        [1] * groups,
        int(cublas.ComputeType.COMPUTE_32F),
    )
    keep = (weights, rows, outputs, one, zero)

    def launch() -> Any:
        assert keep
        cublas.gemm_grouped_batched_ex(handle, *arguments)
        return y

    return launch


def bind_torch(operands: Operands) -> Callable[[], Any]:
    """``torch._grouped_mm``."""
    import torch

    weights = operands.w.transpose(-2, -1)
    return lambda: torch._grouped_mm(operands.x, weights, offs=operands.offs)


def bind_naive(operands: Operands) -> Callable[[], Any]:
    """One cuBLAS product for each expert that has rows."""
    import torch

    case, products, start = operands.case, [], 0
    for expert, count in enumerate(case.rows):
        if count:
            part = slice(start, start + count)
            products.append((operands.x[part], operands.w[expert].T, operands.y[part]))
        start += count

    def launch() -> Any:
        for rows, weights, out in products:
            torch.mm(rows, weights, out=out)
        return operands.y

    return launch


def bind_dense(operands: Operands) -> Callable[[], Any]:
    """One dense cuBLAS product with the same flops: what no routing at all would cost."""
    import torch

    out, weights = torch.empty_like(operands.y), operands.w[0].T
    return lambda: torch.mm(operands.x, weights, out=out)


@dataclass(frozen=True)
class Contestant:
    """A way to compute a case. ``computes`` is False where the result is another product."""

    name: str
    bind: Callable[[Operands], Callable[[], Any]]
    module: str = "torch"
    extra: str = "torch"
    computes: bool = True

    def available(self) -> bool:
        """Whether its library can be imported here."""
        return importlib.util.find_spec(self.module) is not None


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("moedsl", bind_moedsl),
        Contestant("cublas_grouped", bind_cublas_grouped, "nvmath", "bench"),
        Contestant("torch", bind_torch),
        Contestant("naive", bind_naive),
        Contestant("dense", bind_dense, computes=False),
    )
}
"""Every contestant by name, moedsl first."""


def make_operands(case: Case, seed: int) -> Operands:
    """Standard normal x and w/√k on the GPU; y poisoned with NaN. Raises UnavailableError."""
    try:
        import torch
    except ImportError:
        raise UnavailableError(
            "the benchmark needs torch for its rivals", "pip install 'moedsl[torch,bench]'"
        ) from None
    if not torch.cuda.is_available():
        raise UnavailableError("the benchmark needs a CUDA GPU", "moedsl doctor says what is seen")
    generator = torch.Generator(device="cuda").manual_seed(seed)
    options = {"device": "cuda", "dtype": torch.bfloat16, "generator": generator}
    x = torch.randn(case.total, case.k, **options)
    w = torch.randn(case.experts, case.n, case.k, **options).mul_(case.k**-0.5)
    offs = torch.tensor(case.rows, device="cuda").cumsum(0).to(torch.int32)
    y = torch.full((case.total, case.n), float("nan"), device="cuda", dtype=torch.bfloat16)
    return Operands(case, x, w, offs, y)


def worst_error(operands: Operands, result: Any) -> float:
    """Largest error over its allowance; a result is accepted if this is at most 1.

    The allowance of an element is half a unit in the last place of bf16 of the float64 result
    plus 8·√k·2⁻²⁴·S with S = |x|·|w| (the statistical test of `moedsl run`). NaN counts as inf.
    """
    import torch

    worst, start = 0.0, 0
    for expert, count in enumerate(operands.case.rows):
        if not count:
            continue
        part = slice(start, start + count)
        start += count
        x, w = operands.x[part].double(), operands.w[expert].double()
        exact = x @ w.T
        spread = x.abs_() @ w.abs_().T
        error = 8 * operands.case.k**0.5 * 2.0**-24 * spread
        # bf16 has 8 significant bits: half a unit in the last place is at most 2^-8 of the value.
        allowed = error + (exact.abs() + error) * 2.0**-8
        ratio = (result[part].double() - exact).abs() / allowed
        worst = max(worst, float(torch.nan_to_num(ratio, nan=float("inf")).max()))
    return worst
