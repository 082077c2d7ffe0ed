"""The pass list and its runner: order, names, verification, observers, errors."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.ir.elementwise import Store
from moedsl.ir.module import Module
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import ExpertOrder, Requirement, Schedule, ScheduleRequest, TileShape
from moedsl.ir.text import parse_module, print_module
from moedsl.ir.tile import TileKernel
from moedsl.ir.verify import BrokenIRError
from moedsl.lower.pipeline import (
    DUMP,
    PASSES,
    Options,
    Pass,
    dump_into,
    lower_kernel,
    print_after,
    run_passes,
)
from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.ir.examples import EXAMPLE, KERNEL
from tests.strategies import legal_schedules, moe_kernels

SCHEDULE = Schedule(TileShape(64, 64, 32), tails=(32, 16))
OPTIONS = Options(target=TARGETS["sm_80"], schedule=SCHEDULE)
NAMES = [one.name for one in PASSES]
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_list_leads_from_moe_to_tile() -> None:
    assert (PASSES[0].reads, PASSES[-1].makes) == ("moe", "tile")
    assert all(first.makes == second.reads for first, second in pairwise(PASSES))
    assert len(set(NAMES)) == len(NAMES)
    assert all(one.summary for one in PASSES)


@settings(relaxed, max_examples=30)
@given(st.data())
def test_every_pass_can_be_run_from_the_text_of_what_is_before_it(data: st.DataObject) -> None:
    """Each pass on parsed text gives what the whole pipeline gives in one go."""
    kernel = data.draw(moe_kernels())
    schedule = data.draw(legal_schedules(kernel, TARGETS["sm_80"]))
    options = replace(OPTIONS, schedule=schedule)
    seen: list[Module] = []
    source = Source("it.moe", "text")
    module = Module("moe", (replace(kernel, source=source),), source)
    whole = run_passes(module, NAMES, options, lambda *step: seen.append(step[2]))
    assert seen[0] == module
    assert seen[-1] == whole
    for name, before, after in zip(NAMES, seen, seen[1:], strict=False):
        parsed = parse_module(Source("x", print_module(before)))
        assert run_passes(parsed, [name], options) == after


def test_lower_kernel_gives_a_tile_kernel() -> None:
    tile = lower_kernel(KERNEL, OPTIONS)
    assert isinstance(tile, TileKernel)
    assert (tile.target, tile.schedule, len(tile.body)) == ("sm_80", SCHEDULE, 4)


@relaxed
@given(
    moe_kernels(largest=300, experts=40),
    st.sampled_from(sorted(TARGETS)),
    st.none() | st.integers(0, 40000),
)
def test_what_the_compiler_chooses_is_legal(kernel: MoeKernel, sm: str, rows: int | None) -> None:
    tile = lower_kernel(kernel, Options(target=TARGETS[sm], rows=rows))
    assert tile.target == sm


@relaxed
@given(moe_kernels(), st.sampled_from(sorted(TARGETS)), st.data())
def test_any_request_is_lowered_or_refused_by_a_rule(
    kernel: MoeKernel, sm: str, data: st.DataObject
) -> None:
    sizes = st.integers(1, 300)
    fields: dict[str, st.SearchStrategy[object]] = {
        "tile.rows": sizes,
        "tile.columns": sizes,
        "tile.depth": sizes,
        "tails": st.lists(sizes, max_size=3).map(tuple),
        "balanced": st.booleans(),
        "swap_ab": st.booleans(),
        "stages": sizes,
        "consumers": sizes,
        "fuse_rows": sizes,
        "split_k": sizes,
        "order": st.sampled_from(ExpertOrder),
        "require": st.sampled_from(((), tuple(Requirement))),
    }
    given = data.draw(st.fixed_dictionaries({}, optional=fields))
    request = ScheduleRequest("s", kernel.signature.name, given=given)
    options = Options(target=TARGETS[sm], requests={kernel.signature.name: request})
    try:
        schedule = lower_kernel(kernel, options).schedule
    except DiagnosticError as error:
        assert all(found.code.startswith("MOE04") for found in error.diagnostics)
        return
    for name, value in given.items():
        owner: object = schedule
        for part in name.split("."):
            owner = getattr(owner, part)
        assert owner == value


def test_an_illegal_schedule_stops_the_pipeline() -> None:
    options = replace(OPTIONS, schedule=replace(SCHEDULE, stages=1))
    with pytest.raises(DiagnosticError) as caught:
        lower_kernel(KERNEL, options)
    assert [found.code for found in caught.value.diagnostics] == ["MOE0408"]


def refusal(module: Module, *names: str) -> Any:
    """The one diagnostic of running ``names``."""
    with pytest.raises(DiagnosticError) as caught:
        run_passes(module, names, OPTIONS)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_unknown_passes_are_named_with_the_closest() -> None:
    diagnostic = refusal(EXAMPLE, "fold_constant")
    assert diagnostic.code == "MOE0706"
    assert diagnostic.message == "there is no pass `fold_constant`"
    assert diagnostic.help == "did you mean `fold_constants`?"


def test_a_pass_at_the_wrong_level_says_what_is_missing() -> None:
    diagnostic = refusal(EXAMPLE, "build_tile")
    assert diagnostic.code == "MOE0707"
    assert diagnostic.message == "pass `build_tile` reads scheduled IR, but the module is moe IR"
    assert diagnostic.help == "run `choose_schedule` before it"


def test_a_pass_with_a_bug_is_caught_at_once() -> None:
    def lose_store(kernel: Any, _: Options) -> Any:
        return replace(kernel, body=tuple(op for op in kernel.body if not isinstance(op, Store)))

    broken = Pass("lose_store", "moe", "moe", "lose a store", lose_store)
    with pytest.raises(BrokenIRError, match="after lose_store the IR is ill-formed") as caught:
        run_passes(EXAMPLE, ["lose_store", "drop_unused"], OPTIONS, passes=(broken, *PASSES))
    assert [found.message for found in caught.value.violations] == ["h is stored 0 times"]


def test_print_after_writes_text_that_parses() -> None:
    written: list[str] = []
    run_passes(EXAMPLE, NAMES, OPTIONS, print_after({"build_tile"}, written.append))
    (text,) = written
    assert text.startswith("// IR after build_tile\ntile module\n")
    assert parse_module(Source("x", text)).level == "tile"
    run_passes(EXAMPLE, NAMES, OPTIONS, print_after({"all"}, written.append))
    assert len(written) == 1 + 1 + len(NAMES)


def test_dumps_are_numbered_and_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DUMP, str(tmp_path / "deep" / "dump"))
    result = run_passes(EXAMPLE, NAMES, OPTIONS)
    run_passes(EXAMPLE, NAMES[:1], OPTIONS)
    files = sorted((tmp_path / "deep" / "dump").iterdir())
    tails = [file.name.partition("_")[2] for file in files]
    steps = [f"swiglu_{number:02}_{name}.mir" for number, name in enumerate(["input", *NAMES])]
    assert tails == steps + steps[:2]
    last = files[len(NAMES)].read_text(encoding="utf-8")
    assert parse_module(Source("x", last)) == result


def test_a_dump_s_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    signature = replace(KERNEL.signature, name="../../out")
    module = Module("moe", (replace(KERNEL, signature=signature),), KERNEL.source)
    run_passes(module, [], OPTIONS, dump_into(tmp_path))
    (file,) = tmp_path.iterdir()
    assert file.name.endswith("_______out_00_input.mir")
