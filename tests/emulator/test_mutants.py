"""Kernels from which one synchronisation is gone do not pass, nor do a few other mutants."""

from __future__ import annotations

import pytest

from tests.emulator.mutation import MutantExecutable, choose

OPERATORS = (
    "drop the wait",
    "wait for one fewer",
    "drop the commit",
    "drop the barrier",
    "drop the warp's barrier",
    "wrong stage",
    "stage not advanced",
    "swizzle bit",
)


@pytest.mark.parametrize("operator", OPERATORS)
def test_mutant_is_killed(operator: str) -> None:
    verdicts: list[str] = []
    for mutant in choose("tails", 200, 1):
        if mutant.operator == operator and len(verdicts) < 2:
            verdict = MutantExecutable("tails", mutant).verdict()
            verdicts += [] if verdict in ("refused", "equivalent") else [verdict]
    assert verdicts
    assert "survived" not in verdicts


def test_the_original_survives() -> None:
    assert MutantExecutable("tails", None).verdict() == "survived"
