from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from moedsl.source.diagnostic import Diagnostic, Label, Severity
from moedsl.source.render import render
from moedsl.source.span import Source, Span

TEXT = "kernel a {\n\tgate = silu(gat)\n    x = 漢字 + y\n}\n"
SOURCE = Source("a.moe", TEXT)


def span(part: str, source: Source = SOURCE) -> Span:
    start = source.text.index(part)
    return Span(start, start + len(part))


def human(found: Diagnostic) -> str:
    return render([found], "human")


def test_human() -> None:
    found = Diagnostic(
        "MOE0101",
        "there is no value called `gat`",
        SOURCE,
        Span(TEXT.index("gat)"), TEXT.index(")")),
        "not defined",
        (Label(span("kernel"), "in this kernel"),),
        ("a fact",),
        "did you mean `gate`?",
    )
    assert human(found) == (
        "error[MOE0101]: there is no value called `gat`\n"
        " --> a.moe:2:14\n"
        "  |\n"
        "1 | kernel a {\n"
        "  | ------ in this kernel\n"
        "2 |     gate = silu(gat)\n"
        "  |                 ^^^ not defined\n"
        "  |\n"
        "  = note: a fact\n"
        "  = help: did you mean `gate`?\n"
    )


def test_wide_characters_count_twice() -> None:
    place = Span(TEXT.index("y\n"), TEXT.index("y\n") + 1)
    shown = human(Diagnostic("MOE0101", "wrong", SOURCE, place, "here"))
    assert "3 |     x = 漢字 + y\n  |                ^ here\n" in shown


def test_far_apart_labels() -> None:
    source = Source("far.moe", "one\n" + "\n" * 98 + "two\n")
    shown = human(
        Diagnostic(
            "MOE0101", "wrong", source, span("two", source), "b", (Label(span("one", source), "a"),)
        )
    )
    assert "  1 | one\n    | --- a\n...\n100 | two\n    | ^^^ b\n" in shown


def test_long_lines_are_cut_around_the_span() -> None:
    source = Source("long.moe", "a" * 5000 + "X" + "b" * 5000)
    shown = human(Diagnostic("MOE0101", "wrong", source, span("X", source), "here"))
    line, marks = shown.splitlines()[3:5]
    assert len(line) < 120
    assert line.startswith("1 | …a")
    assert line.endswith("b…")
    assert line[marks.index("^")] == "X"


def test_ends_of_the_text() -> None:
    for text in ("", "x", "x\n"):
        source = Source("end.moe", text)
        shown = human(Diagnostic("MOE0003", "wrong", source, Span(len(text), len(text)), "here"))
        assert "^ here" in shown


def test_no_place() -> None:
    assert human(Diagnostic("MOE0010", "cannot read")) == "error[MOE0010]: cannot read\n"
    assert " --> a.moe\n" in human(Diagnostic("MOE0011", "empty", SOURCE))


def test_control_characters_are_not_sent_to_the_terminal() -> None:
    source = Source("esc.moe", "x \x1b[31m\x00 y")
    assert "\x1b" not in human(Diagnostic("MOE0002", "wrong", source, Span(2, 3), "here"))


def test_color() -> None:
    found = Diagnostic("MOE0124", "unused", SOURCE, span("gate"), severity=Severity.WARNING)
    colored = render([found], "human", color=True)
    assert "\x1b[1;33mwarning[MOE0124]\x1b[0m" in colored
    assert "\x1b" not in render([found], "human")


def test_short() -> None:
    found = Diagnostic("MOE0101", "wrong", SOURCE, span("gate"))
    assert render([found, found], "short") == "a.moe:2:2: error: wrong [MOE0101]\n" * 2
    assert render([], "short") == ""


def test_json() -> None:
    found = Diagnostic("MOE0101", "wrong", SOURCE, span("gate"), "here", help="try")
    (entry,) = json.loads(render([found], "json"))["diagnostics"]
    assert entry == {
        "code": "MOE0101",
        "severity": "error",
        "message": "wrong",
        "file": "a.moe",
        "span": {
            "start": {"offset": 12, "line": 2, "column": 2},
            "end": {"offset": 16, "line": 2, "column": 6},
        },
        "label": "here",
        "labels": [],
        "notes": [],
        "help": "try",
    }


def test_sarif() -> None:
    labels = (Label(span("kernel"), "there"),)
    found = Diagnostic("MOE0101", "wrong", Source("a b.moe", TEXT), span("gate"), "here", labels)
    document = json.loads(render([found], "sarif"))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert run["tool"]["driver"]["rules"][0]["id"] == "MOE0101"
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("MOE0101", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.moe"
    assert place["region"] == {"startLine": 2, "startColumn": 2, "endLine": 2, "endColumn": 6}
    assert result["relatedLocations"][0]["message"]["text"] == "there"


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_any_text_can_be_shown(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    place = Span(start, min(start + length, len(text)))
    shown = human(Diagnostic("MOE0001", "wrong", Source("", text), place, "here"))
    assert "^" in shown
    assert max(map(len, shown.split("\n"))) < 600
