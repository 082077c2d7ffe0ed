"""``moedsl bench``: the public cases against every rival that can be imported, side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from moedsl.cli.console import Column
from moedsl.cli.options import rounds

if TYPE_CHECKING:
    import argparse

    from moedsl.bench.measure import Timing
    from moedsl.bench.suite import Case
    from moedsl.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cases, which contestants, how long."""
    parser.add_argument(
        "--cases", default="", help="comma-separated names (default: all nine public cases)"
    )
    parser.add_argument(
        "--sweep",
        choices=("skew", "experts", "rows"),
        help="instead, cases that differ in one respect",
    )
    parser.add_argument(
        "--contestants", default="", help="comma-separated names (default: all that can run)"
    )
    parser.add_argument("--rounds", type=rounds, default=15, help="shuffled rounds (default: 15)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the order")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Measure; 1 if any contestant's result is wrong. Raises UnavailableError without a GPU."""
    from moedsl.bench.measure import measure_case
    from moedsl.bench.rivals import CONTESTANTS
    from moedsl.bench.suite import public_cases, sweeps

    cases = sweeps()[arguments.sweep] if arguments.sweep else public_cases()
    chosen = _choose(arguments.cases, list(cases), "case")
    names = _choose(arguments.contestants, list(CONTESTANTS), "contestant")
    for name in names:
        if not CONTESTANTS[name].available():
            extra = CONTESTANTS[name].extra
            console.note(f"{name} is left out: pip install 'moedsl[{extra}]'")
    results: dict[str, list[Timing]] = {}
    for name in chosen:
        results[name] = measure_case(cases[name], names, arguments.rounds, seed=arguments.seed)
        _show(console, cases[name], results[name])
    console.result(cases={name: [asdict(t) for t in found] for name, found in results.items()})
    wrong = sorted(
        {
            f"{timing.contestant} on {name}"
            for name, timings in results.items()
            for timing in timings
            if timing.worst_error is not None and timing.worst_error > 1
        }
    )
    console.verdict(not wrong, f"wrong results: {', '.join(wrong)}" if wrong else "all correct")
    return 1 if wrong else 0


def _choose(text: str, known: list[str], what: str) -> list[str]:
    from moedsl.source.diagnostic import Diagnostic, DiagnosticError

    names = [name for name in text.split(",") if name] or known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DiagnosticError(
            Diagnostic(
                "MOE0690",
                f"there is no {what} '{name}'",
                help=f"choose among {', '.join(known)}",
            )
            for name in unknown
        )
    return names


def _show(console: Console, case: Case, timings: list[Timing]) -> None:
    best = min((t.median for t in timings if t.contestant != "moedsl"), default=0.0)
    console.write(
        f"{case.name}: {case.what}; {case.experts} experts, {case.total} rows, "
        f"n {case.n}, k {case.k}; floor {case.floor_seconds * 1e6:.0f} us"
    )
    columns = [
        Column("contestant", words=True),
        Column("us"),
        Column("low-high"),
        Column("TFLOP/s"),
        Column("of floor"),
        Column("vs moedsl"),
        Column("MHz"),
        Column("error"),
    ]
    ours = next((t.median for t in timings if t.contestant == "moedsl"), best)
    lines = [
        (
            t.contestant,
            f"{t.median * 1e6:.1f}",
            f"{t.low * 1e6:.1f}-{t.high * 1e6:.1f}",
            f"{t.tflops:.1f}",
            f"{t.floor_ratio:.2f}",
            f"{t.median / ours:.2f}x" if ours else "",
            str(t.clock or ""),
            "" if t.worst_error is None else f"{t.worst_error:.2f}",
        )
        for t in timings
    ]
    console.table(columns, lines)
    console.write("")
