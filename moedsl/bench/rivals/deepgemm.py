"""DeepGEMM: its product of segments whose rows are padded to whole tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.bench.contestant import Launch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from moedsl.bench.operands import Operands
    from moedsl.bench.suite import Case


def bind(operands: Operands) -> Launch:
    """The plain product; rows are padded, and results compacted, outside of what is timed."""
    import deep_gemm
    import torch

    case, x, w = operands.workload.case, operands["x"], operands["w"]
    places, experts = pad(case, int(deep_gemm.get_mk_alignment_for_contiguous_layout()))
    where = torch.from_numpy(places).cuda()
    owners = torch.from_numpy(experts).cuda()
    padded = x.new_zeros(len(experts), case.k)
    padded[where] = x
    out = x.new_full((len(experts), case.n), float("nan"))

    def run() -> Any:
        deep_gemm.m_grouped_bf16_gemm_nt_contiguous(padded, w, out, owners)
        return out

    return Launch(run, lambda result: result[where])


def pad(case: Case, unit: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where each row goes if each expert's fill whole ``unit``s, and whose each place is.

    The first is i64[rows]; the second i32[places], -1 where no row is.
    """
    counts = np.array(case.rows)
    sizes = -(-counts // unit) * unit
    starts = np.cumsum(sizes) - sizes
    places = np.concatenate(
        [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
    )
    experts = np.full(int(sizes.sum()), -1, np.int32)
    experts[places] = np.repeat(np.arange(case.experts, dtype=np.int32), counts)
    return places, experts
