"""Timing contestants against each other: one process, shuffled rounds, medians and spread."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from moedsl.bench.operands import Operands, make_operands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from moedsl.bench.contestant import Contestant, Launch
    from moedsl.bench.kernels import Workload

T = TypeVar("T")
_PATIENCE = 10.0
"""Seconds that nvidia-smi may take."""


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


def read_clock(work: Callable[[], Any]) -> int:
    """SM clock of GPU 0 in MHz, through nvidia-smi, which takes longer to start than a clock to
    change: ``work`` goes on meanwhile. 0 where that program is not there.
    """
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "--id=0"]
    try:
        asked = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        return 0
    with asked:
        end = time.perf_counter() + _PATIENCE
        try:
            while asked.poll() is None and time.perf_counter() < end:
                work()
        finally:
            asked.kill()  # of no effect once it has ended
        answer = asked.communicate()[0]
    return int(answer) if answer.strip().isdigit() else 0


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
    events. A rival that raises, then or earlier, is left out from there on. Raises
    UnavailableError without torch or a GPU.
    """
    operands = make_operands(workload, seed)
    order = random.Random(seed)
    left_out: dict[str, str] = {}

    def attempt(contestant: Contestant, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:  # whatever another library raises
            if contestant.is_moedsl:
                raise
            left_out[contestant.name] = f"{type(error).__name__}: {error}"
            return None

    entrants = []
    for contestant in contestants:
        if contestant.available():
            enter = partial(_Entrant.enter, operands, contestant, batch_seconds)
            if (entrant := attempt(contestant, enter)) is not None:
                entrants.append(entrant)
    for _ in range(rounds):
        for entrant in order.sample(entrants, len(entrants)):
            if entrant.contestant.name not in left_out:
                attempt(entrant.contestant, entrant.run_batch)
    timings = []
    for entrant in entrants:
        if entrant.contestant.name not in left_out:
            timing = attempt(entrant.contestant, partial(entrant.timing, workload))
            timings += [] if timing is None else [timing]
    return Measurement(timings, left_out)


@dataclass(frozen=True)
class _Entrant:
    """A contestant that has been checked; ``count`` runs of it fill a batch."""

    contestant: Contestant
    run: Callable[[], Any]
    count: int
    error: float | None
    samples: list[float]

    @staticmethod
    def enter(operands: Operands, contestant: Contestant, batch_seconds: float) -> _Entrant:
        launch, error = _checked(operands, contestant)
        return _Entrant(contestant, launch.run, _warm_up(launch.run, batch_seconds), error, [])

    def run_batch(self) -> None:
        self.samples.append(_time_batch(self.run, self.count))

    def timing(self, workload: Workload) -> Timing:
        clock, median = _clock_under(self.run), statistics.median(self.samples)
        return Timing(
            contestant=self.contestant.name,
            median=median,
            low=min(self.samples),
            high=max(self.samples),
            tflops=workload.flops / median * 1e-12,
            floor_ratio=workload.floor_seconds / median,
            clock=clock,
            worst_error=self.error,
        )


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
    return max(1, round(batch_seconds / _time_batch(run, 2)))


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
    """SM clock while ``run`` keeps the GPU busy, which it has for a third of a second before."""
    import torch

    def work() -> None:
        for _ in range(32):  # so many that small ones leave hardly a gap
            run()
        torch.cuda.current_stream().synchronize()

    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        work()
    return read_clock(work)
