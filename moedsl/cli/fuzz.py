"""``moedsl fuzz``: hunt for rows, sizes, layouts and schedules that give a wrong result."""

from __future__ import annotations

import argparse
import secrets
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backend import HOST_BACKEND, backends
from moedsl.cli.given import named_backend, read_file
from moedsl.cli.options import add_file, add_kernel, positive, rounds, seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moedsl.cli.console import Console
    from moedsl.fuzz.hunt import FuzzReport
    from moedsl.fuzz.trial import Runner
    from moedsl.lower.front import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to fuzz, for how long, where; or one case to try again."""
    add_file(parser)
    add_kernel(parser)
    parser.add_argument(
        "--cases", metavar="N", type=rounds, default=100, help="cases to draw (default: 100)"
    )
    parser.add_argument("--time", metavar="S", type=positive, help="stop after so many seconds")
    parser.add_argument("--seed", type=seed, help="draws the same cases again (default: random)")
    parser.add_argument(
        "--backend",
        metavar="A,B",
        default="auto",
        help="interp, cuda, …, several or auto (default): cuda where there is a GPU, "
        "else all that run here",
    )
    parser.add_argument(
        "--replay", metavar="ENTRY", help="try one case: a corpus entry, or what a failure printed"
    )
    parser.add_argument(
        "--corpus", metavar="DIR", type=Path, help="where failures are kept and tried first"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Hunt or replay; 1 if a case fails."""
    from moedsl.fuzz.case import read_case
    from moedsl.fuzz.hunt import fuzz, replay

    runners, why = choose_runners(arguments.backend)
    program = _program(arguments, console)
    if arguments.replay:
        return _report(arguments, console, replay(read_case(arguments.replay), program, runners))
    start = secrets.randbelow(1 << 32) if arguments.seed is None else arguments.seed
    console.result(seed=start, backend=why)
    console.facts([("backend", why), ("seed", str(start))])
    with _progress(arguments.cases) as advance:
        report = fuzz(
            program,
            runners,
            cases=arguments.cases,
            seconds=arguments.time,
            seed=start,
            progress=advance,
            corpus=arguments.corpus or _corpus_folder(),
            report=lambda warning: console.report([warning]),
        )
    return _report(arguments, console, report)


def choose_runners(names: str) -> tuple[list[Runner], str]:
    """The backends called ``names`` and what they run on.

    ``auto`` takes a GPU alone, which is fast enough for many cases, and without one everything
    that can run: where data is exact, each must give the reference's bits, and so all the same.
    Raises DiagnosticError (MOE0611) if a named backend does not exist, UnavailableError if it
    cannot run here.
    """
    from moedsl.cli.place import Gpu, Host
    from moedsl.fuzz.trial import Runner

    if names == "auto":
        chosen, _ = named_backend("auto")
        usable = [name for name, each in backends().items() if each.availability().usable]
        quickest_first = sorted(usable, key=lambda name: name != HOST_BACKEND)
        wanted = [chosen.name] if chosen.availability().target else quickest_first
    else:
        wanted = list(dict.fromkeys(names.split(",")))
    found = [named_backend(name) for name in wanted]
    runners = []
    for backend, _ in found:
        on_device = backend.availability().target is not None
        runners.append(Runner(backend, Gpu() if on_device else Host(), fragile=on_device))
    return runners, "; ".join(why for _, why in found)


def _program(arguments: argparse.Namespace, console: Console) -> Program:
    from moedsl.cli.program import choose_kernels
    from moedsl.lower.front import load_program

    source = read_file(arguments.file)
    program = load_program(source, dict(arguments.settings))
    console.report(program.diagnostics)
    return replace(program, kernels=tuple(choose_kernels(program, arguments.kernel, source)))


def _corpus_folder() -> Path:
    import os

    if chosen := os.environ.get("MOEDSL_CACHE_DIR"):
        return Path(chosen) / "fuzz"
    from platformdirs import user_data_path

    return user_data_path("moedsl", appauthor=False) / "fuzz"


def _report(arguments: argparse.Namespace, console: Console, report: FuzzReport) -> int:
    failure = report.failure
    console.result(cases=report.cases, calls=report.calls, seconds=report.seconds, failure=None)
    done = f"{report.cases} cases, {report.calls} calls in {report.seconds:.1f} s"
    if failure is None:
        console.verdict(True, f"ok: {done}, nothing wrong")
        return 0
    command = failure.command(arguments.file)
    console.result(
        failure={
            "backend": failure.backend,
            "message": failure.message,
            "command": command,
            "entry": str(failure.entry) if failure.entry else None,
        }
    )
    console.verdict(False, f"FAILED after {done}, on {failure.backend}: {failure.message}")
    for batch in failure.case.batches:
        console.write(f"  rows {','.join(map(str, batch.rows))} ({batch.mode} data)")
    if failure.entry:
        console.write(f"  kept as {failure.entry}")
    console.write(f"  try it again with:\n{command}")
    return 1


@contextmanager
def _progress(cases: int) -> Iterator[Callable[[int, int, float], None] | None]:
    """A bar on stderr if that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=cases)
        yield lambda done, wanted, seconds: bar.update(task, completed=done, total=wanted)
