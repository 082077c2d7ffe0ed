"""Bad inputs and what is said about them: code, place, underlined text, message, label, help.

Each file of ``bad/`` holds cases: ``=== name``, the input, then after ``---`` the findings. In an
input ``@base`` stands for usual declarations and ``@kernel`` for a sound kernel, on one line, so
that line numbers hold. ``MOEDSL_UPDATE=1 pytest tests/source/test_bad_inputs.py`` rewrites the
findings; read the difference before committing it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from moedsl.lower.front import check_program
from moedsl.source.codes import CODES
from moedsl.source.diagnostic import Diagnostic
from moedsl.source.render import render
from moedsl.source.span import Source

FOLDER = Path(__file__).parent / "bad"
BASE = (
    "index e = 8; index m = ragged(e); index n = 256; index k = 128; "
    "input x : bf16[m, k]; input w : bf16[e, n, k]; output h : bf16[m, n]"
)
KERNEL = f"kernel a {{ {BASE}; h[m, n] = sum[k] x[m, k] * w[e, n, k] }}"


def read_cases(path: Path) -> dict[str, tuple[str, list[str]]]:
    cases = {}
    for case in re.split(r"^=== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        title, _, rest = case.partition("\n")
        text, _, expected = rest.partition("---\n")
        cases[f"{path.stem}: {title}"] = (text, expected.splitlines())
    return cases


CASES = {
    name: case for path in sorted(FOLDER.glob("*.txt")) for name, case in read_cases(path).items()
}


def findings(text: str) -> list[Diagnostic]:
    source = Source("bad.moe", text.replace("@base", BASE).replace("@kernel", KERNEL))
    return list(check_program(source).diagnostics)


def summary(found: Diagnostic) -> str:
    parts = [found.message, found.label, f"help: {found.help}" if found.help else ""]
    place = ""
    if found.source is not None and found.span is not None:
        line, column = found.source.position(found.span.start)
        place = f"{line}:{column} `{found.source[found.span]}` ".replace("\n", "\\n")
    text = " | ".join(part for part in parts if part)
    return f"{place}{found.severity} {found.code} {text}"


@pytest.mark.parametrize("name", CASES)
def test_finding(name: str) -> None:
    text, expected = CASES[name]
    assert [summary(found) for found in findings(text)] == expected


@pytest.mark.parametrize("name", CASES)
def test_renders(name: str) -> None:
    """Every finding is shown with its line and carets, and is documented."""
    for found in findings(CASES[name][0]):
        assert found.code in CODES
        shown = render([found], "human")
        assert found.message in shown
        if found.span is not None:
            assert "^" in shown
            assert found.label
        for format in ("short", "json", "sarif"):
            assert found.code in render([found], format)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 80


def update() -> None:
    for path in FOLDER.glob("*.txt"):
        parts = []
        for name, (text, _) in read_cases(path).items():
            title = name.partition(": ")[2]
            lines = "".join(f"{summary(found)}\n" for found in findings(text))
            parts.append(f"=== {title}\n{text}---\n{lines}")
        path.write_text("".join(parts), "utf-8")


if os.environ.get("MOEDSL_UPDATE"):
    update()
    CASES = {k: c for path in sorted(FOLDER.glob("*.txt")) for k, c in read_cases(path).items()}
