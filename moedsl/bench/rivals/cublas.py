"""cuBLAS's grouped product, with the row counts on the host that it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moedsl.bench.contestant import Launch

if TYPE_CHECKING:
    from moedsl.bench.operands import Operands

_BF16 = 14
"""CUDA_R_16BF of library_types.h."""


def bind(operands: Operands) -> Launch:
    """``cublasGemmGroupedBatchedEx`` through nvmath-python: a group for each expert with rows."""
    import numpy as np
    import torch
    from nvmath.bindings import cublas

    case, x, w, y = operands.workload.case, operands["x"], operands["w"], operands.out
    active = [(e, rows) for e, rows in case.segments() if rows.start < rows.stop]
    groups = len(active)

    def pointers(array: Any, steps: list[int]) -> Any:
        base = array.data_ptr()
        return torch.tensor([base + step for step in steps], dtype=torch.int64, device=x.device)

    weights = pointers(w, [2 * e * case.n * case.k for e, _ in active])
    rows = pointers(x, [2 * part.start * case.k for _, part in active])
    outputs = pointers(y, [2 * part.start * case.n for _, part in active])
    one, zero = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    handle = cublas.create()
    cublas.set_stream(handle, torch.cuda.current_stream().cuda_stream)
    # cuBLAS is column-major: it computes y^T[n, rows] = (w as [k, n])^T · (x as [k, rows]).
    arguments = (
        [int(cublas.Operation.T)] * groups,
        [int(cublas.Operation.N)] * groups,
        [case.n] * groups,
        [case.rows[e] for e, _ in active],
        [case.k] * groups,
        one.ctypes.data,
        weights.data_ptr(),
        _BF16,
        [case.k] * groups,
        rows.data_ptr(),
        _BF16,
        [case.k] * groups,
        zero.ctypes.data,
        outputs.data_ptr(),
        _BF16,
        [case.n] * groups,
        groups,
        [1] * groups,
        int(cublas.ComputeType.COMPUTE_32F),
    )
    keep = (weights, rows, outputs, one, zero)

    def run() -> Any:
        assert keep
        cublas.gemm_grouped_batched_ex(handle, *arguments)
        return y

    return Launch(run)
