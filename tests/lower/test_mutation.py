"""A slice of the compiler's mutants is killed; what is excused is still there to be excused."""

from __future__ import annotations

import pytest

from tests.lower.equivalent_mutants import EQUIVALENT
from tests.lower.mutants import mutant_text, mutants_of
from tests.lower.mutation import ROOT, Copies, choose, modules

SLICE = {
    "moedsl/lower/fold_constants.py": ["tests/lower/test_passes.py"],
    "moedsl/lower/resources/specialised.py": [
        "tests/lower/test_defaults.py",
        "tests/lower/test_propose_specialised.py",
        "tests/lower/test_share_groups.py",
    ],
    "moedsl/lower/rules/demand.py": ["tests/lower/test_rule_limits.py"],
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("copies"), 1)


@pytest.mark.parametrize("path", SLICE)
def test_a_mutant_is_killed(path: str, copies: Copies) -> None:
    mutant = next(m for m in choose(20, 3, path) if m.key not in EQUIVALENT)
    assert copies.killed(mutant, SLICE[path]).startswith("FAILED"), mutant.key


def test_the_project_survives_and_is_whole_after_its_mutants(copies: Copies) -> None:
    assert copies.killed(None, ["tests/lower/test_rule_limits.py"]) == ""
    copy = copies.free.get()
    copies.free.put(copy)
    assert all((copy / path).read_text() == (ROOT / path).read_text() for path in SLICE)


def test_mutants_are_different_programs_under_different_names() -> None:
    path = "moedsl/lower/fold_constants.py"
    source = (ROOT / path).read_text()
    mutants = list(mutants_of(path, source))
    texts = [mutant_text(source, mutant.number) for mutant in mutants]
    assert len({mutant.key for mutant in mutants}) == len(set(texts)) == len(mutants) > 40
    for text in texts:
        compile(text, path, "exec")


def test_every_excuse_is_for_a_mutant_that_exists() -> None:
    paths = {key.split(" ")[0] for key in EQUIVALENT}
    assert paths <= set(modules())
    names = {m.key for path in paths for m in mutants_of(path, (ROOT / path).read_text())}
    assert set(EQUIVALENT) <= names
