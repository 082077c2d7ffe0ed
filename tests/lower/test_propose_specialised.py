"""What is proposed for specialised warps, and when it is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Raster,
    Requirement,
    Schedule,
    ScheduleRequest,
)
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import load_program
from moedsl.lower.propose_specialised import (
    DECODE,
    FEW,
    MANY,
    SEVERAL,
    Shape,
    propose_specialised,
)
from moedsl.source.span import Source
from moedsl.target import TARGETS

HOPPER = TARGETS["sm_90a"]


def written(
    body: str = "y[m, n] = sum[k] x[m, k] * w[e, n, k]",
    x: str = "m, k",
    w: str = "e, n, k",
    y: str = "bf16[m, n]",
    n: object = 512,
    k: object = 256,
    dtype: str = "bf16",
    experts: int = 8,
) -> MoeKernel:
    """A kernel of the usual form, but for what is said."""
    text = f"""kernel gemm {{
        index e = {experts}; index m = ragged(e); index n = {n}; index k = {k}; index t = dynamic
        input  x  : {dtype}[{x}]
        input  w  : {dtype}[{w}]
        input  v  : {dtype}[{w}]
        input  at : i32[m]
        input  b  : bf16[e, n]
        input  r  : bf16[m, n]
        output y  : {y}
        {body}
    }}"""
    (kernel,) = load_program(Source("gemm.moe", text)).kernels
    return kernel


PLAIN = written()
CLUSTERS = ((2, 1), (1, 2), (1, 1))
TWO_SUMS = written(
    "a = sum[k] x[m, k] * w[e, n, k]; c = sum[k] x[m, k] * v[e, n, k]; y[m, n] = silu(a) * c"
)
GATHER = written("y[m, n] = sum[k] x[at[m], k] * w[e, n, k]", x="t, k")
F32 = written(dtype="f32")


def proposals(kernel: MoeKernel, shape: Shape = MANY) -> list[Schedule]:
    return list(propose_specialised(kernel, shape))


def test_clusters_and_deep_pipelines_come_first() -> None:
    found = [(s.cluster_columns, s.stages) for s in proposals(PLAIN)]
    assert found == [(2, 5), (2, 4), (2, 3), (1, 5), (1, 4), (1, 3)]
    paired = [(s.cluster_rows, s.cluster_columns, s.stages) for s in proposals(PLAIN, SEVERAL)]
    assert paired == [(rows, columns, s) for rows, columns in CLUSTERS for s in (5, 4, 3)]


@pytest.mark.parametrize(
    ("averages", "shape"),
    [((None, 513), MANY), ((512, 65), SEVERAL), ((64, 9), FEW), ((8, 1), DECODE)],
    ids=("many", "several", "few", "decode"),
)
def test_rows_per_expert_decide_on_shape_and_cluster(
    averages: tuple[int | None, ...], shape: Shape
) -> None:
    for average in averages:
        rows = None if average is None else average * PLAIN.signature.expert_count
        schedule = choose_schedule(PLAIN, HOPPER, None, rows)
        assert replace(schedule, split_k=1) == proposals(PLAIN, shape)[0]
        paired = shape in (SEVERAL, FEW)
        assert (schedule.cluster_rows, schedule.cluster_columns) == ((2, 1) if paired else (1, 2))
        assert schedule.order is (ExpertOrder.INTERLEAVED if paired else ExpertOrder.INDEX)
        assert schedule.row_eviction is (Eviction.LAST if paired else Eviction.NORMAL)
        kept = shape is SEVERAL
        assert schedule.column_eviction is (Eviction.ONCE if kept else Eviction.NORMAL)
        assert schedule.raster == Raster(Along.ROWS, 8 if kept else 4 if paired else 16)


def test_a_given_cluster_is_kept_and_nothing_follows_that_suits_another() -> None:
    rows = 256 * PLAIN.signature.expert_count
    along_columns = chosen({"cluster_columns": 2}, PLAIN, rows)
    assert (along_columns.cluster_rows, along_columns.order) == (1, ExpertOrder.INDEX)
    assert along_columns.row_eviction is Eviction.NORMAL
    alone = chosen({"cluster_rows": 1, "cluster_columns": 1}, PLAIN, rows)
    assert (alone.cluster, alone.order) == (1, ExpertOrder.INDEX)
    assert chosen({"cluster_rows": 2}, PLAIN, None).cluster_columns == 1


@pytest.mark.parametrize(
    ("shape", "rows", "stages", "registers"),
    [(MANY, 192, 5, (40, 232)), (FEW, 128, 6, (40, 232)), (DECODE, 32, 8, (40, 232))],
)
def test_one_sum(shape: Shape, rows: int, stages: int, registers: tuple[int, int]) -> None:
    first = proposals(PLAIN, shape)[0]
    assert (first.tile.rows, first.tile.columns, first.tile.depth) == (rows, 128, 64)
    assert first.tails == tuple(range(rows - 16, 0, -16))
    assert (first.producer_registers, first.consumer_registers) == registers
    assert (first.stages, first.consumers, first.cooperation) == (stages, 2, Cooperation.PINGPONG)
    assert first.swap_ab
    assert first.balanced
    assert first.epilogue_store is EpilogueStore.TMA


@pytest.mark.parametrize(("shape", "rows"), [(MANY, 176), (FEW, 128), (DECODE, 32)])
def test_two_sums_halve_the_columns(shape: Shape, rows: int) -> None:
    tile = proposals(TWO_SUMS, shape)[0].tile
    assert (tile.rows, tile.columns) == (rows, 64)


def test_what_is_loaded_costs_registers_beside_several_sums_only() -> None:
    applied = written("a = sum[k] x[m, k] * w[e, n, k]; y[m, n] = silu(a)")
    loaded = written("a = sum[k] x[m, k] * w[e, n, k]; y[m, n] = a + b[e, n]")
    assert proposals(loaded)[0].tile == proposals(applied)[0].tile


def test_more_sums_take_lower_tiles() -> None:
    names = "fghij"
    for count, rows in ((3, 112), (4, 80), (5, 64)):
        values = [
            f"{v} = sum[k] x[m, k] * {'wv'[i % 2]}[e, n, k]" for i, v in enumerate(names[:count])
        ]
        kernel = written("; ".join([*values, f"y[m, n] = {' + '.join(names[:count])}"]))
        tile = proposals(kernel)[0].tile
        assert (tile.rows, tile.columns) == (rows, 64)


@pytest.mark.parametrize(
    ("n", "clusters"),
    [
        (128, {1}),
        (136, {1, 2}),
        (256, {1, 2}),
        (264, {1}),
        (128 * 7, {1}),
        (128 * 9, {1, 2}),
        ("dynamic", {1, 2}),
    ],
)
def test_clusters_need_columns_in_pairs_or_many(n: object, clusters: set[int]) -> None:
    assert {s.cluster_columns for s in proposals(written(n=n))} == clusters


@pytest.mark.parametrize(
    "kernel",
    [
        F32,
        written(k=260),
        written("y[m, n] = sum[k] x[m, k] * w[e, k, n]", w="e, k, n", n=516),
        written("y[m, n] = sum[k] x[k, m] * w[e, n, k]", x="k, m"),
        written("y[m, n] = sum[k] x[m, k] * w[n, k, e]", w="n, k, e"),
        written("y[m, n] = sum[k] x[k, at[m]] * w[e, n, k]", x="k, t"),
    ],
    ids=["f32", "odd depth", "odd columns", "ragged inside", "expert inside", "map inside"],
)
def test_nothing_is_proposed_where_the_copy_engine_is_of_no_use(kernel: MoeKernel) -> None:
    assert proposals(kernel) == []
    assert not choose_schedule(kernel, HOPPER).specialised


@pytest.mark.parametrize(
    ("kernel", "store"),
    [
        (PLAIN, EpilogueStore.TMA),
        (written("y[m, n] = b[e, n] + sum[k] x[m, k] * w[e, n, k]"), EpilogueStore.TMA),
        (written("y[m, n] = r[m, n] + sum[k] x[m, k] * w[e, n, k]"), EpilogueStore.STAGED),
        (
            written("y[at[m], n] = sum[k] x[m, k] * w[e, n, k]", y="bf16[t, n]"),
            EpilogueStore.STAGED,
        ),
        (written("y[m, n] += sum[k] x[m, k] * w[e, n, k]", y="f32[m, n]"), EpilogueStore.STAGED),
        (written("y[n, m] = sum[k] x[m, k] * w[e, n, k]", y="bf16[n, m]"), EpilogueStore.STAGED),
        (written(n=516), EpilogueStore.STAGED),
        (written(y="f32[m, n]", n=516), EpilogueStore.TMA),
        (written(n="dynamic"), EpilogueStore.TMA),
    ],
    ids=[
        "plain",
        "vector loaded",
        "matrix loaded",
        "scattered",
        "added",
        "turned",
        "unaligned bf16",
        "aligned f32",
        "dynamic",
    ],
)
def test_the_copy_engine_stores_what_it_can(kernel: MoeKernel, store: EpilogueStore) -> None:
    assert {s.epilogue_store for s in proposals(kernel)} == {store}


def chosen(given: dict[str, Any], kernel: MoeKernel = PLAIN, rows: int | None = None) -> Schedule:
    return choose_schedule(kernel, HOPPER, ScheduleRequest("s", "gemm", given=given), rows)


def codes(given: dict[str, Any], kernel: MoeKernel = PLAIN, rows: int | None = None) -> list[str]:
    request = ScheduleRequest("s", "gemm", given=given)
    schedule = choose_schedule(kernel, HOPPER, request, rows)
    return [found.code for found in check_schedule(kernel, schedule, request, HOPPER)]


OFF = {"producer_registers": 0, "consumer_registers": 0}
ROLES = {"producer_registers": 40, "consumer_registers": 232}


@pytest.mark.parametrize("sm", sorted(set(TARGETS) - {"sm_90a"}))
def test_only_hopper_specialises_warps(sm: str) -> None:
    assert choose_schedule(PLAIN, HOPPER).specialised
    assert not choose_schedule(PLAIN, TARGETS[sm]).specialised


def test_registers_off_is_as_on_a_target_without_specialised_warps() -> None:
    for rows in (None, 8, 300, 8000):
        assert chosen(OFF, rows=rows) == choose_schedule(PLAIN, TARGETS["sm_90"], None, rows)


@pytest.mark.parametrize("rows", [None, 0, 8, 300, 8000])
@pytest.mark.parametrize("kernel", [PLAIN, TWO_SUMS, GATHER], ids=["plain", "two sums", "gather"])
def test_what_is_chosen_is_legal(kernel: MoeKernel, rows: int | None) -> None:
    schedule = choose_schedule(kernel, HOPPER, None, rows)
    assert schedule.specialised
    assert check_schedule(kernel, schedule, None, HOPPER) == []


@pytest.mark.parametrize(("rows", "height"), [(64, 32), (65, 128), (512, 128), (513, 192)])
def test_rows_per_expert_decide(rows: int, height: int) -> None:
    assert choose_schedule(PLAIN, HOPPER, None, rows).tile.rows == height


def test_a_promise_of_batch_invariance_does_not_look_at_rows() -> None:
    given = {"require": (Requirement.BATCH_INVARIANT,)}
    schedules = {chosen(given, rows=rows) for rows in (None, 1, 300, 8000)}
    assert len(schedules) == 1
    assert schedules.pop().split_k == 1


def test_few_tiles_split_the_depth() -> None:
    deep = written(n=256, k=8192)
    assert choose_schedule(deep, HOPPER, None, 1).split_k == 8
    assert chosen({"split_k": 2}, deep, 1).split_k == 2


@pytest.mark.parametrize(
    "given",
    [
        {"stages": 3},
        {"stages": 2},
        {"cluster_columns": 1},
        {"row_eviction": Eviction.LAST, "column_eviction": Eviction.FIRST},
        {"cooperation": Cooperation.COOPERATIVE},
        {"tile.rows": 64},
        {"tile.columns": 64, "tile.depth": 128},
        {"tails": (64, 32)},
        {"tails": ()},
        {"epilogue_store": EpilogueStore.STAGED},
        {"raster.group": 3, "raster.serpentine": True},
        ROLES,
    ],
    ids=str,
)
def test_what_is_given_is_kept(given: dict[str, Any]) -> None:
    schedule = chosen(given)
    assert schedule.specialised
    for name, value in given.items():
        part, _, field = name.rpartition(".")
        assert getattr(getattr(schedule, part) if part else schedule, field) == value
    assert codes(given) == []


def test_proposed_tails_above_a_given_tile_are_left_out() -> None:
    assert chosen({"tile.rows": 64}).tails == (48, 32, 16)
    assert chosen({"tile.rows": 64, "tails": (32,)}).tails == (32,)


ILLEGAL: tuple[tuple[dict[str, Any], str], ...] = (
    ({"tile.depth": 32}, "MOE0412"),
    ({"tile.columns": 96}, "MOE0411"),
    ({"consumers": 1, "cooperation": Cooperation.PINGPONG}, "MOE0425"),
    ({"consumers": 1}, "MOE0428"),
    ({"cluster_rows": 4, "cluster_columns": 1}, "MOE0421"),
)


@pytest.mark.parametrize(("given", "code"), ILLEGAL, ids=str)
def test_with_registers_the_rule_speaks(given: dict[str, Any], code: str) -> None:
    assert chosen(given | ROLES).specialised
    assert code in codes(given | ROLES)


@pytest.mark.parametrize("given", [given for given, _ in ILLEGAL[:2]], ids=str)
def test_without_registers_the_portable_path_is_taken(given: dict[str, Any]) -> None:
    assert not chosen(given).specialised
    assert codes(given) == []
