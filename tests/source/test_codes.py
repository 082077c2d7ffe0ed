from __future__ import annotations

import re
from pathlib import Path

import pytest

from moedsl.source.codes import CODES

CODE = re.compile(r"\"(MOE\d{4})\"")


def used() -> dict[str, Path]:
    files = [path for root in ("moedsl", "backends") for path in Path(root).rglob("*.py")]
    return {
        code: path
        for path in files
        if "codes" not in path.parts
        for code in CODE.findall(path.read_text("utf-8"))
    }


def test_every_code_is_declared_and_used() -> None:
    found = used()
    assert set(found) - set(CODES) == set(), found
    assert set(CODES) - set(found) == set()


def test_entries_are_in_order() -> None:
    assert list(CODES) == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_explanations_explain(code: str) -> None:
    """A short title and why; for the language several sentences and an example."""
    entry = CODES[code]
    assert entry.title[0].islower() or not entry.title[0].isalpha() or entry.title[:2].isupper()
    assert len(entry.title) < 60
    assert len(entry.explanation) > 30
    assert max(map(len, entry.explanation.splitlines())) <= 100
    if code < "MOE0400":
        assert "\n    " in entry.explanation
        assert len(re.findall(r"[.:`)](\s|$)", entry.explanation)) >= 2


def test_titles_differ() -> None:
    titles = [entry.title for entry in CODES.values()]
    assert len(set(titles)) == len(titles)
