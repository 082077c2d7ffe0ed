"""The benchmark's cases and sweeps are what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest

from moedsl.bench.suite import Case, public_cases, sweeps

CASES = public_cases()
SWEEPS = sweeps()
EVERY = {**CASES, **{name: case for sweep in SWEEPS.values() for name, case in sweep.items()}}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_differs_in_one_respect(name: str) -> None:
    cases = SWEEPS[name].values()
    assert len({(case.n, case.k) for case in cases}) == 1
    assert len({case.experts for case in cases}) == (len(cases) if name == "experts" else 1)
    assert len({case.total for case in cases}) == (len(cases) if name == "rows" else 1)
    assert all(word == case.name for word, case in SWEEPS[name].items())


def test_the_sweep_of_skew_is_ordered() -> None:
    most = [max(case.rows) for case in SWEEPS["skew"].values()]
    assert most == sorted(most)
    assert most[0] * 64 == most[-1] == 16384


def test_segments_are_the_rows_in_order() -> None:
    case = Case("", "", 8, 8, (2, 0, 3))
    assert list(case.segments()) == [(0, slice(0, 2)), (1, slice(2, 2)), (2, slice(2, 5))]
    assert case.active == 2


@pytest.mark.parametrize(
    ("rows", "top", "tokens"), [((4, 4), 2, 4), ((4, 5), 4, 5), ((3, 3, 3), 2, 5), ((0, 7), 8, 7)]
)
def test_tokens_are_as_few_as_may_be(rows: tuple[int, ...], top: int, tokens: int) -> None:
    assert Case("", "", 8, 8, rows, top).tokens == tokens


def test_tokens_of_cases_whose_words_say_them() -> None:
    assert CASES["decode64"].what.startswith(f"{CASES['decode64'].tokens} tokens, top 4")
    assert CASES["decode1"].tokens == 1
    assert CASES["seed"].tokens == 8192


@pytest.mark.parametrize("name", EVERY)
def test_every_token_is_drawn_and_goes_to_no_expert_twice(name: str) -> None:
    case = EVERY[name]
    drawn = case.draw_tokens(1)
    assert drawn.shape == (case.total,) and drawn.dtype == np.int32
    assert np.array_equal(np.unique(drawn), np.arange(case.tokens))
    assert np.bincount(drawn).max() <= case.top
    for _, rows in case.segments():
        assert (np.diff(drawn[rows]) > 0).all()


def test_tokens_depend_on_the_seed() -> None:
    case = CASES["seed"]
    assert np.array_equal(case.draw_tokens(3), case.draw_tokens(3))
    assert not np.array_equal(case.draw_tokens(3), case.draw_tokens(4))
