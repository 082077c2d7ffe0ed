"""Who competes in which kernel, moedsl first.

All start from the same tensors. Rivals that need row counts on the host, rows in another layout
or a schedule tuned by measurement get that before they are timed.
"""

from __future__ import annotations

from moedsl.bench.contestant import Contestant
from moedsl.bench.rivals import cublas, deepgemm, ours, quack, torch_rivals


def _ours(name: str, bind: ours.Bind, *, computes: bool = True) -> Contestant:
    return Contestant(name, bind, "moedsl", "moedsl", computes)


def _torch(
    name: str, bind: ours.Bind, *, computes: bool = True, stores: bool = False
) -> Contestant:
    return Contestant(name, bind, "torch", "'moedsl[torch]'", computes, stores)


def _quack(make: quack.Make) -> tuple[Contestant, Contestant]:
    """With the configuration that it measures to be best, its default, and without measuring."""
    return (
        Contestant("quack", make(True), "quack", "quack-kernels"),
        Contestant("quack_untuned", make(False), "quack", "quack-kernels"),
    )


_DEEPGEMM = "--no-build-isolation git+https://github.com/deepseek-ai/DeepGEMM"

_ALL: dict[str, tuple[Contestant, ...]] = {
    "product": (
        _ours("moedsl", ours.bind),
        Contestant("cublas_grouped", cublas.bind, "nvmath", "'moedsl[bench]'"),
        _torch("torch", torch_rivals.bind_product),
        _torch("naive", torch_rivals.bind_naive),
        _torch("dense", torch_rivals.bind_dense, computes=False),
        *_quack(quack.product),
        Contestant("deepgemm", deepgemm.bind, "deep_gemm", _DEEPGEMM),
    ),
    "gate_up": (
        _ours("moedsl", ours.bind),
        _torch("torch", torch_rivals.bind_gate_up, stores=True),
        _torch("torch_joined", torch_rivals.bind_gate_up_joined, stores=True),
        *_quack(quack.gate_up),
    ),
    "weight_gradient": (
        _ours("moedsl", ours.bind),
        _torch("torch", torch_rivals.bind_weight_gradient),
        *_quack(quack.weight_gradient),
    ),
    "gather": (
        _ours("moedsl", ours.bind),
        _ours("pregathered", ours.bind_pregathered),
        _torch("torch", torch_rivals.bind_gather),
        *_quack(quack.gather),
    ),
    "scatter": (
        _ours("moedsl", ours.bind),
        _ours("plain", ours.bind_plain, computes=False),
        _torch("torch", torch_rivals.bind_scatter, stores=True),
    ),
}

CONTESTANTS = {
    kernel: {contestant.name: contestant for contestant in contestants}
    for kernel, contestants in _ALL.items()
}
"""Every contestant by name, by the name of the kernel that it computes."""
