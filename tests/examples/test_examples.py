"""The examples are sound, legal on every target, and as big or small as one wants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moedsl.ir.module import Module
from moedsl.ir.verify import violations_of
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import Program, load_program
from moedsl.lower.print_schedule import print_schedule
from moedsl.source.format import format_source
from moedsl.source.read import read_source
from moedsl.source.span import Source
from moedsl.target import TARGETS

EXAMPLES = sorted(Path("examples").glob("*.moe"))


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def program(request: pytest.FixtureRequest) -> Program:
    return load_program(read_source(request.param))


def test_all_are_there() -> None:
    wanted = (
        "quickstart seed mixtral_up down_combine gather_up deepseek_v3 qwen3_30b gpt_oss decode "
        "weight_gradient input_gradient f32_experts"
    )
    assert {path.stem for path in EXAMPLES} == set(wanted.split())


def test_sound(program: Program) -> None:
    assert not program.diagnostics
    assert not violations_of(Module("moe", program.kernels, program.kernels[0].source))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_schedules_are_legal_everywhere(program: Program, target: object) -> None:
    target = TARGETS[getattr(target, "sm", "")]
    for kernel in program.kernels:
        own = [r for r in program.requests if r.kernel == kernel.signature.name]
        covering = [r for r in own if r.on is None or target.schedule_covers(r.on)]
        assert [r for r in own if r not in covering and r.on != "sm_90a"] == []
        for request in (None, *covering):
            schedule = choose_schedule(kernel, target, request)
            others = [other for other in own if other is not request]
            assert not check_schedule(kernel, schedule, request, target, others)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_dimension_can_be_set(path: Path) -> None:
    params = set(re.findall(r"param +(\w+)", path.read_text("utf-8"))) - {"slope", "limit"}
    overrides = dict(zip(sorted(params), (3, 40, 56), strict=False))
    program = load_program(read_source(path), overrides)
    for kernel in program.kernels:
        fixed = {i.extent for i in kernel.signature.indices if i.extent is not None}
        assert fixed <= {*overrides.values(), 4}


@pytest.mark.parametrize("rows", [None, 8, 1024, 16384])
def test_a_printed_choice_leaves_nothing_to_choose(program: Program, rows: int | None) -> None:
    target = TARGETS["sm_90a"]
    for kernel in program.kernels:
        schedule = choose_schedule(kernel, target, None, rows)
        printed = print_schedule(build_tile(kernel, schedule, target), "printed")
        assert kernel.source is not None
        both = load_program(Source("", f"{kernel.source.text}\n{printed}"))
        request = both.requests[-1]
        assert request.name == "printed"
        for other_rows in (None, 1, 1024, 100_000):
            assert choose_schedule(kernel, target, request, other_rows) == schedule
        assert format_source(Source("", printed)) == printed
        assert len(printed.splitlines()) <= 12  # for people to see at once
