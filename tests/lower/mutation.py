"""Mutants of the compiler, to see whether the test suite notices a pass that is slightly wrong.

    python -m tests.lower.mutation --count 120 --seed 1 --jobs 2

draws that many changes of the modules in ``SELECTIONS``, puts each into a copy of the project and
runs the tests of that module there, fastest first. A mutant is killed by a test that fails or runs
out of time; in ``equivalent_mutants`` stand those that nothing could kill, with the reason; the
others survived, and people are to add the test that is missing.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tests.lower.equivalent_mutants import EQUIVALENT
from tests.lower.mutants import Mutant, mutant_text, mutants_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
COPIED = ("moedsl", "backends", "grammar", "examples", "tests", "pyproject.toml")
TIME_LIMIT = 150
"""Seconds that the tests of a mutant may take; those of an unchanged copy take 40."""
MEMORY_LIMIT = 1 << 33
"""Bytes of data in a process: a list that grows without end is but an error."""

_WORK = (
    "tests/test_work.py",
    "tests/interp",
    "tests/lower",
    "tests/cuda/test_choose_schedule.py",
)
_LOWER = (
    "tests/lower/test_defaults.py",
    "tests/lower/test_propose_specialised.py",
    "tests/lower/test_rule_limits.py",
    "tests/lower",
    "tests/cuda/test_choose_schedule.py",
    "tests/cuda/test_passes.py",
)
_EMULATED = "tests/emulator/test_emitted.py"
_CUDA = (
    "tests/cuda/test_passes.py",
    "tests/cuda/test_ways.py",
    "tests/cuda_runtime/test_abi.py",
    "tests/cuda_runtime/test_launch.py",
    "tests/cuda/test_emit.py",
    _EMULATED,
    "tests/cuda/test_plan.py",
)
SELECTIONS: dict[str, tuple[str, ...]] = {
    "moedsl/work.py": (*_WORK, _EMULATED),
    "moedsl/lower/fold_constants.py": _LOWER,
    "moedsl/lower/share_values.py": _LOWER,
    "moedsl/lower/drop_unused.py": _LOWER,
    "moedsl/lower/build_tile.py": _LOWER,
    "moedsl/lower/build_moe.py": _LOWER,
    "moedsl/lower/choose_schedule.py": _LOWER,
    "moedsl/lower/propose_specialised.py": _LOWER,
    "moedsl/lower/resources/*.py": (*_LOWER, _EMULATED),
    "moedsl/lower/rules/*.py": _LOWER,
    "backends/cuda/lower/*.py": _CUDA,
    "backends/cuda/emission/*.py": _CUDA,
    "backends/cuda/access.py": _CUDA,
    "backends/cuda/abi.py": _CUDA,
    "backends/cuda/emission/wgmma.py": ("tests/cuda/test_wgmma_text.py",),
}
"""The tests of each module; of several patterns that match, the last counts."""
LEFT_OUT = (
    "tests/cuda/test_emit.py::test_every_form_compiles_without_spills",
    "tests/lower/test_mutation.py",
)
"""Slow: half a minute of the CUDA compiler, whose findings the emulator has too; and mutants."""


class Copies:
    """Copies of the project to run mutants in, one for each job."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.cache = folder / "cache"
        self.free: SimpleQueue[Path] = SimpleQueue()
        self.clock = 0
        for number in range(jobs):
            copy = folder / str(number)
            for name in COPIED:
                source, target = ROOT / name, copy / name
                if source.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", ".*")
                    shutil.copytree(source, target, symlinks=True, ignore=ignored)
                else:
                    shutil.copy(source, target)
            self.free.put(copy)

    def killed(self, mutant: Mutant | None, tests: Sequence[str]) -> str:
        """What killed ``mutant``: the name of a test, ``timeout``; empty if it survived.

        None stands for the project as it is, which every mutant is to be measured by.
        """
        copy = self.free.get()
        if mutant is None:
            failure = _failure(copy, tests, self.cache)
            self.free.put(copy)
            return failure
        damaged = copy / mutant.path
        original = damaged.read_text()
        try:
            self._write(damaged, mutant_text(original, mutant.number))
            return _failure(copy, tests, self.cache)
        finally:
            self._write(damaged, original)
            self.free.put(copy)

    def _write(self, path: Path, text: str) -> None:
        """A time of its own tells Python that what it compiled before is out of date."""
        path.write_text(text)
        self.clock += 1
        os.utime(path, (self.clock, self.clock))


def _failure(copy: Path, tests: Sequence[str], cache: Path) -> str:
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
    command += ["--hypothesis-seed=0", *(f"--deselect={name}" for name in LEFT_OUT), *tests]
    process = subprocess.Popen(
        command,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "MOEDSL_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "timeout"
    if process.returncode == 0:
        return ""
    found = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return found[0] if found else output.strip().splitlines()[-1]


def modules() -> dict[str, tuple[str, ...]]:
    """The tests of each module that is damaged, by path from the root."""
    found = {}
    for pattern, tests in SELECTIONS.items():
        for path in sorted(_resolved(pattern)):
            found[path] = tests
    return found


def _resolved(pattern: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)]


def choose(count: int, seed: int, only: str = "") -> list[Mutant]:
    """``count`` mutants of all modules whose path contains ``only``, each as likely as another.

    Their keys decide: a change of the compiler leaves the other mutants of a draw in it.
    """
    everything = [
        mutant
        for path in modules()
        if only in path
        for mutant in mutants_of(path, (ROOT / path).read_text())
    ]

    def place(mutant: Mutant) -> bytes:
        return blake2b(f"{seed} {mutant.key}".encode()).digest()

    return sorted(everything, key=place)[:count]


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if anything survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a module's path")
    parser.add_argument("--verbose", action="store_true", help="what killed each mutant")
    options = parser.parse_args(arguments)
    drawn = choose(options.skip + options.count, options.seed, options.only)[options.skip :]
    selections = modules()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    outcomes: Counter[tuple[str, str]] = Counter()

    with tempfile.TemporaryDirectory() as folder:
        copies = Copies(Path(folder), options.jobs)
        for tests in dict.fromkeys(selections[mutant.path] for mutant in drawn):
            if failure := copies.killed(None, tests):
                print(f"the tests fail without any mutant: {failure}")
                return 2

        def verdict(mutant: Mutant) -> str:
            if mutant.key in EQUIVALENT:
                return "equivalent"
            killer = copies.killed(mutant, selections[mutant.path])
            if options.verbose or not killer:
                print(f"{killer or 'survived'}: {mutant.key}", flush=True)
            return "killed" if killer else "survived"

        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, outcome in zip(drawn, pool.map(verdict, drawn), strict=True):
                outcomes[mutant.path, outcome] += 1
    return _report(outcomes)


def _report(outcomes: Counter[tuple[str, str]]) -> int:
    """The table by module, and its sums."""
    kinds = ("killed", "equivalent", "survived")
    print(f"\n{'module':44}{'mutants':>10}" + "".join(f"{kind:>12}" for kind in kinds))
    paths = sorted({path for path, _ in outcomes})
    for name, chosen in [*((path, [path]) for path in paths), ("all", paths)]:
        numbers = [sum(outcomes[path, kind] for path in chosen) for kind in kinds]
        print(f"{name:44}{sum(numbers):10}" + "".join(f"{number:12}" for number in numbers))
    killed, _, survived = numbers
    share = killed / max(1, killed + survived)
    print(f"{killed} of {killed + survived} that are not equivalent killed: {share:.1%}")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
