"""Every legality rule: its code, the text it points at, and its message, pinned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.ir.elementwise import Store
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Comparison,
    ExpertOrder,
    Raster,
    Schedule,
    ScheduleRequest,
    TileShape,
)
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.rules import GROUPS
from moedsl.source.diagnostic import Diagnostic
from moedsl.source.span import Source, Span
from moedsl.target import TARGETS
from tests.lower.bad_schedules import (
    BOTH,
    COMBINE,
    DIRECTIVES,
    GRADIENT,
    LEGAL,
    PORTABLE,
    SPANS,
    TEXT,
    UP,
    Bad,
    tile,
)
from tests.lower.bad_specialised import SPECIAL
from tests.strategies import legal_schedules, moe_kernels

BAD = (*PORTABLE, *SPECIAL)


def check(bad: Bad) -> list[Diagnostic]:
    """The findings about a bad schedule, all of whose directives are written out."""
    source = Source("bad.moe", TEXT)
    schedule = replace(LEGAL, **bad.changes)
    given = dict.fromkeys(DIRECTIVES)
    request = ScheduleRequest(
        "s", "gemm", given=given, spans=SPANS, span=Span(0, len(TEXT)), source=source
    )
    request = replace(request, **bad.request)
    return check_schedule(bad.kernel, schedule, request, TARGETS[bad.sm])


@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.code}-{bad.message}" for bad in BAD])
def test_each_rule_refuses_with_code_place_and_message(bad: Bad) -> None:
    found = check(bad)
    assert [diagnostic.code for diagnostic in found] == [bad.code]
    (diagnostic,) = found
    assert diagnostic.message.startswith(bad.message)
    assert diagnostic.source is not None
    assert diagnostic.span is not None
    assert diagnostic.source[diagnostic.span] == bad.points_at
    assert diagnostic.label or diagnostic.notes


def test_every_rule_has_a_fixture_and_its_own_code() -> None:
    codes = [code for group in GROUPS for code, _ in group]
    assert len(codes) == len(set(codes))
    assert {bad.code for bad in BAD} == set(codes)


@pytest.mark.parametrize("kernel", [UP, GRADIENT, COMBINE])
@pytest.mark.parametrize("sm", TARGETS)
def test_a_legal_schedule_passes(kernel: MoeKernel, sm: str) -> None:
    assert check_schedule(kernel, LEGAL, None, TARGETS[sm]) == []


def test_the_numbers_are_in_the_notes() -> None:
    (shared,) = check(Bad("", "", "", tile(128, 256) | {"stages": 5, "consumers": 2}))
    assert shared.label == "sm_90a has 232448 for a CTA"
    assert shared.notes[0] == "5 stages of 49152 bytes: 245760"
    assert shared.help == "use 4 stages"
    (narrow,) = check(Bad("", "", "", tile(rows=8)))
    assert narrow.help == "use 16, or `swap_ab`, which has steps of 8 rows"


def test_without_a_request_the_kernel_is_pointed_at() -> None:
    (diagnostic,) = check_schedule(UP, replace(LEGAL, stages=1), None, TARGETS["sm_80"])
    assert diagnostic.span == UP.signature.span
    assert diagnostic.notes == ("no schedule block was used: compiler or caller chose this one",)


def test_a_decision_that_was_not_written_points_at_the_schedule() -> None:
    request = ScheduleRequest("s", "gemm", given={}, spans={}, span=Span(3, 9))
    (diagnostic,) = check_schedule(UP, replace(LEGAL, stages=1), request, TARGETS["sm_80"])
    assert diagnostic.span == Span(3, 9)


def test_independent_rules_are_all_reported_and_a_directive_once() -> None:
    changes: dict[str, Any] = {"stages": 1, "cluster_rows": 4, "tails": (65, 9)}
    found = check(Bad("", "", "", changes, sm="sm_90"))
    codes = [diagnostic.code for diagnostic in found]
    assert codes == ["MOE0403", "MOE0408", "MOE0423"]


def test_both_promises_are_judged() -> None:
    found = check(Bad("", "", "", {"require": BOTH}, COMBINE))
    assert [diagnostic.code for diagnostic in found] == ["MOE0430", "MOE0431"]
    store = COMBINE.body[-1]
    assert isinstance(store, Store)


def test_batch_invariance_needs_a_schedule_that_no_number_of_rows_decides() -> None:
    promised = replace(LEGAL, require=BOTH)
    target = TARGETS["sm_90a"]
    assert check_schedule(UP, promised, None, target) == []
    written = ScheduleRequest("s", "gemm", given={"split_k": 2})
    assert check_schedule(UP, replace(promised, split_k=2), written, target) == []
    decode = ScheduleRequest("decode", "gemm", when=(Comparison("<=", 64),))
    (other,) = check_schedule(UP, promised, written, target, [decode])
    assert other.label == "the number of rows decides between this schedule and decode"


numbers = st.integers(-2, 300)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    moe_kernels(),
    st.builds(
        Schedule,
        tile=st.builds(TileShape, numbers, numbers, numbers),
        tails=st.lists(numbers, max_size=3).map(tuple),
        balanced=st.booleans(),
        swap_ab=st.booleans(),
        stages=numbers,
        consumers=numbers,
        cluster_rows=numbers,
        raster=st.builds(Raster, group=numbers),
        fuse_rows=numbers,
        split_k=numbers,
        order=st.sampled_from(ExpertOrder),
        require=st.sampled_from(((), BOTH)),
    ),
    st.sampled_from(sorted(TARGETS)),
)
def test_any_schedule_is_judged_without_an_exception(
    kernel: MoeKernel, schedule: Schedule, sm: str
) -> None:
    for diagnostic in check_schedule(kernel, schedule, None, TARGETS[sm]):
        assert diagnostic.code.startswith("MOE04")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_most_drawn_schedules_are_legal(data: st.DataObject) -> None:
    kernel = data.draw(moe_kernels(largest=200))
    target = TARGETS[data.draw(st.sampled_from(sorted(TARGETS)))]
    schedule = data.draw(legal_schedules(kernel, target))
    assert check_schedule(kernel, schedule, None, target) == []
