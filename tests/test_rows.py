"""Row distributions: right sums, right counts, the same every time, and errors that help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.rows import offs_from_rows, parse_rows
from moedsl.source.diagnostic import DiagnosticError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = st.sampled_from(("even:{}", "uniform:{}", "onehot:{}", "zipf:{}:1.2", "zipf:{}:0"))


@given(KINDS, st.integers(0, 10**6), st.integers(1, 300), st.integers(0, 2**40))
def test_every_distribution_gives_all_rows_away(
    kind: str, total: int, experts: int, seed: int
) -> None:
    rows = parse_rows(kind.format(total), experts, seed)
    assert len(rows) == experts
    assert min(rows) >= 0
    assert sum(rows) == total
    assert rows == parse_rows(kind.format(total), experts, seed)
    assert offs_from_rows(rows)[-1] == total


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.sampled_from((",", " ", ", ")))
def test_lists_are_taken_as_they_are(rows: list[int], between: str) -> None:
    assert parse_rows(between.join(map(str, rows)), len(rows)) == rows


def test_even_differs_by_one_at_most() -> None:
    assert parse_rows("even:11", 4) == [3, 3, 3, 2]


def test_onehot_is_one_expert() -> None:
    assert sorted(parse_rows("onehot:4096", 5)) == [0, 0, 0, 0, 4096]


def test_uniform_is_spread_as_a_multinomial() -> None:
    total, experts = 40000, 8
    mean = total / experts
    chi_square = [
        sum((r - mean) ** 2 for r in parse_rows(f"uniform:{total}", experts, seed)) / mean
        for seed in range(200)
    ]
    # Seven degrees of freedom: mean 7, standard deviation of 200 of them √14 / √200 = 0.26.
    assert 6 < sum(chi_square) / 200 < 8


def test_zipf_follows_the_ranks() -> None:
    rows = sorted(parse_rows("zipf:100000:1", 4, 3), reverse=True)
    expected = [100000 / rank / (1 + 1 / 2 + 1 / 3 + 1 / 4) for rank in (1, 2, 3, 4)]
    assert all(abs(r - e) < 5 * e**0.5 for r, e in zip(rows, expected, strict=True))


def test_seeds_differ() -> None:
    assert parse_rows("uniform:1000", 8, 0) != parse_rows("uniform:1000", 8, 1)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ("[1, 2, 3]", ""),
        ("1 2\n3\n", ""),
        ("1,2,3", ""),
        (json.dumps({"a": {"rows": [1, 2, 3]}}), "#a"),
        (json.dumps({"a": [1, 2, 3]}), "#a"),
        (json.dumps({"rows": [1, 2, 3]}), ""),
    ],
)
def test_files(tmp_path: Path, content: str, suffix: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    assert parse_rows(f"{path}{suffix}", 3) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("1,2", "MOE0622", "1,2"),
        ("1,-2,3", "MOE0621", "-2"),
        ("1,,2", "MOE0621", ","),
        (",1,2,3", "MOE0621", ","),
        ("1,2,3,", "MOE0621", ","),
        ("1, 2, ,3", "MOE0621", ","),
        (",", "MOE0621", ","),
        ("uniform:x", "MOE0621", "x"),
        ("uniform:-5", "MOE0621", "-5"),
        ("uniform:5:6", "MOE0623", "uniform:5:6"),
        ("zipf:5", "MOE0623", "zipf:5"),
        ("zipf:5:steep", "MOE0623", "steep"),
        ("zipf:5:nan", "MOE0623", "nan"),
        ("even:9999999999", "MOE0624", "even:9999999999"),
        ("2000000000,2000000000,0", "MOE0624", "2000000000,2000000000,0"),
        ("no/such/file", "MOE0620", "no/such/file"),
        ("", "MOE0620", ""),
        ("a\0b", "MOE0620", "a\0b"),
    ],
)
def test_errors(text: str, code: str, marked: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse_rows(text, 3)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.source is not None
    assert found.span is not None
    assert found.source[found.span] == marked


@pytest.mark.parametrize(
    ("content", "suffix", "code"),
    [
        ("[1, 2.5, 3]", "", "MOE0621"),
        ("1,,2,3", "", "MOE0621"),
        ("1,2,3,\n", "", "MOE0621"),
        ("[1, -2, 3]", "", "MOE0621"),
        ("[1, true, 3]", "", "MOE0621"),
        ("[1, 2]", "", "MOE0622"),
        ('{"a": 1}', "", "MOE0620"),
        ('{"a": [1]}', "#b", "MOE0620"),
        ("one two three", "", "MOE0621"),
        ("[" * 100000, "", "MOE0621"),
        ("\xff", "", "MOE0620"),
    ],
)
def test_errors_in_files(tmp_path: Path, content: str, suffix: str, code: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DiagnosticError) as caught:
        parse_rows(f"{path}{suffix}", 3)
    assert [d.code for d in caught.value.diagnostics] == [code]
