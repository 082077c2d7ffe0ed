"""The benchmark's cases are what they claim to be, and it says what it lacks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from moedsl.bench.measure import read_clock
from moedsl.bench.rivals import CONTESTANTS, make_operands
from moedsl.bench.suite import public_cases, sweeps
from moedsl.cli import main
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.source.diagnostic import UnavailableError
from moedsl.source.span import Source
from moedsl.work import plan

if TYPE_CHECKING:
    from pathlib import Path

CASES = public_cases()
SWEEPS = sweeps()


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_a_kernel_that_covers_its_rows(name: str) -> None:
    case = CASES[name]
    (kernel,) = load_program(Source(name, case.text), {}).kernels
    tile = lower_kernel(kernel, Options(rows=case.total))
    assert tile.signature.expert_count == case.experts == len(case.rows)
    sizes = {"e": case.experts, "n": tile.schedule.tile.columns, "k": case.k}
    one_column = [t for item in plan(tile, case.rows, sizes) for t in item.tiles if t.split == 0]
    assert sum(t.rows for t in one_column) == case.total


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_differs_in_one_respect(name: str) -> None:
    cases = SWEEPS[name].values()
    assert len({(case.n, case.k) for case in cases}) == 1
    assert len({case.experts for case in cases}) == (len(cases) if name == "experts" else 1)
    assert len({case.total for case in cases}) == (len(cases) if name == "rows" else 1)
    assert all(word == case.name for word, case in SWEEPS[name].items())


def test_the_sweep_of_skew_is_ordered() -> None:
    most = [max(case.rows) for case in SWEEPS["skew"].values()]
    assert most == sorted(most)
    assert most[0] * 64 == most[-1] == 16384


def test_work_is_counted_once() -> None:
    seed, decode = CASES["seed"], CASES["decode64"]
    assert seed.flops == 2 * 16384 * 14336 * 4096
    idle = decode.rows.count(0)
    assert idle
    weights = 2 * (128 - idle) * 5760 * 2880
    assert decode.bytes == weights + 2 * 256 * (5760 + 2880)
    assert decode.floor_seconds == decode.bytes / 4.3e12
    assert seed.floor_seconds == seed.flops / 790e12


def test_an_unknown_case_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--cases", "seed,sede"]) == 2
    said = capsys.readouterr().err
    assert "MOE0690" in said
    assert "'sede'" in said
    assert main(["bench", "--contestants", "cutlass"]) == 2
    assert "'cutlass'" in capsys.readouterr().err


def test_without_torch_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match="torch"):
        make_operands(CASES["small"], 0)
    assert main(["bench", "--cases", "small"]) == 3
    assert "pip install" in capsys.readouterr().err


def test_contestants_whose_library_is_missing_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "nvmath" or None)
    assert not CONTESTANTS["cublas_grouped"].available()
    assert CONTESTANTS["naive"].available()


def test_a_clock_that_cannot_be_read_is_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_clock() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 1455\n")
    tool.chmod(0o755)
    assert read_clock() == 1455
