"""A schedule language and compiler for Mixture-of-Experts grouped GEMM.

    import moedsl

    module = moedsl.load("examples/mixtral_up.moe")
    up = module.kernel("mixtral_up").compile()
    h = up(x=x, wg=wg, wu=wu, offs=offs)

Names are imported when they are first used: ``import moedsl`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moedsl.backend import PerformanceWarning
    from moedsl.kernel import CompiledKernel
    from moedsl.module import Kernel, Module, load
    from moedsl.source.diagnostic import Diagnostic, DiagnosticError, UnavailableError

_HOMES = {
    "CompiledKernel": "moedsl.kernel",
    "Diagnostic": "moedsl.source.diagnostic",
    "DiagnosticError": "moedsl.source.diagnostic",
    "Kernel": "moedsl.module",
    "Module": "moedsl.module",
    "PerformanceWarning": "moedsl.backend",
    "UnavailableError": "moedsl.source.diagnostic",
    "load": "moedsl.module",
}

__all__ = [
    "CompiledKernel",
    "Diagnostic",
    "DiagnosticError",
    "Kernel",
    "Module",
    "PerformanceWarning",
    "UnavailableError",
    "load",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'moedsl' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
