from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.format import format_source
from moedsl.source.parser import parse
from moedsl.source.span import Source
from tests.source.test_parser import EXAMPLES, PIECES, mutated

UNTIDY = """\
# top


# more
kernel   a{index e=8 ;index mm= ragged( e ) # rows
# c

x=- 3*-(4 -2)+
 # in between
 -y
foo=silu( sum [k] a[ m,k]*b [src [m], k] )   # hm
input x:bf16[m,k];output yy : f32

} # end
schedule   p for a on sm_80 when rows<=4 and rows>3{tile m = 4 n= 5;  tails m = 64 , 32
fuse experts m <= 3 # ff

swap_ab}
kernel b {
}"""

TIDY = """\
# top

# more
kernel a {
    index  e  = 8
    index  mm = ragged(e)                      # rows
    # c

    x = -3 * -(4 - 2) +
        # in between
        -y
    foo = silu(sum[k] a[m, k] * b[src[m], k])  # hm
    input  x  : bf16[m, k]
    output yy : f32
}  # end

schedule p for a on sm_80 when rows <= 4 and rows > 3 {
    tile    m=4 n=5; tails m=64,32
    fuse    experts m<=3  # ff

    swap_ab
}

kernel b {
}
"""


def test_layout() -> None:
    assert format_source(Source("", UNTIDY)) == TIDY


def test_empty() -> None:
    assert format_source(Source("", "\n\n")) == ""


@pytest.mark.parametrize("path", sorted(Path("examples").glob("*.moe")), ids=lambda p: p.stem)
def test_examples_are_formatted(path: Path) -> None:
    text = path.read_text("utf-8")
    assert format_source(Source(str(path), text)) == text


def test_errors_are_reported() -> None:
    with pytest.raises(DiagnosticError):
        format_source(Source("", "kernel {"))


def test_directives_share_a_line_that_is_short() -> None:
    long = "; ".join(f"tails balanced m={n}00,90,80,70,60,50,40" for n in range(2))
    text = f"schedule p for a {{\n    swap_ab; stages 5  # two\n    {long}; stages 3  # last\n}}\n"
    lines = format_source(Source("", text)).splitlines()
    assert lines[1].split("#")[0].rstrip() == "    swap_ab; stages 5"
    assert [line.split()[0] for line in lines[2:-1]] == ["tails", "tails", "stages"]
    assert [line.endswith("# last") for line in lines[2:-1]] == [False, False, True]


def test_directives_behind_a_continued_one_start_lines_of_their_own() -> None:
    more = "warps consumers=2 pingpong; registers producer=40 consumer=232; cluster m=2 n=1"
    text = f"schedule p for a {{\n tails m=64,\n 32; {more}; split_k 4\n}}"
    once = format_source(Source("", text))
    depths = [len(line) - len(line.lstrip()) for line in once.splitlines()]
    assert depths == [0, 4, 8, 4, 4, 4, 4, 0]
    assert format_source(Source("", once)) == once


def words(text: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in parse(Source("", text))[0].tokens]


@st.composite
def spaced(draw: st.DrawFn) -> str:
    """An example with other blanks, line ends and comments."""
    pieces = PIECES.findall(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(pieces) - 1))
        blank = draw(st.sampled_from([" ", "\t", "\n", "\n\n\n", ";", " # note\n", "\r\n", ""]))
        if pieces[place].isspace():
            pieces[place] = blank
        else:
            pieces[place] += blank
    return "".join(pieces)


@settings(max_examples=300)
@given(spaced() | mutated())
def test_idempotent_and_faithful(text: str) -> None:
    """Formatting twice changes nothing more; every word and comment is still there, in order."""
    try:
        once = format_source(Source("", text))
    except DiagnosticError:
        return
    assert format_source(Source("", once)) == once
    assert words(once) == words(text)
    assert all(line == line.rstrip() for line in once.split("\n"))
