"""The front end on hostile and random text: nothing but diagnostics, quickly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moedsl.lower.front import Program, check_program
from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.parser import ERROR_LIMIT, parse
from moedsl.source.read import decode, read_source
from moedsl.source.render import render
from moedsl.source.span import Source

EXAMPLES = [path.read_text("utf-8") for path in sorted(Path("examples").glob("*.moe"))]
PIECES = re.compile(r"\w+|[^\w\s]+|\s+")
WORDS = sorted({piece for text in EXAMPLES for piece in PIECES.findall(text)})


def survives(text: str) -> Program:
    """Whatever the text, the result is a program, or errors that lie inside it and can be shown."""
    source = Source("fuzz.moe", text)
    program = check_program(source)
    for found in program.diagnostics:
        assert found.span is None or 0 <= found.span.start <= found.span.end <= len(text)
    for style in ("human", "short", "json", "sarif"):
        assert bool(program.diagnostics) <= bool(render(program.diagnostics, style))
    # Silence means that everything is understood.
    assert program.kernels or program.broken
    return program


@given(st.text(max_size=200))
def test_random_text(text: str) -> None:
    survives(text)


@given(st.lists(st.sampled_from(WORDS), max_size=120))
def test_random_words(words: list[str]) -> None:
    survives(" ".join(words))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    pieces = PIECES.findall(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(pieces) - 1))
        match draw(st.sampled_from(["drop", "double", "replace", "swap", "cut"])):
            case "drop":
                pieces[place] = ""
            case "double":
                pieces[place] *= 2
            case "replace":
                pieces[place] = draw(st.sampled_from(WORDS) | st.text(max_size=3))
            case "swap":
                other = draw(st.integers(0, len(pieces) - 1))
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case _:
                pieces = pieces[: place + 1]
    return "".join(pieces)


@settings(max_examples=300)
@given(mutated())
@example("kernel a { index e = 8; d[m, n] = 0; d = 1 }")
def test_mutated_examples(text: str) -> None:
    survives(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("kernel a { x = " + "(" * 100_000, "MOE0006"),
        ("kernel a { x = " + "-" * 100_000 + "1 }", "MOE0008"),
        ("kernel a { x = " + "1+" * 100_000 + "1 }", "MOE0008"),
        ("kernel a { x = " + "f[" * 100_000, "MOE0006"),
        ("schedule s for a { tails m=" + "1," * 100_000, "MOE0008"),
        ("x" * 1_000_000, "MOE0001"),
        ("kernel " + "x" * 1_000_000 + " {}", "MOE0013"),
        ("kernel a { x = " + "9" * 1_000_000 + " }", "MOE0005"),
        ("kernel a { x = 1" + " " * 1_000_000 + "1 }", "MOE0001"),
        ("#" * 1_000_000, "MOE0011"),
        ("kernel a {\n" + "x = 1 1\n" * 10_000, "MOE0012"),
        ("{" * 10_000, "MOE0001"),
        ("kernel a {" * 10_000, "MOE0003"),
        ("\0" * 1000, "MOE0002"),
        ("kernel a { x = \0 }", "MOE0002"),
        ("\x1b[31m", "MOE0002"),
        ("\r\n\r\n", "MOE0011"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_hostile_text(text: str, code: str) -> None:
    found = survives(text).diagnostics
    assert code in {diagnostic.code for diagnostic in found}
    assert len(found) <= 4 * ERROR_LIMIT
    assert len(render(found, "human")) < 100_000


def test_longest_statement_is_no_problem() -> None:
    """The limits are far below what recursion over a tree can take."""
    chain = "kernel a { x = " + "1 + " * 148 + "1 }"
    nested = "kernel a { x = " + "(" * 64 + "1" + ")" * 64 + " }"
    negative = "kernel a { x = " + "-" * 297 + "1 }"
    for text in (chain, nested, negative):
        survives(text)
        assert not parse(Source("", text))[1]


@pytest.mark.parametrize(
    "data",
    [b"kernel a {\xff}", b"\xff\xfek\x00e\x00", bytes(range(256)), b"\xef\xbb\xbf\xff"],
)
def test_not_utf8(data: bytes) -> None:
    with pytest.raises(DiagnosticError) as raised:
        decode("data.moe", data)
    (found,) = raised.value.diagnostics
    assert found.code == "MOE0009"
    assert found.source is not None
    assert found.span is not None
    assert found.source[found.span] == "\ufffd"


def test_mark_and_line_ends_are_no_text() -> None:
    text = EXAMPLES[0]
    marked = decode("", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    one, other = check_program(Source("", text)), check_program(marked)
    assert not other.diagnostics
    assert [k.body and len(k.body) for k in one.kernels] == [len(k.body) for k in other.kernels]


def test_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none.moe", tmp_path, "\0"):
        with pytest.raises(DiagnosticError) as raised:
            read_source(path)
        assert [found.code for found in raised.value.diagnostics] == ["MOE0010"]


def test_statements_go_on_over_lines() -> None:
    text = (
        EXAMPLES[0]
        .replace("sum[k] x[m, k] *", "(sum[k] x[m,\n k] *\n # here\n")
        .replace("w[e, n, k]\n", "w[e, n, k]\n) +\n 1\n", 2)
    )
    assert not check_program(Source("", text.replace("w[e, n, k]\n) +", "w[e, n, k]) +"))).broken


def test_separators() -> None:
    for text in EXAMPLES:
        bare = re.sub(r" *#.*", "", text)
        joined = re.sub(r"\n+", ";", bare)
        one, other = check_program(Source("", bare)), check_program(Source("", joined))
        assert not other.diagnostics
        assert [r.given for r in one.requests] == [r.given for r in other.requests]


def test_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from moedsl.source import parser

    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MOEDSL_CACHE_DIR", str(blocked / "below"))
    parser._parser.cache_clear()
    assert not check_program(Source("", EXAMPLES[0])).diagnostics
    parser._parser.cache_clear()


def test_damaged_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from moedsl.source import parser

    monkeypatch.setenv("MOEDSL_CACHE_DIR", str(tmp_path))
    for _ in range(3):
        parser._parser.cache_clear()
        assert not check_program(Source("", EXAMPLES[0])).diagnostics
        (kept,) = (tmp_path / "grammar").iterdir()
        kept.write_bytes(b"damaged")
    parser._parser.cache_clear()
