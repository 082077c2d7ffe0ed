"""Timing contestants against each other: one process, shuffled rounds, medians and spread."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.bench.rivals import CONTESTANTS, Operands, make_operands, worst_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from moedsl.bench.suite import Case


@dataclass(frozen=True)
class Timing:
    """One contestant on one case. Times in seconds, clock in MHz (0 where it cannot be read).

    ``worst_error`` is the largest error over its allowance, None where another product is
    computed; more than 1 means a wrong result.
    """

    contestant: str
    median: float
    low: float
    high: float
    tflops: float
    floor_ratio: float
    clock: int
    worst_error: float | None


def read_clock() -> int:
    """SM clock of GPU 0 in MHz, through nvidia-smi; 0 where that is not there."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return int(
            subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def measure_case(
    case: Case, names: Sequence[str], rounds: int = 15, batch_seconds: float = 4e-3, seed: int = 0
) -> list[Timing]:
    """Time every available contestant of ``names`` on ``case``.

    Each result is checked against float64 on poisoned memory before anything is timed. A round
    runs all contestants once, in shuffled order, each for about ``batch_seconds`` between two
    events. Raises UnavailableError without torch or a GPU.
    """
    operands = make_operands(case, seed)
    launches: dict[str, Callable[[], Any]] = {}
    errors: dict[str, float | None] = {}
    for name in names:
        contestant = CONTESTANTS[name]
        if not contestant.available():
            continue
        launches[name] = contestant.bind(operands)
        errors[name] = _check(operands, launches[name], contestant.computes)
    samples = _time_rounds(launches, rounds, batch_seconds, random.Random(seed))
    clocks = {name: _clock_under(launch) for name, launch in launches.items()}
    return [_timing(case, name, samples[name], clocks[name], errors[name]) for name in launches]


def _check(operands: Operands, launch: Callable[[], Any], computes: bool) -> float | None:
    operands.y.fill_(float("nan"))
    result = launch()
    return worst_error(operands, result) if computes else None


def _time_rounds(
    launches: dict[str, Callable[[], Any]], rounds: int, batch_seconds: float, order: random.Random
) -> dict[str, list[float]]:
    import torch

    def batch(launch: Callable[[], Any], count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(count):
            launch()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / count

    counts = {}
    for name, launch in launches.items():
        batch(launch, 2)
        counts[name] = max(1, min(64, round(batch_seconds / batch(launch, 2))))
    samples: dict[str, list[float]] = {name: [] for name in launches}
    names = list(launches)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            samples[name].append(batch(launches[name], counts[name]))
    return samples


def _clock_under(launch: Callable[[], Any]) -> int:
    """SM clock while ``launch`` keeps the GPU busy for about a third of a second."""
    import torch

    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        for _ in range(8):
            launch()
        torch.cuda.current_stream().synchronize()
    for _ in range(64):
        launch()
    clock = read_clock()
    torch.cuda.synchronize()
    return clock


def _timing(case: Case, name: str, samples: list[float], clock: int, error: float | None) -> Timing:
    median = statistics.median(samples)
    return Timing(
        contestant=name,
        median=median,
        low=min(samples),
        high=max(samples),
        tflops=case.flops / median * 1e-12,
        floor_ratio=case.floor_seconds / median,
        clock=clock,
        worst_error=error,
    )
