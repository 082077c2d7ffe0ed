"""``--help`` and ``check`` answer at once: nothing heavy is imported, and it is measured."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "rich", "hypothesis", "cuda", "ml_dtypes"}
COMMANDS = [["--help"], ["check", str(ROOT / "examples" / "quickstart.moe")]]


@pytest.fixture(scope="module", autouse=True)
def compiled_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An installed package has its bytecode; give this tree some of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


def run(words: list[str], *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "moedsl", *words], capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    log = run(words, "-X", "importtime").stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.splitlines()}
    assert "argparse" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_it_answers_at_once(words: list[str]) -> None:
    """Wall time beyond a bare interpreter's, median of several; the aim is 150 ms in all.

    The bound is double that, because tests share two cores with each other.
    """

    def wall(command: list[str]) -> float:
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - began

    bare = [sys.executable, "-c", "pass"]
    full = [sys.executable, "-m", "moedsl", *words]
    wall(full)
    extra = statistics.median(wall(full) - wall(bare) for _ in range(7))
    assert extra < 0.3
