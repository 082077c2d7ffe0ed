"""Every schedule of every example, and every default, compiles without local memory."""

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
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.tile import TileKernel

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.moe"))
ARCHITECTURES = ("sm_80", "sm_89", "sm_90a", "sm_100", "sm_120")


def variants(path: Path, arch: str) -> Iterator[TileKernel]:
    """The kernels of one file with each schedule that covers ``arch``, and with the default."""
    module, target = moedsl.load(path), TARGETS[arch]
    for name in module.kernels:
        kernel = module.kernel(name)
        for request in (None, *kernel.schedules.values()):
            if request is None or request.on is None or target.schedule_covers(request.on):
                schedule = choose_schedule(kernel.meaning, target, request)
                yield build_tile(kernel.meaning, schedule, target)


def local_memory(kernel: TileKernel) -> int:
    """Bytes of stack and spills of one compiled kernel."""
    unit = generate(kernel, every_vector(kernel.signature))
    notes = compile_cubin(unit.source, unit.entry, kernel.target).notes
    return notes.stack + notes.spill_stores + notes.spill_loads


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_compile_without_local_memory(path: Path) -> None:
    kernels = [kernel for arch in ARCHITECTURES for kernel in variants(path, arch)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert set(pool.map(local_memory, kernels)) == {0}
