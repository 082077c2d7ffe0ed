"""Timing contestants against each other: one process, shuffled rounds, medians and spread."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.bench.operands import Operands, make_operands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from moedsl.bench.contestant import Contestant, Launch
    from moedsl.bench.kernels import Workload


@dataclass(frozen=True)
class Timing:
    """One contestant on one workload. Times in seconds, clock in MHz (0 where it is not known).

    ``worst_error`` is the largest error over its allowance, None where another result is
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


@dataclass(frozen=True)
class Measurement:
    """All contestants on one workload; ``left_out`` says why a rival that failed is not timed."""

    timings: list[Timing]
    left_out: dict[str, str]


def read_clock() -> int:
    """SM clock of GPU 0 in MHz, through nvidia-smi; 0 where that is not there."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return int(
            subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def measure(
    workload: Workload,
    contestants: Iterable[Contestant],
    rounds: int = 15,
    batch_seconds: float = 4e-3,
    seed: int = 0,
) -> Measurement:
    """Time every available one of ``contestants`` on ``workload``.

    Each result is checked against float64 on poisoned memory before anything is timed. A round
    runs all contestants once, in shuffled order, each for about ``batch_seconds`` between two
    events. A rival that raises before the rounds, at its check or while it is warmed up, is left
    out. Raises UnavailableError without torch or a GPU.
    """
    operands = make_operands(workload, seed)
    runs: dict[str, Callable[[], Any]] = {}
    counts: dict[str, int] = {}
    errors: dict[str, float | None] = {}
    left_out: dict[str, str] = {}
    for contestant in contestants:
        if not contestant.available():
            continue
        name = contestant.name
        try:
            launch, errors[name] = _checked(operands, contestant)
            counts[name] = _warm_up(launch.run, batch_seconds)
            runs[name] = launch.run
        except Exception as error:  # whatever another library raises
            if contestant.is_moedsl:
                raise
            left_out[name] = f"{type(error).__name__}: {error}"
    samples = _time_rounds(runs, counts, rounds, random.Random(seed))
    timings = [
        _timing(workload, name, samples[name], _clock_under(run), errors[name])
        for name, run in runs.items()
    ]
    return Measurement(timings, left_out)


def _checked(operands: Operands, contestant: Contestant) -> tuple[Launch, float | None]:
    """``contestant`` bound to ``operands``, and the error of its first result."""
    launch = contestant.bind(operands)
    operands.poison()
    result = launch.unpack(launch.run())
    error = operands.worst_error(result, stores=contestant.stores) if contestant.computes else None
    return launch, error


def _warm_up(run: Callable[[], Any], batch_seconds: float) -> int:
    """How often ``run`` fits into a batch."""
    _time_batch(run, 2)
    return max(1, min(64, round(batch_seconds / _time_batch(run, 2))))


def _time_rounds(
    runs: dict[str, Callable[[], Any]], counts: dict[str, int], rounds: int, order: random.Random
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            samples[name].append(_time_batch(runs[name], counts[name]))
    return samples


def _time_batch(run: Callable[[], Any], count: int) -> float:
    """Seconds that one of ``count`` runs takes between two events."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / count


def _clock_under(run: Callable[[], Any]) -> int:
    """SM clock while ``run`` keeps the GPU busy for about a third of a second."""
    import torch

    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        for _ in range(8):
            run()
        torch.cuda.current_stream().synchronize()
    for _ in range(64):
        run()
    clock = read_clock()
    torch.cuda.synchronize()
    return clock


def _timing(
    workload: Workload, name: str, samples: list[float], clock: int, error: float | None
) -> Timing:
    median = statistics.median(samples)
    return Timing(
        contestant=name,
        median=median,
        low=min(samples),
        high=max(samples),
        tflops=workload.flops / median * 1e-12,
        floor_ratio=workload.floor_seconds / median,
        clock=clock,
        worst_error=error,
    )
