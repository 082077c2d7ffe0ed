"""Every legality rule: its code, the text it points at, and its message, pinned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.ir.core import DType
from moedsl.ir.elementwise import Store
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Comparison,
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Raster,
    Requirement,
    Schedule,
    ScheduleRequest,
    TileShape,
)
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.front import load_program
from moedsl.lower.rules import GROUPS
from moedsl.source.diagnostic import Diagnostic
from moedsl.source.span import Source, Span
from moedsl.target import TARGETS
from tests.kernels import combine, grouped_gemm, weight_gradient
from tests.strategies import legal_schedules, moe_kernels

UP = grouped_gemm(8, 512, 256)
GRADIENT = weight_gradient(8, 512, 256)
COMBINE = combine(8, 512, 256)
F32 = grouped_gemm(8, 512, 256, DType.F32)
MANY = grouped_gemm(2000, 512, 256)
INNER_COLUMNS = grouped_gemm(8, 512, 256, weight="w[e,k,n]")
EXPERT_INSIDE = grouped_gemm(8, 512, 256, weight="w[n,k,e]")


def written(x: str = "m, k", y: str = "m, n", read: str = "m, k", write: str = "m, n") -> MoeKernel:
    """A grouped product with other operands or outputs than usual."""
    text = f"""kernel gemm {{
        index e = 8; index m = ragged(e); index n = 512; index k = 256; index t = dynamic
        input  x  : bf16[{x}]
        input  w  : bf16[e, n, k]
        input  at : i32[m]
        output y  : bf16[{y}]
        y[{write}] = sum[k] x[{read}] * w[e, n, k]
    }}"""
    (kernel,) = load_program(Source("gemm.moe", text)).kernels
    return kernel


RAGGED_INSIDE = written(x="k, m", read="k, m")
GATHERED = written(x="t, k", read="at[m], k")
GATHERED_INSIDE = written(x="k, t", read="k, at[m]")
SCATTERED = written(y="t, n", write="at[m], n")
TURNED = written(y="n, m", write="n, m")

DIRECTIVES = {
    "tile.rows": "m=64",
    "tile.columns": "n=128",
    "tile.depth": "k=64",
    "tails": "tails",
    "balanced": "balanced",
    "stages": "stages",
    "consumers": "consumers",
    "cooperation": "pingpong",
    "producer_registers": "producer=40",
    "consumer_registers": "consumer=232",
    "cluster_rows": "cluster m",
    "cluster_columns": "cluster n",
    "row_eviction": "cache m",
    "column_eviction": "cache n",
    "order": "order",
    "raster.group": "group",
    "fuse_rows": "fuse",
    "split_k": "split_k",
    "epilogue_store": "store",
    "require": "require",
}
"""What stands in the source for each directive."""

TEXT = f"schedule s for gemm {{ {' '.join(DIRECTIVES.values())} }}"
SPANS = {
    name: Span(TEXT.index(f" {word}") + 1, TEXT.index(f" {word}") + 1 + len(word))
    for name, word in DIRECTIVES.items()
}
LEGAL = Schedule(TileShape(64, 128, 64))


@dataclass(frozen=True)
class Bad:
    """A schedule that breaks one rule, and what is said about it."""

    code: str
    points_at: str
    message: str
    changes: dict[str, Any]
    kernel: MoeKernel = UP
    sm: str = "sm_90a"
    request: dict[str, Any] = field(default_factory=dict)


def tile(rows: int = 64, columns: int = 128, depth: int = 64) -> dict[str, Any]:
    """A change of the tile."""
    return {"tile": TileShape(rows, columns, depth)}


ROLES = {"producer_registers": 40, "consumer_registers": 232}
SPECIALISED: dict[str, Any] = {"consumers": 2} | ROLES
BOTH = (Requirement.DETERMINISTIC, Requirement.BATCH_INVARIANT)
SMALL_BATCHES = {"when": (Comparison("<=", 512),)}

BAD = (
    Bad(
        "MOE0401",
        TEXT,
        "schedule s is for sm_90a, not for sm_80",
        {},
        UP,
        "sm_80",
        {"on": "sm_90a"},
    ),
    Bad(
        "MOE0401", TEXT, "schedule s is for sm_90, not for sm_89", {}, UP, "sm_89", {"on": "sm_90"}
    ),
    Bad("MOE0402", "m=64", "tile m is 0", tile(rows=0)),
    Bad("MOE0402", "k=64", "tile k is -8", tile(depth=-8)),
    Bad("MOE0402", "group", "raster group is 0", {"raster": Raster(group=0)}),
    Bad("MOE0402", "cluster n", "cluster n is 0", {"cluster_columns": 0}),
    Bad("MOE0403", "tails", "tail 64 is not below 64", {"tails": (64, 32)}),
    Bad("MOE0403", "tails", "tail 32 is not below 16", {"tails": (16, 32)}),
    Bad("MOE0403", "tails", "tail 16 is not below 16", {"tails": (16, 16)}),
    Bad("MOE0403", "tails", "tail 0 is no size", {"tails": (16, 0)}),
    Bad("MOE0404", "fuse", "`fuse` needs ragged output rows", {"fuse_rows": 8}, GRADIENT),
    Bad(
        "MOE0405",
        "fuse",
        "`fuse` takes experts of up to 65 rows, but a tile has 64",
        {"fuse_rows": 65},
    ),
    Bad(
        "MOE0406",
        "order",
        "`order longest` needs ragged output rows",
        {"order": ExpertOrder.LONGEST},
        GRADIENT,
    ),
    Bad(
        "MOE0406",
        "order",
        "`order interleaved` needs ragged output rows",
        {"order": ExpertOrder.INTERLEAVED},
        GRADIENT,
    ),
    Bad(
        "MOE0407",
        "order",
        "`order longest` sorts at most 1024 experts",
        {"order": ExpertOrder.LONGEST},
        MANY,
    ),
    Bad("MOE0408", "stages", "1 stages", {"stages": 1}),
    Bad("MOE0408", "stages", "9 stages", {"stages": 9}),
    Bad("MOE0409", "consumers", "0 consumers", {"consumers": 0}),
    Bad("MOE0409", "consumers", "9 consumers", {"consumers": 9}),
    Bad("MOE0409", "consumers", "8 consumers", {"consumers": 8} | ROLES),
    Bad("MOE0410", "split_k", "`split_k 0`", {"split_k": 0}),
    Bad("MOE0410", "split_k", "`split_k 65`", {"split_k": 65}),
    Bad("MOE0410", "split_k", "`split_k 5` leaves parts without work", {"split_k": 5}),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 72", tile(rows=72)),
    Bad("MOE0411", "n=128", "no MMA shape fits tile n 100", tile(columns=100)),
    Bad("MOE0411", "tails", "no MMA shape fits tail 8", {"tails": (32, 8)}),
    Bad("MOE0411", "n=128", "no MMA shape fits tile n 120", tile(columns=120) | {"swap_ab": True}),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 60", tile(60, 128, 32), F32),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 80", SPECIALISED | tile(rows=80)),
    Bad(
        "MOE0411",
        "n=128",
        "no MMA shape fits tile n 96",
        SPECIALISED | tile(columns=96) | {"swap_ab": True},
    ),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 16", tile(depth=16)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 96", tile(depth=96)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 256", tile(depth=256), F32),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 32", SPECIALISED | tile(depth=32)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 512", SPECIALISED | tile(depth=512)),
    Bad(
        "MOE0413",
        "consumers",
        "16 warps cannot share a tile of 16 × 64",
        tile(16, 64) | {"consumers": 4},
    ),
    Bad("MOE0413", "consumers", "4 warps cannot share a tile of 16 × 24", tile(16, 24)),
    Bad(
        "MOE0414",
        "stages",
        "the schedule asks for ",
        {"stages": 5} | tile(128, 256) | {"consumers": 2},
    ),
    Bad(
        "MOE0414",
        "stages",
        "the schedule asks for ",
        tile(128, 128) | {"stages": 4, "consumers": 2},
        UP,
        "sm_120",
    ),
    Bad("MOE0415", "n=128", "the schedule needs about ", tile(256, 256, 32)),
    Bad(
        "MOE0415",
        "n=128",
        "the schedule needs about 224 registers a thread",
        SPECIALISED
        | tile(128, 192)
        | {
            "cooperation": Cooperation.PINGPONG,
            "producer_registers": 72,
            "consumer_registers": 216,
        },
    ),
    Bad(
        "MOE0415",
        "n=128",
        "the schedule needs about 288 registers a thread",
        SPECIALISED | tile(256, 256) | {"stages": 2},
    ),
    Bad("MOE0415", "n=128", "the schedule needs about 92 ", tile(128, 128) | {"consumers": 8}),
    Bad(
        "MOE0416",
        "balanced",
        "`balanced` shares rows in units of 48, but a tile has 64",
        {"tails": (48,), "balanced": True},
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 64 × 72",
        SPECIALISED | tile(64, 72),
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 8 × 64",
        SPECIALISED | tile(16, 64) | {"tails": (8,), "swap_ab": True},
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 64 × 96",
        SPECIALISED | tile(64, 96),
        INNER_COLUMNS,
    ),
    Bad(
        "MOE0418",
        "m=64",
        "the copy engine cannot bring in tile m 264",
        SPECIALISED | tile(264, 64) | {"swap_ab": True, "consumers": 3, "consumer_registers": 152},
    ),
    Bad(
        "MOE0418",
        "tails",
        "the copy engine cannot bring in tail 24",
        SPECIALISED | {"tails": (24,), "swap_ab": True, "cluster_columns": 2},
    ),
    Bad(
        "MOE0418",
        "n=128",
        "the copy engine cannot bring in tile n 320",
        SPECIALISED | tile(64, 320),
    ),
    Bad(
        "MOE0419",
        "cache m",
        "`cache` needs specialised warps",
        {"row_eviction": Eviction.LAST},
    ),
    Bad(
        "MOE0419",
        "cache n",
        "`cache` needs specialised warps",
        {"column_eviction": Eviction.FIRST},
        sm="sm_80",
    ),
    Bad(
        "MOE0419",
        "cache n",
        "`cache` needs specialised warps",
        {"column_eviction": Eviction.FIRST},
        GATHERED,
    ),
    Bad(
        "MOE0419",
        "cache m",
        "`cache` for m, which come through a map",
        SPECIALISED | {"row_eviction": Eviction.FIRST, "column_eviction": Eviction.LAST},
        GATHERED,
    ),
    Bad("MOE0420", "cluster n", "a cluster of 1 × 16 = 16 CTAs", {"cluster_columns": 16}),
    Bad(
        "MOE0421",
        "cluster m",
        "a cluster along ragged rows could straddle experts",
        {"cluster_rows": 2},
    ),
    Bad("MOE0422", "cluster n", "sm_89 has no clusters", {"cluster_columns": 2}, UP, "sm_89"),
    Bad("MOE0423", "cluster n", "`cluster` needs specialised warps", {"cluster_columns": 2}),
    Bad(
        "MOE0423",
        "cluster m",
        "`cluster` needs specialised warps",
        {"cluster_rows": 2},
        GRADIENT,
        "sm_90",
    ),
    Bad(
        "MOE0423",
        "cluster m",
        "a cluster of 2 along n",
        SPECIALISED | {"cluster_rows": 2},
        GRADIENT,
    ),
    Bad(
        "MOE0423",
        "cluster n",
        "nothing is shared in a cluster: rows come through a map",
        SPECIALISED | {"cluster_columns": 2},
        COMBINE,
    ),
    Bad("MOE0424", "consumer=232", "sm_90 has no specialised warps", SPECIALISED, sm="sm_90"),
    Bad("MOE0424", "consumer=232", "sm_100 has no specialised warps", SPECIALISED, sm="sm_100"),
    Bad(
        "MOE0425",
        "pingpong",
        "`pingpong` needs specialised warps",
        {"cooperation": Cooperation.PINGPONG, "consumers": 2},
    ),
    Bad(
        "MOE0425",
        "pingpong",
        "one consumer cannot take turns",
        SPECIALISED | {"cooperation": Cooperation.PINGPONG, "consumers": 1},
    ),
    Bad(
        "MOE0426",
        "store",
        "`epilogue store=tma` needs specialised warps",
        {"epilogue_store": EpilogueStore.TMA},
        sm="sm_80",
    ),
    *(
        Bad(
            "MOE0426",
            "store",
            "`epilogue store=tma` cannot store this kernel's outputs",
            SPECIALISED | {"epilogue_store": EpilogueStore.TMA, "swap_ab": swap},
            kernel,
        )
        for kernel, swap in ((UP, False), (COMBINE, True), (SCATTERED, True), (TURNED, True))
    ),
    *(
        Bad(
            "MOE0428",
            field,
            f"{count} registers for a {role}",
            SPECIALISED | {f"{role}_registers": count},
        )
        for role, field, count in (
            ("producer", "producer=40", 16),
            ("producer", "producer=40", 44),
            ("consumer", "consumer=232", 248),
            ("consumer", "consumer=232", 236),
        )
    ),
    Bad("MOE0428", "consumer=232", "0 registers for a consumer", {"producer_registers": 40}),
    Bad("MOE0428", "producer=40", "0 registers for a producer", {"consumer_registers": 232}),
    Bad(
        "MOE0428",
        "consumer=232",
        "256 threads start with 248 registers each",
        SPECIALISED | tile(128, 128) | {"consumers": 1, "stages": 6},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "1024 threads start with 64 registers each",
        SPECIALISED
        | tile(64, 56)
        | {"consumers": 7, "producer_registers": 24, "consumer_registers": 56},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "1024 threads start with 64 registers each",
        SPECIALISED
        | tile(64, 56)
        | {"consumers": 7, "producer_registers": 72, "consumer_registers": 72},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "384 threads start with 168 registers each",
        SPECIALISED | {"consumer_registers": 160},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "the roles take 544 registers for every 4 threads",
        SPECIALISED | tile(192, 128) | {"consumers": 3, "consumer_registers": 168, "stages": 4},
    ),
    *(
        Bad(
            "MOE0429",
            "consumer=232",
            "specialised warps cannot compute this kernel",
            SPECIALISED,
            k,
        )
        for k in (F32, RAGGED_INSIDE, EXPERT_INSIDE, GATHERED_INSIDE)
    ),
    Bad(
        "MOE0430",
        "require",
        "`require deterministic` cannot be proved: y",
        {"require": BOTH[:1]},
        COMBINE,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved: y",
        {"require": BOTH[1:]},
        COMBINE,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved",
        {"require": BOTH},
        GRADIENT,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved",
        {"require": BOTH},
        UP,
        "sm_80",
        SMALL_BATCHES,
    ),
)


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
    (straddle,) = check(Bad("", "", "", {"cluster_rows": 2}))
    assert "no multiple of 2" in straddle.notes[0]
    assert straddle.help == "cluster along n instead"
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
    changes: dict[str, Any] = {"stages": 1, "cluster_rows": 2, "tails": (65, 9)}
    found = check(Bad("", "", "", changes, sm="sm_80"))
    assert [diagnostic.code for diagnostic in found] == ["MOE0403", "MOE0408", "MOE0421"]


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
