"""The cuda passes among all passes: run by name, readable after each, the same as in one go."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from moedsl.backend import all_passes
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import prelude_text
from moedsl.backends.cuda.gpu import JoinParts
from moedsl.backends.cuda.lower import PASSES, lower_to_gpu
from moedsl.ir.module import Module
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.ir.text import parse_module, print_module
from moedsl.lower.build_tile import build_tile
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel, run_passes
from moedsl.source.read import read_source
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.cuda.kernels import SHARED, forward, gate_up

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


@pytest.mark.parametrize("swap_ab", [True, False])
def test_consumers_stage_the_rows_that_the_prelude_does(swap_ab: bool) -> None:
    schedule = replace(SHARED, tile=TileShape(128, 128, 64), swap_ab=swap_ab)
    tile = build_tile(forward(), schedule, TARGETS["sm_90a"])
    lowered = lower_to_gpu(tile, every_vector(tile.signature))
    (rows,) = re.findall(r"kPartRows = kSwap \? (\d+) : (\d+);", prelude_text("groups"))
    assert lowered.epilogue.staged_rows == int(rows[0 if swap_ab else 1])


@pytest.mark.parametrize("split_k", [1, 2, 5])
def test_every_sum_is_joined_from_the_parts_of_a_split(split_k: int) -> None:
    schedule = Schedule(TileShape(64, 64, 64), split_k=split_k)
    tile = build_tile(gate_up(), schedule, TARGETS["sm_80"])
    lowered = lower_to_gpu(tile, every_vector(tile.signature))
    joined = [op for op in lowered.loop.body if isinstance(op, JoinParts)]
    sums = tuple(value for pipeline in lowered.pipelines for value in pipeline.results)
    assert joined == [JoinParts(sums, split_k)] * (split_k > 1)
