"""Measuring without a GPU: what is timed, and what becomes of a rival that fails."""

from __future__ import annotations

from collections import defaultdict
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

import pytest

from moedsl.bench import measure
from moedsl.bench.contestant import Contestant, Launch
from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.suite import public_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = Workload(KERNELS["product"], public_cases()["small"])


class Bench:
    """Operands whose one right result is the number 1."""

    poisoned = 0

    def poison(self) -> None:
        self.poisoned += 1

    def worst_error(self, result: Any, *, stores: bool) -> float:
        return float(abs(result - 1) + stores)


def contestant(name: str, run: Callable[[], Any], module: str = "json", **other: Any) -> Contestant:
    return Contestant(name, lambda _: Launch(run), module, name, **other)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """No GPU: operands stand in for tensors; a run takes half a second in one batch, and a quarter
    in the next.
    """
    operands = Bench()
    seconds: defaultdict[Any, Iterator[float]] = defaultdict(lambda: cycle((0.5, 0.25)))

    def time_batch(run: Callable[[], Any], times: int) -> float:
        for _ in range(times):
            run()
        return next(seconds[run])

    monkeypatch.setattr(measure, "make_operands", lambda workload, seed: operands)
    monkeypatch.setattr(measure, "_time_batch", time_batch)
    monkeypatch.setattr(measure, "_clock_under", lambda run: 1455)
    return operands


def test_contestants_are_checked_and_timed(bench: Bench) -> None:
    doubled = Contestant("doubled", lambda _: Launch(lambda: 2, lambda r: r / 2), "json", "")
    found = measure.measure(
        SMALL,
        [
            contestant("right", lambda: 1),
            doubled,
            contestant("wrong", lambda: 4),
            contestant("stored", lambda: 1, stores=True),
            contestant("other", lambda: 7, computes=False),
            contestant("missing", lambda: 1, module="no_such_module"),
        ],
        rounds=2,
    )
    errors = {t.contestant: t.worst_error for t in found.timings}
    assert errors == {"right": 0, "doubled": 0, "wrong": 3, "stored": 1, "other": None}
    assert bench.poisoned == 5
    assert found.left_out == {}
    first = found.timings[0]
    assert (first.median, first.low, first.high, first.clock) == (0.375, 0.25, 0.5, 1455)
    assert first.tflops == pytest.approx(SMALL.flops / 0.375e12)
    assert first.floor_ratio == pytest.approx(SMALL.floor_seconds / 0.375)


def test_runs_fill_a_batch(bench: Bench) -> None:
    """One is checked, and two batches of two warm up; a second has room for four."""
    runs = count(1)
    measure.measure(SMALL, [contestant("right", lambda: next(runs))], rounds=3, batch_seconds=1)
    assert next(runs) - 1 == 1 + 2 * 2 + 3 * 4


def fails_at(number: int) -> Callable[[], Any]:
    """Raises at the run of this number; the others are right."""
    runs = count(1)

    def run() -> int:
        if next(runs) == number:
            raise ValueError(f"not {number} times")
        return 1

    return run


@pytest.mark.parametrize(
    "number",
    [1, 2, 5, 6, 7],
    ids=["checked", "first warmed up", "last warmed up", "first round", "last round"],
)
def test_a_rival_that_fails_is_left_out(number: int, bench: Bench) -> None:
    others = [contestant(name, lambda: 1) for name in ("first", "last")]
    rival = contestant("rival", fails_at(number))
    found = measure.measure(SMALL, [others[0], rival, others[1]], rounds=2)
    assert [(t.contestant, t.median) for t in found.timings] == [("first", 0.375), ("last", 0.375)]
    assert found.left_out == {"rival": f"ValueError: not {number} times"}
    with pytest.raises(ValueError, match=f"{number} times"):
        measure.measure(SMALL, [contestant("moedsl", fails_at(number), "moedsl")])


def test_a_clock_that_cannot_be_read_is_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure.read_clock(lambda: None) == 0
    nvidia_smi(tmp_path, "echo no such GPU")
    assert measure.read_clock(lambda: None) == 0
    nvidia_smi(tmp_path, "exec /bin/sleep 60")
    monkeypatch.setattr(measure, "_PATIENCE", 0.2)
    assert measure.read_clock(lambda: None) == 0


def test_work_goes_on_while_the_clock_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    at_work = tmp_path / "at work"
    nvidia_smi(tmp_path, f"while [ ! -e '{at_work}' ]; do :; done; echo 1455")
    assert measure.read_clock(at_work.touch) == 1455


def nvidia_smi(folder: Path, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
