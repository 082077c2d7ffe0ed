"""The frame of the command line: help, exit codes, failures of every kind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from moedsl.cli import main
from moedsl.cli.dispatch import COMMANDS, exit_code
from moedsl.cli.given import SOURCES
from moedsl.lower.pipeline import RECENT
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity, UnavailableError

if TYPE_CHECKING:
    import argparse

    from moedsl.cli.console import Console

MOEDSL = [sys.executable, "-m", "moedsl"]


def use_command(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | int) -> None:
    """Let ``moedsl doctor`` end with ``outcome``."""

    def execute(arguments: argparse.Namespace, console: Console) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", nargs="?")

    module = SimpleNamespace(execute=execute, add_arguments=add_arguments)
    monkeypatch.setattr("moedsl.cli.dispatch.import_module", lambda name: module)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"moedsl {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("moedsl ")


@pytest.mark.parametrize("words", [[], ["chek"], ["--nonsense"], ["check", "--nonsense"]])
def test_wrong_use_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: moedsl" in shown.err


@pytest.mark.parametrize(
    ("words", "command", "text"),
    [
        (["--json"], None, "required: COMMAND"),
        (["chek", "--json"], None, "did you mean 'check'?"),
        (["check", "--json"], "check", "required: FILE"),
        (["--json", "run", "x.moe", "--seed", "-1"], "run", "no whole number"),
        (["explain-code", "--nonsense", "--json"], "explain-code", "--nonsense"),
    ],
)
def test_wrong_use_is_a_document_too(
    words: list[str], command: str | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (document["command"], document["exit_code"]) == (command, 2)
    (found,) = document["diagnostics"]
    assert found["code"] == "MOE0600"
    assert text in found["message"]
    assert text in shown.err


def test_behind_two_dashes_json_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "a.moe", "--", "--json"])
    assert capsys.readouterr().out == ""


def test_a_mistyped_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["chek", "x.moe"])
    assert "there is no command 'chek'; did you mean 'check'?" in capsys.readouterr().err


def diagnostic(code: str, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(code=code, message="it is so", severity=severity)


@pytest.mark.parametrize(
    ("diagnostics", "code"),
    [
        ([], 0),
        ([diagnostic("MOE0101", Severity.WARNING)], 0),
        ([diagnostic("MOE0101")], 1),
        ([diagnostic("MOE0601")], 2),
        ([diagnostic("MOE0601"), diagnostic("MOE0101")], 1),
        ([diagnostic("MOE0601"), diagnostic("MOE0101", Severity.WARNING)], 2),
    ],
)
def test_exit_code_of_diagnostics(diagnostics: list[Diagnostic], code: int) -> None:
    assert exit_code(diagnostics) == code


def test_diagnostics_go_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(monkeypatch, DiagnosticError([diagnostic("MOE0101")]))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: it is so [MOE0101]\n"


def test_json_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(monkeypatch, DiagnosticError([diagnostic("MOE0101")]))
    for words in (["--json", "doctor"], ["doctor", "--json"]):
        assert main(words) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["command"] == "doctor"
        assert document["exit_code"] == 1
        assert [d["code"] for d in document["diagnostics"]] == ["MOE0101"]


def test_what_the_machine_lacks_is_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(monkeypatch, UnavailableError("there is no GPU", help="buy one"))
    assert main(["doctor"]) == 3
    assert capsys.readouterr().err == "moedsl: there is no GPU\n  help: buy one\n"


def test_an_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(monkeypatch, KeyboardInterrupt())
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_is_70_and_leaves_an_archive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MOEDSL_SECRET", "hunter2")
    (tmp_path / "input.moe").write_text("kernel broken {}")
    use_command(monkeypatch, ZeroDivisionError("seven by nought"))
    assert main(["doctor", str(tmp_path / "input.moe"), "--json"]) == 70
    document = json.loads(capsys.readouterr().out)
    archive = Path(document["internal_error"]["archive"])
    assert archive.parent == tmp_path
    with zipfile.ZipFile(archive) as opened:
        contents = {name: opened.read(name).decode() for name in opened.namelist()}
    assert contents["input/0-input.moe"] == "kernel broken {}"
    assert "input.moe --json" in contents["command.txt"]
    assert "ZeroDivisionError: seven by nought" in contents["traceback.txt"]
    assert "numpy" in json.loads(contents["versions.json"])
    assert not any("hunter2" in text for text in contents.values())


def crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str
) -> dict[str, str]:
    """The archive of ``moedsl WORDS --json``, which must fail inside."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    RECENT.clear()
    SOURCES.clear()
    assert main([*words, "--json"]) == 70
    document = json.loads(capsys.readouterr().out)
    with zipfile.ZipFile(document["internal_error"]["archive"]) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def test_the_archive_holds_ir_and_emitted_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("moedsl.cli.compile.print_schedule", fail)
    text = (Path(__file__).parents[2] / "examples" / "quickstart.moe").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    contents = crash(monkeypatch, capsys, tmp_path, "compile", "-", "--target", "sm_80")
    assert contents["source/0-<stdin>"] == text.decode()
    assert contents["ir/00-input.mir"].startswith("moe module")
    last = contents["ir/06-build_tile.mir"]
    assert last.startswith("tile module")
    assert contents["emitted/quickstart.gpu"].startswith("gpu module")
    assert "moedsl_quickstart(" in contents["emitted/quickstart.cu"]
    file = tmp_path / "again.mir"
    file.write_text(last)
    assert main(["opt", str(file), "--passes", ""]) == 0
    assert capsys.readouterr().out == last


def test_the_archive_holds_the_ir_that_a_pass_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def lose_the_body(kernel: Any) -> Any:
        return replace(kernel, body=kernel.body[1:])

    monkeypatch.setattr("moedsl.lower.pipeline.fold_constants", lose_the_body)
    file = Path(__file__).parents[2] / "examples" / "quickstart.moe"
    contents = crash(monkeypatch, capsys, tmp_path, "compile", str(file))
    assert "BrokenIRError" in contents["traceback.txt"]
    assert "moe.contract" in contents["ir/00-input.mir"]
    assert "moe.contract" not in contents["ir/01-fold_constants.mir"]
    assert "ir/02-share_values.mir" not in contents


def test_what_cannot_be_emitted_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("in the emitter")

    monkeypatch.setattr("moedsl.backends.cuda.emit.generate", fail)
    file = Path(__file__).parents[2] / "examples" / "quickstart.moe"
    contents = crash(monkeypatch, capsys, tmp_path, "compile", str(file))
    assert contents["emitted/quickstart.cu"].endswith("ZeroDivisionError: in the emitter\n")
    assert contents["emitted/quickstart.gpu"].startswith("gpu module")


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [*MOEDSL, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    noise = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), noise) == (0, "")


def test_no_color_on_a_pipe_and_with_no_color() -> None:
    def shown(*words: str, **environment: str) -> str:
        return subprocess.run(
            [*MOEDSL, "doctor", *words],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    assert "\x1b[" not in shown()
    assert "\x1b[" not in shown("--color", "never")
    assert "\x1b[" in shown("--color", "always", NO_COLOR="")
