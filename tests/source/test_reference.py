"""The language reference tells the truth: its examples, its words and its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.directives import Directives
from moedsl.lower.front import check_program
from moedsl.source.declarations import FUNCTIONS
from moedsl.source.format import format_source
from moedsl.source.reporter import Reporter
from moedsl.source.span import Source
from moedsl.target import TARGETS

REFERENCE = Path("grammar/README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```moe(?:-error (MOE\d+))?\n(.*?)^```", REFERENCE, re.M | re.S)


@pytest.mark.parametrize(("code", "text"), EXAMPLES)
def test_examples(code: str, text: str) -> None:
    source = Source("README.moe", text)
    program = check_program(source)
    assert [found.code for found in program.diagnostics] == ([code] if code else [])
    kernels = {kernel.signature.name: kernel for kernel in program.kernels}
    for request in program.requests:
        kernel, target = kernels[request.kernel], TARGETS[request.on or "sm_80"]
        schedule = choose_schedule(kernel, target, request)
        assert not check_schedule(kernel, schedule, request, target)
    assert re.sub(r" *#.*", "", format_source(source)) == re.sub(r" *#.*", "", text)


def test_every_function_is_there() -> None:
    assert all(f"`{name}(" in REFERENCE for name in FUNCTIONS)


def test_every_directive_of_the_table_can_be_written() -> None:
    """Each form of each directive is read, and the table has all directives."""
    table = REFERENCE[REFERENCE.index("| directive |") :]
    rows = [re.findall(r"`(.*?)`", row) for row in re.findall(r"^\| (`.*?) \|", table, re.M)]
    words = [row[0].split()[0] for row in rows]
    assert words == list(Directives(Reporter(Source("", "")), None).readers)
    (decode,) = (text for _, text in EXAMPLES if "kernel decode" in text)
    for word, forms in zip(words, rows, strict=True):
        for form in forms:
            line = form if form.startswith(word) else f"{word} {form}"
            text = f"{decode}\nschedule tried for decode on sm_90a {{ {line} }}"
            program = check_program(Source("", text))
            assert not program.diagnostics
            assert program.requests[-1].given
