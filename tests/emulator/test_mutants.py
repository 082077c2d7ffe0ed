"""Kernels from which one synchronisation is gone do not pass, nor do a few other mutants."""

from __future__ import annotations

import pytest

from tests.emulator.mutants import choose, mutants_of
from tests.emulator.mutation import SUBJECTS, explanations, verdict

PORTABLE = (
    "drop the wait",
    "wait for one fewer",
    "drop the commit",
    "drop the barrier",
    "drop the warp's barrier",
    "wrong stage",
    "stage not advanced",
    "swizzle bit",
)
HOPPER = (
    "drop the wait",
    "wait for one fewer",
    "drop the commit",
    "drop the arrival",
    "drop the barrier",
    "drop the fence",
    "more bytes",
    "fewer bytes",
    "one arrival more",
    "one arrival fewer",
    "wrong phase",
    "phase not advanced",
    "wrong stage",
    "wrong swizzle",
    "wrong numbered barrier",
    "swapped operands",
    "all for one",
    "moved",
)
ROLES = {
    "turns": ("drop the wait", "drop the arrival", "one arrival fewer", "phase not advanced"),
    "shared": ("wait for one fewer", "drop the barrier", "wrong numbered barrier"),
    "gathered": ("drop the wait", "wait for one fewer", "drop the fence", "swizzle bit"),
    "rows": ("drop the wait", "wait for one fewer", "drop the fence", "drop the barrier", "moved"),
}


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        *(("tails", operator) for operator in PORTABLE),
        *(("hopper", operator) for operator in HOPPER),
        *((name, operator) for name, operators in ROLES.items() for operator in operators),
    ],
)
def test_mutant_is_killed(name: str, operator: str) -> None:
    verdicts: list[str] = []
    for mutant in choose(SUBJECTS[name].unit, 1000, 1):
        if mutant.operator == operator and len(verdicts) < 2:
            outcome = verdict(name, mutant)
            verdicts += [] if outcome in ("refused", "same code", "explained") else [outcome]
    assert verdicts
    assert "survived" not in verdicts


def test_explanations_are_of_subjects_and_give_reasons() -> None:
    assert {subject for subject, _ in explanations()} <= SUBJECTS.keys()
    assert all(reason and " → " in name for (_, name), reason in explanations().items())


def test_a_mutant_takes_the_place_of_its_lines() -> None:
    unit = SUBJECTS["hopper"].unit
    for mutant in mutants_of(unit):
        damaged = mutant.applied(unit)
        changed = {i for i, pair in enumerate(zip(unit.lines, damaged.lines, strict=True), 1)
                   if pair[0] != pair[1]}  # fmt: skip
        assert changed
        assert changed <= {mutant.line, mutant.line + mutant.before.count("\n")}, mutant


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_original_survives(name: str) -> None:
    assert SUBJECTS[name].outcome(SUBJECTS[name].unit) == "survived"
