"""Every schedule of every example, and every default, compiles without local memory, and what is
specialised to the instructions it is made for.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import moedsl
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.backends.cuda.sass import disassemble
from moedsl.ir.core import Compute
from moedsl.ir.schedule import EpilogueStore, ScheduleRequest
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import (
    DECODE_ROWS,
    FEW_ROWS,
    SEVERAL_ROWS,
    choose_schedule,
)
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.backends.cuda.nvrtc import Binary
    from moedsl.ir.tile import TileKernel

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.moe"))
ARCHITECTURES = ("sm_80", "sm_89", "sm_90a", "sm_100", "sm_120")


def variants(path: Path, arch: str) -> Iterator[TileKernel]:
    """The kernels of one file with each schedule that covers ``arch``, and with the defaults."""
    module, target = moedsl.load(path), TARGETS[arch]
    for name in module.kernels:
        kernel = module.kernel(name)
        as_rows_lie = ScheduleRequest("as_rows_lie", name, given={"swap_ab": False})
        chosen = [
            choose_schedule(kernel.meaning, target, request)
            for request in (None, as_rows_lie, *kernel.schedules.values())
            if request is None or request.on is None or target.schedule_covers(request.on)
        ]
        if target.warp_specialised:
            experts = kernel.meaning.signature.expert_count
            averages = (DECODE_ROWS, FEW_ROWS, SEVERAL_ROWS)
            chosen += [choose_schedule(kernel.meaning, target, rows=n * experts) for n in averages]
        for schedule in dict.fromkeys(chosen):
            yield build_tile(kernel.meaning, schedule, target)


def compiled(kernel: TileKernel) -> Binary:
    unit = generate(kernel, every_vector(kernel.signature))
    return compile_cubin(unit.source, unit.entry, kernel.target)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_compile_without_local_memory(path: Path) -> None:
    kernels = [kernel for arch in ARCHITECTURES for kernel in variants(path, arch)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        notes = [binary.notes for binary in pool.map(compiled, kernels)]
    assert {found.stack + found.spill_stores + found.spill_loads for found in notes} == {0}
    assert {found.serialized for found in notes} == {()}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_specialised_defaults_use_wgmma_and_the_copy_engine(path: Path) -> None:
    module, target = moedsl.load(path), TARGETS["sm_90a"]
    for name in module.kernels:
        meaning = module.kernel(name).meaning
        schedule = choose_schedule(meaning, target)
        assert schedule.specialised
        code = disassemble(compiled(build_tile(meaning, schedule, target)).cubin)
        assert "HGMMA" in code
        assert ("TF32" in code) == (meaning.signature.compute is Compute.TF32)
        assert "UTMALDG" in code
        assert ("UTMASTG" in code) == (schedule.epilogue_store is EpilogueStore.TMA)
