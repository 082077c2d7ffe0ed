"""``moedsl fuzz`` on real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from moedsl.backend import Availability, backends
from moedsl.cli import main
from moedsl.cli.fuzz import choose_runners
from tests.cli.test_commands import QUICKSTART, Captured, document


def test_fuzz_finds_nothing_in_a_good_backend(capsys: Captured) -> None:
    words = ["fuzz", QUICKSTART, "--backend", "interp", "--cases", "5", "--seed", "1"]
    found = document(capsys, *words)
    assert found["cases"] == 5
    assert found["failure"] is None


def test_fuzz_without_a_gpu_takes_every_backend_that_runs(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Availability(False, "no GPU")
    monkeypatch.setattr(type(backends()["cuda"]), "availability", lambda _: absent)
    runners, why = choose_runners("auto")
    assert [runner.backend.name for runner in runners] == ["interp", "emulator"]
    assert backends()["emulator"].availability().detail in why
    found = document(capsys, "fuzz", QUICKSTART, "--cases", "2", "--seed", "1")
    assert found["cases"] == 2
    assert found["calls"] >= 2 * len(runners)
    assert found["failure"] is None


def test_fuzz_reports_a_reproduction(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from moedsl.fuzz import hunt
    from moedsl.fuzz.trial import Finding

    monkeypatch.setattr(hunt, "try_case", lambda *_: Finding("a wrong element", 0))
    words = ["fuzz", QUICKSTART, "--backend", "interp", "--cases", "5", "--seed", "1"]
    found = document(capsys, *words, "--corpus", str(tmp_path), code=1)
    failure = found["failure"]
    assert failure["message"] == "a wrong element"
    assert Path(failure["entry"]).parent == tmp_path
    again = failure["command"].split()[1:]
    assert main(again) == 1
    assert "a wrong element" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["fuzz", QUICKSTART, "--replay", failure["entry"], "--backend", "interp"]) == 0


def test_fuzz_says_which_entries_it_cannot_read(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"case": {"kernel": 3}}')
    words = ["fuzz", QUICKSTART, "--backend", "interp", "--cases", "1", "--seed", "1"]
    assert main([*words, "--corpus", str(tmp_path)]) == 0
    shown = capsys.readouterr().err
    assert f"warning: cannot read a case from '{tmp_path}/old.json' [MOE0625]" in shown
