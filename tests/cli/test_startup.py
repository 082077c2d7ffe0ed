"""``--help`` and ``check`` answer at once: nothing heavy is imported, and it is measured."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "rich", "hypothesis", "cuda", "ml_dtypes"}
COMMANDS = [
    ["--help"],
    ["check", str(ROOT / "examples" / "quickstart.moe")],
    ["check", str(ROOT / "examples" / "seed.moe")],
    ["run", "--help"],
    ["fuzz", "--help"],
]


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


@pytest.mark.parametrize(
    "words", COMMANDS, ids=lambda words: " ".join(Path(word).stem for word in words)
)
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    log = run(words, "-X", "importtime").stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.splitlines()}
    assert "argparse" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize(
    "words", COMMANDS, ids=lambda words: " ".join(Path(word).stem for word in words)
)
def test_it_answers_at_once(words: list[str]) -> None:
    """Processor time, least of several: what wall time is where nothing else runs."""

    def processor_seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    processor_seconds()
    assert min(processor_seconds() for _ in range(7)) < 0.15
