"""Kernels that add to memory do so by reductions of global memory, which read nothing back."""

from __future__ import annotations

import pytest

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.backends.cuda.sass import disassemble
from moedsl.ir.core import DType
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.target import TARGETS
from tests.cuda.kernels import forward


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_120"])
@pytest.mark.parametrize("columns", [2048, 2050])
def test_no_address_is_looked_into(arch: str, columns: int) -> None:
    kernel = forward(8, columns, 4096, scatter=True, accumulate=True, output=DType.F32)
    target = TARGETS[arch]
    schedule = choose_schedule(kernel, target, rows=1000)
    unit = generate(build_tile(kernel, schedule, target), every_vector(kernel.signature))
    code = disassemble(compile_cubin(unit.source, unit.entry, arch).cubin)
    assert "RED" in code
    assert "QSPC" not in code
    assert "ATOMS" not in code
