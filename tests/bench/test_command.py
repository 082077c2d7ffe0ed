"""``moedsl bench``: what it refuses, what it says, and its exit codes."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

import pytest

from moedsl.bench.kernels import KERNELS
from moedsl.bench.measure import Measurement, Timing
from moedsl.bench.rivals import CONTESTANTS
from moedsl.cli import main
from moedsl.cli.bench import add_arguments

if TYPE_CHECKING:
    from moedsl.bench.kernels import Workload


@pytest.mark.parametrize(
    ("words", "unknown", "known"),
    [
        (["--cases", "seed,sede"], "no case 'sede'", "sonic"),
        (["--kernel", "typo"], "no kernel 'typo'", "gate_up"),
        (["--contestants", "cutlass"], "no contestant 'cutlass'", "cublas_grouped"),
        (["--kernel", "gather", "--contestants", "naive"], "contestant 'naive'", "pregathered"),
        (["--sweep", "rows", "--cases", "seed"], "no case 'seed'", "m=4096"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(
    words: list[str], unknown: str, known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words, "--diagnostic-format", "human"]) == 2
    said = capsys.readouterr().err
    assert "MOE0690" in said
    assert unknown in said
    assert known in said


def test_the_help_names_all_kernels() -> None:
    """Where it stands it cannot import them: help is told at once."""
    parser = ArgumentParser()
    add_arguments(parser)
    told = re.search(r"--kernel KERNEL (.*?) \(", " ".join(parser.format_help().split()))
    assert told is not None
    assert re.split(", | or ", told[1]) == list(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_torch_it_says_how_to_get_it(
    kernel: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["bench", "--kernel", kernel, "--cases", "small"]) == 3
    assert "pip install" in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, list[str]]]:
    """Stands in for measuring: kernel, case and contestants of each call."""
    calls: list[tuple[str, str, list[str]]] = []

    def measure(
        workload: Workload, contestants: list[Any], rounds: int, batch: float, seed: int
    ) -> Measurement:
        names = [c.name for c in contestants]
        calls.append((workload.kernel.name, workload.case.name, names))
        timings = [
            Timing("moedsl", 2e-4, 1e-4, 3e-4, 500.0, 0.5, 1455, 0.25),
            Timing("torch", 3e-4, 3e-4, 3e-4, 400.0, 0.4, 0, 2.5 if seed else 0.75),
        ]
        return Measurement(timings, {"quack": "ValueError: too small\nat line 3"})

    monkeypatch.setattr("moedsl.bench.measure.measure", measure)
    return calls


def test_a_table_for_each_case(
    measured: list[tuple[str, str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--kernel", "scatter", "--sweep", "rows", "--cases", "m=1,m=4"]) == 0
    everyone = list(CONTESTANTS["scatter"])
    assert measured == [("scatter", "m=1", everyone), ("scatter", "m=4", everyone)]
    said = capsys.readouterr().out
    assert said.startswith(
        "m=1, scatter: rows for each expert; 64 experts, 64 rows, n 2048, k 4096"
    )
    lines = [line.split() for line in said.splitlines()]
    assert lines.count(["torch", "300.0", "300.0-300.0", "400.0", "0.40", "1.50x", "0.75"]) == 2
    assert said.count("quack failed: ValueError: too small\n") == 2
    assert said.endswith("all correct\n")


def test_all_public_cases_and_the_product_by_default(
    measured: list[tuple[str, str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--contestants", "torch,moedsl", "--json"]) == 0
    assert [kernel for kernel, _, _ in measured] == ["product"] * 9
    assert {tuple(names) for *_, names in measured} == {("torch", "moedsl")}
    document = json.loads(capsys.readouterr().out)
    assert document["kernel"] == "product"
    assert document["cases"]["seed"][1]["contestant"] == "torch"
    assert document["left_out"]["seed"] == {"quack": "ValueError: too small\nat line 3"}


def test_rounds_and_batches_are_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, float, int]] = []

    def measure(_: Workload, __: list[Any], rounds: int, batch: float, seed: int) -> Measurement:
        said.append((rounds, batch, seed))
        return Measurement([], {})

    monkeypatch.setattr("moedsl.bench.measure.measure", measure)
    assert main(["bench", "--cases", "small"]) == 0
    assert main(["bench", "--cases", "small", "--rounds", "5", "--batch", "0.5"]) == 0
    assert said == [(15, 0.004, 0), (5, 0.5, 0)]


@pytest.mark.parametrize("batch", ["0", "inf", "long"])
def test_a_batch_is_a_number_above_0(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--batch", batch])
    assert f"'{batch}' is no number above 0" in capsys.readouterr().err


def test_a_wrong_result_fails(
    measured: list[tuple[str, str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--cases", "seed", "--seed", "1"]) == 1
    assert "wrong results: torch on seed" in capsys.readouterr().out
