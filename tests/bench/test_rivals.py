"""Contestants: who there is, who can run, and what becomes of one that fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from moedsl.bench import measure
from moedsl.bench.contestant import Contestant, Launch
from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.operands import make_operands
from moedsl.bench.rivals import CONTESTANTS
from moedsl.bench.rivals.deepgemm import pad
from moedsl.bench.suite import Case, public_cases
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SMALL = Workload(KERNELS["product"], public_cases()["small"])


def test_every_kernel_has_moedsl_first_and_torch() -> None:
    assert CONTESTANTS.keys() == KERNELS.keys()
    for known in CONTESTANTS.values():
        assert next(iter(known)) == "moedsl"
        assert known["moedsl"].computes
        assert "torch" in known


def test_only_what_moedsl_computes_is_called_so() -> None:
    own = {(k, name) for k, known in CONTESTANTS.items() for name in known if known[name].is_moedsl}
    bounds = {("gather", "pregathered"), ("scatter", "plain")}
    assert own == {(kernel, "moedsl") for kernel in KERNELS} | bounds


def test_contestants_whose_library_is_missing_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "torch" or None)
    known = CONTESTANTS["product"]
    assert known["naive"].available()
    missing = {name: c.install for name, c in known.items() if not c.available()}
    assert missing.pop("cublas_grouped") == "'moedsl[bench]'"
    assert missing.pop("quack") == missing.pop("quack_untuned") == "quack-kernels"
    assert missing.pop("deepgemm").endswith("/DeepGEMM")


def test_without_torch_there_are_no_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match="torch"):
        make_operands(SMALL, 0)


def test_rows_are_padded_to_whole_units() -> None:
    places, experts = pad(Case("", "", 8, 8, (3, 0, 4, 5)), 4)
    assert places.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert experts.tolist() == [0, 0, 0, -1, 2, 2, 2, 2, 3, 3, 3, 3, 3, -1, -1, -1]
    assert experts.dtype == np.int32


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
    """No GPU: operands stand in for tensors, and every round takes half a second."""
    operands = Bench()
    monkeypatch.setattr(measure, "make_operands", lambda workload, seed: operands)
    monkeypatch.setattr(measure, "_time_rounds", lambda runs, *_: {n: [0.5, 0.25] for n in runs})
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
    )
    errors = {t.contestant: t.worst_error for t in found.timings}
    assert errors == {"right": 0, "doubled": 0, "wrong": 3, "stored": 1, "other": None}
    assert bench.poisoned == 5
    assert found.left_out == {}
    first = found.timings[0]
    assert (first.median, first.low, first.high, first.clock) == (0.375, 0.25, 0.5, 1455)
    assert first.tflops == pytest.approx(SMALL.flops / 0.375e12)
    assert first.floor_ratio == pytest.approx(SMALL.floor_seconds / 0.375)


def test_a_rival_that_fails_is_left_out(bench: Bench) -> None:
    def fail() -> Any:
        raise ValueError("rows must be many")

    rival = contestant("rival", fail)
    found = measure.measure(SMALL, [contestant("right", lambda: 1), rival])
    assert [t.contestant for t in found.timings] == ["right"]
    assert found.left_out == {"rival": "ValueError: rows must be many"}
    with pytest.raises(ValueError, match="many"):
        measure.measure(SMALL, [replace(rival, module="moedsl")])


def test_a_clock_that_cannot_be_read_is_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure.read_clock() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 1455\n")
    tool.chmod(0o755)
    assert measure.read_clock() == 1455
