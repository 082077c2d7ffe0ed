"""``moedsl bench``: a kernel on the public cases, against every rival that can be imported."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from moedsl.cli.console import Column
from moedsl.cli.options import positive, rounds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from moedsl.bench.contestant import Contestant
    from moedsl.bench.kernels import Workload
    from moedsl.bench.measure import Measurement, Timing
    from moedsl.cli.console import Console

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kernel, which cases, which contestants, how long."""
    parser.add_argument(
        "--kernel",
        default="product",
        help="product, gate_up, weight_gradient, gather or scatter (default: product)",
    )
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
    parser.add_argument(
        "--batch",
        type=positive,
        default=0.004,
        metavar="SECONDS",
        help="how long each contestant runs in a round (default: 0.004); with 1 a GPU at its power "
        "limit gives each a clock of its own",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the order")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Measure; 1 if any contestant's result is wrong. Raises UnavailableError without a GPU."""
    from moedsl.bench.kernels import KERNELS, Workload
    from moedsl.bench.measure import measure
    from moedsl.bench.rivals import CONTESTANTS
    from moedsl.bench.suite import public_cases, sweeps

    kernel = _choose([arguments.kernel], KERNELS, "kernel")[0]
    cases = sweeps()[arguments.sweep] if arguments.sweep else public_cases()
    chosen = _choose(_names(arguments.cases) or list(cases), cases, "case")
    known = CONTESTANTS[kernel.name]
    contestants = _choose(_names(arguments.contestants) or list(known), known, "contestant")
    _tell_what_is_missing(console, contestants)
    results: dict[str, Measurement] = {}
    for case in chosen:
        workload = Workload(kernel, case)
        found = measure(workload, contestants, arguments.rounds, arguments.batch, arguments.seed)
        results[case.name] = found
        _show(console, workload, found)
    console.result(
        kernel=kernel.name,
        cases={name: [asdict(t) for t in found.timings] for name, found in results.items()},
        left_out={name: found.left_out for name, found in results.items() if found.left_out},
    )
    wrong = _wrong(results)
    console.verdict(not wrong, f"wrong results: {', '.join(wrong)}" if wrong else "all correct")
    return 1 if wrong else 0


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _choose(names: list[str], known: Mapping[str, T], what: str) -> list[T]:
    """What ``known`` has by ``names``; raises DiagnosticError with MOE0690 for each other name."""
    from moedsl.source.diagnostic import Diagnostic, DiagnosticError

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
    return [known[name] for name in names]


def _tell_what_is_missing(console: Console, contestants: list[Contestant]) -> None:
    for contestant in contestants:
        if not contestant.available():
            console.note(f"{contestant.name} is left out: pip install {contestant.install}")


def _wrong(results: Mapping[str, Measurement]) -> list[str]:
    return sorted(
        f"{timing.contestant} on {name}"
        for name, found in results.items()
        for timing in found.timings
        if timing.worst_error is not None and timing.worst_error > 1
    )


def _show(console: Console, workload: Workload, found: Measurement) -> None:
    case = workload.case
    console.write(
        f"{case.name}, {workload.kernel.name}: {case.what}; {case.experts} experts, "
        f"{case.total} rows, n {case.n}, k {case.k}; floor {workload.floor_seconds * 1e6:.0f} us"
    )
    titles = ("us", "low-high", "TFLOP/s", "of floor", "vs moedsl", "MHz", "error")
    columns = [Column("contestant", words=True), *map(Column, titles)]
    ours = next((t.median for t in found.timings if t.contestant == "moedsl"), None)
    console.table(columns, [_line(timing, ours) for timing in found.timings])
    for name, reason in found.left_out.items():
        console.write(f"{name} failed: {reason.splitlines()[0]}")
    console.write("")


def _line(timing: Timing, ours: float | None) -> tuple[str, ...]:
    """A row of the table; ``ours`` is moedsl's median in seconds if it took part."""
    return (
        timing.contestant,
        f"{timing.median * 1e6:.1f}",
        f"{timing.low * 1e6:.1f}-{timing.high * 1e6:.1f}",
        f"{timing.tflops:.1f}",
        f"{timing.floor_ratio:.2f}",
        f"{timing.median / ours:.2f}x" if ours else "",
        str(timing.clock or ""),
        "" if timing.worst_error is None else f"{timing.worst_error:.2f}",
    )
