"""QuACK is called as its interface is documented: a stand-in in NumPy gives the kernel's result."""

from __future__ import annotations

import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moedsl.bench.contestant import Contestant
from moedsl.bench.operands import Operands
from moedsl.bench.rivals import CONTESTANTS
from tests.bench.test_expected import BF16, CASE, draw, workload, worst

PAIRS = [
    pytest.param(kernel, contestant, id=f"{kernel}-{contestant.name}")
    for kernel, known in CONTESTANTS.items()
    for contestant in known.values()
    if contestant.module == "quack"
]


def gemm(
    a: Any,
    b: Any,
    *,
    out: Any,
    tuned: bool,
    cu_seqlens_m: Any = None,
    cu_seqlens_k: Any = None,
    A_idx: Any = None,  # noqa: N803  (QuACK's own name, by which it is called)
) -> Any:
    """[M, K] times [E, K, N] by segments of M, or [M, K] times [K, N] by segments of K."""
    a = a if A_idx is None else a[A_idx]
    limits = cu_seqlens_k if cu_seqlens_m is None else cu_seqlens_m
    for e, (start, end) in enumerate(pairwise(limits)):
        part = slice(start, end)
        if cu_seqlens_m is None:
            out[e] = a[:, part].astype(np.float32) @ b[part].astype(np.float32)
        else:
            out[part] = a[part].astype(np.float32) @ b[e].astype(np.float32)
    return out


def gemm_gated(
    a: Any,
    b: Any,
    *,
    activation: str,
    postact_out: Any,
    cu_seqlens_m: Any,
    store_preact: bool,
    tuned: bool,
    concat_layout: tuple[str, ...],
) -> Any:
    """Of columns [gates; ups]: silu of the first half times the second half."""
    assert (activation, store_preact, concat_layout) == ("swiglu", False, ("B",))
    both = np.empty((len(a), b.shape[2]), np.float32)
    gemm(a, b, out=both, cu_seqlens_m=cu_seqlens_m, tuned=tuned)
    gate, up = np.split(both, 2, axis=1)
    postact_out[:] = gate / (1 + np.exp(-gate)) * up
    return None, postact_out


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Stands in for torch and QuACK; whether each call wanted to be tuned."""
    wanted: list[bool] = []

    def told(function: Any) -> Any:
        def call(*arguments: Any, tuned: bool, **options: Any) -> Any:
            wanted.append(tuned)
            return function(*arguments, tuned=tuned, **options)

        return call

    torch = SimpleNamespace(nn=SimpleNamespace(functional=SimpleNamespace(pad=np.pad)))
    interface = SimpleNamespace(gemm=told(gemm), gemm_gated=told(gemm_gated))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "quack", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "quack.gemm_interface", interface)
    return wanted


@pytest.mark.parametrize(("kernel", "contestant"), PAIRS)
def test_quack_is_asked_for_the_kernel(
    kernel: str, contestant: Contestant, choices: list[bool]
) -> None:
    inputs, work = draw(kernel), workload(kernel)
    weights = [array for array in inputs.values() if array.ndim == 3]
    joined = np.concatenate(weights, axis=1) if weights else None
    (output,) = work.meaning.signature.outputs
    out = np.full(work.shape(output), np.nan, BF16)
    offs = np.cumsum(CASE.rows).astype(np.int32)
    launch = contestant.bind(Operands(work, inputs, joined, offs, out))
    assert worst(kernel, inputs, launch.unpack(launch.run())) <= 1
    assert choices == [contestant.name == "quack"]
