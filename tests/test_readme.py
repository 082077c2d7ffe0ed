"""README.md tells the truth: its commands run, its output is what is printed, its code works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moedsl.lower.directives import Directives
from moedsl.source.reporter import Reporter
from moedsl.source.span import Source

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The contents of all fenced blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def transcripts() -> list[tuple[str, str]]:
    """Every command of a ``console`` block with the output shown below it."""
    found = []
    for block in blocks("console"):
        _, *parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
        found += list(zip(parts[::2], parts[1::2], strict=True))
    return found


def pattern(shown: str) -> re.Pattern[str]:
    """What matches ``shown``: a line `…` is any number of lines, `…` in a line any text."""
    lines = []
    for line in shown.rstrip("\n").split("\n"):
        parts = (re.escape(part) for part in line.split("…"))
        lines.append(r"(?:[^\n]*\n)*?" if line == "…" else "[^\n]*".join(parts) + r"[ ]*\n")
    return re.compile("".join(lines))


def test_there_are_two_commands() -> None:
    commands = blocks("sh")
    assert [command.count("\n") for command in commands] == [1, 1]
    assert "moedsl run examples/" in commands[0]
    assert "pytest" in commands[1]


@pytest.mark.parametrize(("command", "shown"), transcripts(), ids=lambda text: text[:60])
def test_output_is_what_is_printed(command: str, shown: str) -> None:
    scripts = Path(sys.executable).parent
    process = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    assert pattern(shown).fullmatch(process.stdout), f"printed:\n{process.stdout}"


def test_a_pattern_can_fail() -> None:
    assert pattern("a … c\n…\nlast").fullmatch("a b c\nd\ne\nlast\n")
    assert not pattern("a … c\n…\nlast").fullmatch("a b c\nd\ne\nlast one\n")
    assert not pattern("a\nb").fullmatch("a\nx\nb\n")


def test_the_example_is_the_file() -> None:
    assert blocks("moe") == [(ROOT / "examples" / "quickstart.moe").read_text(encoding="utf-8")]


def test_python_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_every_directive_is_in_the_table() -> None:
    table = re.findall(r"^\| `(\w+)", TEXT, re.MULTILINE)
    assert table == list(Directives(Reporter(Source("", "")), None).readers)
