"""A kernel that spills is used, and said to be slow, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda import executable
from moedsl.backends.cuda.executable import CudaExecutable
from moedsl.backends.cuda.nvrtc import Binary, compile_cubin
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.source.read import read_source

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.moe"


def test_spills_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (kernel,) = load_program(read_source(QUICKSTART), {}).kernels
    tile = lower_kernel(kernel, Options(rows=8))

    def spilling(source: str, entry: str, arch: str) -> Binary:
        binary = compile_cubin(source, entry, arch)
        assert not binary.notes.spills
        return replace(binary, notes=replace(binary.notes, spill_stores=40, spill_loads=56))

    monkeypatch.setattr(executable, "compile_cubin", spilling)
    kernel_here = CudaExecutable(tile)
    with pytest.warns(PerformanceWarning, match=r"40 bytes .* 56 read .*MOE0442.*smaller tile"):
        kernel_here.variant()
    kernel_here.variant()
