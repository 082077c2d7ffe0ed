"""The cuda passes among all passes: run by name, readable after each, the same as in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from moedsl.backend import all_passes
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.lower import PASSES, lower_to_gpu
from moedsl.ir.module import Module
from moedsl.ir.text import parse_module, print_module
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel, run_passes
from moedsl.source.read import read_source
from moedsl.source.span import Source

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.moe"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_stepwise_lowering_reads_back_and_ends_as_in_one_go(example: Path) -> None:
    program = load_program(read_source(example), {})
    for kernel in program.kernels:
        tile = lower_kernel(kernel, Options())
        seen: list[str] = []

        def read_back(number: int, name: str, module: Module, seen: list[str] = seen) -> None:
            assert parse_module(Source(name, print_module(module))) == module
            seen.append(name)

        steps = [step.name for step in PASSES]
        module = Module("tile", (tile,), tile.source)
        lowered = run_passes(module, steps, Options(), read_back, all_passes())
        assert lowered.kernels == (lower_to_gpu(tile, every_vector(tile.signature)),)
        assert seen == ["input", *steps]
