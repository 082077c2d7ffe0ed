"""The fuzzer passes what is right, finds what is wrong, makes it small and writes it down."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl import work
from moedsl.backends.interp import BACKEND, walk
from moedsl.fuzz.case import Batch, Case, from_json, read_case, to_json, to_token
from moedsl.fuzz.draw import cases
from moedsl.fuzz.hunt import Failure, FuzzReport, fuzz, replay
from moedsl.fuzz.trial import HostPlace, Runner
from moedsl.inputs import Layout
from moedsl.ir.core import Compute, DType
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.lower.front import Program, load_program
from moedsl.meaning import Mode
from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.span import Source
from moedsl.target import DEFAULT_TARGET, TARGETS
from tests.cuda.kernels import forward
from tests.kernels import combine, grouped_gemm, weight_gradient
from tests.strategies import drawn, moe_kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moedsl.backend import Call
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Raster
    from moedsl.subscript import Positions
    from moedsl.work import Tile

RUNNER = Runner(BACKEND, HostPlace())
KERNELS = (grouped_gemm(4, 16, 16), combine(4, 16, 16), weight_gradient(4, 16, 16, bias=True))
PROGRAM = Program(KERNELS, (), ())
GEMM = Program(KERNELS[:1], (), ())
SWIGLU = """
kernel up {
    param  hidden = 4096
    index  e = 8
    index  m = ragged(e)
    index  n = 14336
    index  k = hidden
    input  x  : f16[m, k]
    input  wg : f16[e, n, k]
    input  wu : f16[e, k, n]
    output h  : f16[m, n]
    h[m, n] = silu(sum[k] x[m, k] * wg[e, n, k]) * (sum[k] x[m, k] * wu[e, k, n])
}
"""


def hunt(program: Program, count: int = 200, corpus: Path | None = None) -> FuzzReport:
    return fuzz(program, [RUNNER], cases=count, seed=1, corpus=corpus)


def failure_of(report: FuzzReport) -> Failure:
    assert report.failure is not None
    return report.failure


@pytest.mark.parametrize("program", [PROGRAM, load_program(Source("up.moe", SWIGLU))])
def test_what_is_right_passes(program: Program) -> None:
    seen: list[int] = []
    report = fuzz(
        program, [RUNNER], cases=60, progress=lambda done, wanted, _: seen.append(done + wanted)
    )
    assert report.failure is None
    assert report.cases == 60 <= report.calls
    assert seen == list(range(61, 121))


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(moe_kernels(), st.integers(0, 9999))
def test_random_kernels_pass(kernel: MoeKernel, seed: int) -> None:
    assert fuzz(Program((kernel,), (), ()), [RUNNER], cases=3, seed=seed).failure is None


def test_the_same_seed_draws_the_same_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    hunts: list[list[Case]] = []
    for _ in range(2):
        tried: list[Case] = []
        monkeypatch.setattr(
            "moedsl.fuzz.hunt.try_case", lambda case, *_, tried=tried: tried.append(case)
        )
        fuzz(PROGRAM, [RUNNER], cases=20, seed=5)
        hunts.append(tried)
    assert hunts[0] == hunts[1]
    assert len(hunts[0]) == 20


@pytest.mark.parametrize(
    ("kernel", "depths"),
    [
        (forward(), {64, 128, 256}),
        (forward(compute=Compute.TF32), {32, 64, 128}),
        (forward(compute=Compute.TF32, weights="ekn"), {32, 64, 128}),
        (forward(compute=Compute.TF32, gather=True), {32, 64, 128}),
        (forward(compute=Compute.TF32, weights="ekn", gather=True), set()),
        (forward(compute=Compute.F32), set()),
    ],
    ids=["bf16", "tf32", "tf32 across", "tf32 gathered", "tf32 both", "f32"],
)
def test_specialised_warps_are_drawn_where_they_can_compute(
    kernel: MoeKernel, depths: set[int]
) -> None:
    found = drawn(cases([kernel], TARGETS["sm_90a"], 1), 3, 400)
    assert {c.schedule.tile.depth for c in found if c.schedule.specialised} == depths
    assert any(not c.schedule.specialised for c in found)


def test_time_ends_a_hunt() -> None:
    report = fuzz(PROGRAM, [RUNNER], cases=10**6, seconds=0.5)
    assert report.failure is None
    assert 0 < report.cases < 10**6
    assert report.seconds < 5


# ---- what is wrong is found


def off_by_one(schedule: Schedule, rows: int) -> int:
    return tile_height(schedule, rows) - (rows == schedule.tile.rows)


def dropped_tail(schedule: Schedule, rows: Sequence[int]) -> list[tuple[int, ...]]:
    """The last expert of every fused run goes without."""
    return [run[:-1] if len(run) > 1 else run for run in fused_runs(schedule, rows)]


def wrong_split(schedule: Schedule, depth: int, split: int) -> tuple[int, int]:
    """The last part ends a stage early."""
    first, last = depth_range(schedule, depth, split)
    early = 0 < split == schedule.split_k - 1
    return first, max(first, last - schedule.tile.depth) if early else last


def repeated_tile(raster: Raster, number: int, rows: int, columns: int) -> tuple[int, int]:
    """The sixth tile of an expert is one that was computed before."""
    row, column = raster_position(raster, number, rows, columns)
    return (row - 1 if number == 5 and row else row), column


tile_height, fused_runs = work.tile_height, work._fused_runs
depth_range, raster_position = work.depth_range, work.raster_position


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("tile_height", off_by_one),
        ("_fused_runs", dropped_tail),
        ("depth_range", wrong_split),
        ("raster_position", repeated_tile),
    ],
)
def test_mistakes_in_the_plan_are_found(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., object]
) -> None:
    monkeypatch.setattr(work, name, wrong)
    failure = failure_of(hunt(GEMM, 400))
    assert len(failure.case.batches) == 1
    assert failure_of(replay(failure.case, GEMM, [RUNNER])).message == failure.message
    monkeypatch.undo()
    assert replay(failure.case, GEMM, [RUNNER]).failure is None


def test_a_store_beyond_the_edge_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    where = walk._Walk.where

    def one_row_more(self: walk._Walk, tile: Tile) -> dict[str, Positions]:
        whole = tile.rows + 1 <= tile.height
        return where(self, replace(tile, rows=tile.rows + 1) if whole else tile)

    monkeypatch.setattr(walk._Walk, "where", one_row_more)
    assert failure_of(hunt(GEMM)).case.batches[0].mode in tuple(Mode)


def test_bits_that_change_from_run_to_run_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    flip = iter(range(10**9))
    launch = walk.InterpExecutable.launch

    def restless(self: walk.InterpExecutable, call: Call) -> None:
        launch(self, call)
        y = walk.host_array(call.arrays["y"])
        if y.size and next(flip) % 2:
            y += (y == y) * 0.001

    monkeypatch.setattr(walk.InterpExecutable, "launch", restless)
    program = Program((grouped_gemm(2, 8, 8, out=DType.F32),), (), ())
    assert hunt(program).failure is not None


def test_bits_that_change_with_the_rows_of_others_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = walk.InterpExecutable.launch

    def crowded(self: walk.InterpExecutable, call: Call) -> None:
        """One unit in the last place more, which every other test lets pass, if many rows are."""
        launch(self, call)
        y = walk.host_array(call.arrays["y"])
        if call.sizes["m"] > 40:
            y[...] = np.where(y == np.round(y), y, np.nextafter(y, np.float32(np.inf)))

    monkeypatch.setattr(walk.InterpExecutable, "launch", crowded)
    program = Program((grouped_gemm(4, 8, 8, out=DType.F32),), (), ())
    failure = failure_of(hunt(program, 400))
    assert "other bits without other experts" in failure.message
    (batch,) = failure.case.batches
    assert max(batch.rows) <= 40 < sum(batch.rows) + batch.spare_rows


def test_shrunk_cases_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "depth_range", lambda schedule, depth, split: (0, max(0, depth - 1)))
    case = failure_of(hunt(GEMM)).case
    assert sum(case.batches[0].rows) <= 2
    assert case.extents["n"] * case.extents["k"] <= 4
    assert case.schedule.split_k == 1
    assert not case.batches[0].layouts


def test_crashes_are_findings_and_fragile_ones_stop_the_hunt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches: list[int] = []

    def crash(*_: object) -> None:
        launches.append(1)
        raise RuntimeError("illegal address")

    monkeypatch.setattr(walk.InterpExecutable, "launch", crash)
    assert failure_of(hunt(GEMM)).message == "RuntimeError: illegal address"
    launches.clear()
    fragile = Runner(BACKEND, HostPlace(), fragile=True)
    failure = failure_of(fuzz(GEMM, [fragile], cases=50))
    assert failure.message == "RuntimeError: illegal address"
    assert len(launches) == 1


# ---- writing down and reading back


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(cases(KERNELS, DEFAULT_TARGET))
def test_cases_come_back_from_tokens(case: Case) -> None:
    assert from_json(json.loads(json.dumps(to_json(case)))) == case
    assert read_case(to_token(case)) == case


def test_a_failure_is_one_command_and_one_corpus_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    monkeypatch.setattr(work, "tile_height", off_by_one)
    failure = failure_of(hunt(GEMM, 400, corpus))
    assert failure.entry is not None
    assert [path.name for path in corpus.iterdir()] == [failure.entry.name]
    assert read_case(str(failure.entry)) == failure.case
    words = shlex.split(failure.command("my file.moe"))
    assert words[:5] == ["moedsl", "fuzz", "my file.moe", "--backend", "interp"]
    assert read_case(words[words.index("--replay") + 1]) == failure.case
    # The next hunt meets the old failure before it draws anything.
    again = fuzz(GEMM, [RUNNER], cases=1, seed=77, corpus=corpus)
    assert failure_of(again).case == failure.case
    monkeypatch.undo()
    assert fuzz(GEMM, [RUNNER], cases=3, corpus=corpus).failure is None


CASE = Case(
    "gemm",
    "sm_80",
    {"e": 2, "n": 3, "k": 4},
    Schedule(TileShape(16, 64, 32)),
    (Batch((1, 2), Mode.EXACT),),
)


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(value).encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "no/such/entry.json",
        to_token(CASE)[:-8],
        packed({**to_json(CASE), "extents": {"e": "x"}}),
        packed({**to_json(CASE), "batches": 3}),
        packed({**to_json(CASE), "more": 1}),
        packed([]),
        "é",
    ],
)
def test_what_is_no_case_is_said_so(text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        read_case(text)
    assert [d.code for d in caught.value.diagnostics] == ["MOE0625"]


def test_a_case_is_replayed() -> None:
    report = replay(CASE, GEMM, [RUNNER])
    assert (report.failure, report.calls) == (None, 1)


BATCH = CASE.batches[0]


@pytest.mark.parametrize(
    "case",
    [
        replace(CASE, kernel="other"),
        replace(CASE, target="sm_1"),
        replace(CASE, extents={"e": 2}),
        replace(CASE, extents={"e": 2, "n": 0, "k": 4}),
        replace(CASE, schedule=Schedule(TileShape(17, 64, 32))),
        replace(CASE, batches=(replace(BATCH, rows=(1, 2, 3)),)),
        replace(CASE, batches=(replace(BATCH, rows=(1, -2)),)),
        replace(CASE, batches=(replace(BATCH, sizes={"t": 3}),)),
        replace(CASE, batches=(replace(BATCH, layouts={"z": Layout()}),)),
        replace(CASE, batches=(replace(BATCH, layouts={"x": Layout((0, 0))}),)),
        replace(CASE, batches=(replace(BATCH, layouts={"x": Layout(gap=0)}),)),
    ],
)
def test_a_case_of_another_file_is_said_so(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        replay(case, GEMM, [RUNNER])
    assert [d.code for d in caught.value.diagnostics] == ["MOE0626"]
    # In a corpus it is left alone.
    (tmp_path / "old.json").write_text(json.dumps({"case": to_json(case)}))
    (tmp_path / "older.json").write_text("{}")
    assert fuzz(GEMM, [RUNNER], cases=2, corpus=tmp_path).cases == 2
