"""A kernel that spills, or whose products wait for one another, is said to be slow, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda import executable
from moedsl.backends.cuda.executable import CudaExecutable
from moedsl.backends.cuda.nvrtc import Binary, compile_cubin
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.source.read import read_source

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.moe"
REMARK = "ptxas info : (C7510) wgmma.mma_async instructions are serialized due to 'why'"


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        (
            {"spill_stores": 40, "spill_loads": 56},
            r"40 bytes .* 56 read .*MOE0442.*smaller tile",
        ),
        ({"messages": ("other", REMARK)}, r"one product after .* due to 'why'.*MOE0443.*smaller"),
    ],
    ids=["spills", "serialized"],
)
def test_what_makes_a_kernel_slow_is_told(
    monkeypatch: pytest.MonkeyPatch, notes: dict[str, Any], told: str
) -> None:
    (kernel,) = load_program(read_source(QUICKSTART), {}).kernels
    tile = lower_kernel(kernel, Options(rows=8))

    def slow(source: str, entry: str, arch: str) -> Binary:
        binary = compile_cubin(source, entry, arch)
        assert not binary.notes.spills
        assert not binary.notes.serialized
        return replace(binary, notes=replace(binary.notes, **notes))

    monkeypatch.setattr(executable, "compile_cubin", slow)
    kernel_here = CudaExecutable(tile)
    with pytest.warns(PerformanceWarning, match=told) as warned:
        kernel_here.variant()
        kernel_here.variant()
    assert len(warned) == 1
