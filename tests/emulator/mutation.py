"""Mutants of emitted code, to see whether the emulator notices a kernel that is slightly wrong.

    python -m tests.emulator.mutation --count 100 --seed 1 --jobs 2

damages that many places of each of ``SUBJECTS``, one at a time, and prints what became of each
mutant: killed by a finding or a wrong result; refused by the compiler or compiled to the very code
of the original (neither is counted); explained, as ``equivalent_emitted.txt`` says why nothing can
kill it; or survived, for people to explain: equivalent, or a hole in the checks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from moedsl.backends.cuda.access import access_modes
from moedsl.backends.emulator.executable import EmulatorExecutable, Variant
from moedsl.backends.emulator.options import STANDARD_POLICIES, Options
from moedsl.backends.emulator.process import run
from moedsl.backends.emulator.report import EmulationError, KernelFaultError
from moedsl.backends.emulator.toolchain import KernelRefusedError, kernel_library
from moedsl.inputs import Layout, make_inputs
from moedsl.ir.core import Compute, DType
from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    ExpertOrder,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.lower.build_tile import build_tile
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.target import TARGETS
from tests.conformance.model import launch_of
from tests.cuda.kernels import (
    PAIRED,
    STORED,
    SWAPPED,
    TALL_STORED,
    TURNS,
    forward,
    weight_gradient,
)
from tests.emulator.harness import poison_maps
from tests.emulator.mutants import Mutant, choose, mutants_of
from tests.hopper.kernels import Sizes, expected, gemm_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.backends.emulator.unit import Unit
    from moedsl.inputs import Arguments
    from moedsl.ir.moe import MoeKernel

EQUIVALENT = Path(__file__).parent / "equivalent_emitted.txt"
TIMEOUT = 5.0
"""Seconds without a result after which a launch hangs; the slowest takes a tenth of that."""


class Subject(Protocol):
    """A kernel to be damaged."""

    @property
    def unit(self) -> Unit:
        """Its emitted code."""

    def outcome(self, unit: Unit) -> str:
        """What shows first when ``unit`` runs in its place: a kind of finding, ``wrong``; else
        ``survived``.
        """


class _Executable(EmulatorExecutable):
    """A kernel whose code is replaced."""

    damaged: Unit | None = None

    def variant(self, modes: AccessModes) -> Variant:
        variant = super().variant(modes)
        return replace(variant, unit=self.damaged) if self.damaged else variant


@dataclass(frozen=True)
class Generated:
    """What the compiler makes of a kernel under a schedule."""

    kernel: MoeKernel
    schedule: Schedule
    rows: tuple[tuple[int, ...], ...] = ((70, 0, 1, 133), (5, 27, 16, 0), (0, 0, 200, 9))
    target: str = "sm_80"

    def _executable(self) -> _Executable:
        return _Executable(build_tile(self.kernel, self.schedule, TARGETS[self.target]))

    def _arguments(self, rows: tuple[int, ...]) -> Arguments:
        padding = {t.name: Layout(padding=8) for t in self.kernel.signature.tensors}
        spare = 3 if rows == self.rows[0] else 0  # without, the last row ends its buffer
        return make_inputs(self.kernel, rows, {"t": 240}, Mode.EXACT, 1, padding, spare)

    @cached_property
    def unit(self) -> Unit:
        """The code for tensors with padded rows."""
        arrays = self._arguments(self.rows[0]).call().arrays
        modes = access_modes(self.kernel.signature, arrays, self.schedule)
        return self._executable().variant(modes).unit

    def outcome(self, unit: Unit) -> str:
        """Rows of several kinds, each under every policy; two CTAs or clusters share the tiles."""
        executable = self._executable()
        executable.damaged = unit
        places = 2 * self.schedule.cluster
        for rows in self.rows:
            given = self._arguments(rows)
            poison_maps(given)
            for policy in STANDARD_POLICIES:
                executable.options = Options(policy, timeout=TIMEOUT, multiprocessors=places)
                given.reset()
                try:
                    executable.launch(given.call())
                except KernelFaultError as error:
                    return error.finding.kind
                outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
                if not check_outputs(self.kernel, *outputs, Mode.EXACT).passed or given.trespass():
                    return "wrong"
        return "survived"


@dataclass(frozen=True)
class Written:
    """A kernel of ``tests/hopper``."""

    name: str
    sizes: Sizes

    @cached_property
    def unit(self) -> Unit:
        """Its code with the primitives before it."""
        return gemm_case(self.name, self.sizes).unit

    def outcome(self, unit: Unit) -> str:
        """One product, under every policy."""
        case = gemm_case(self.name, self.sizes)
        want = expected(case, self.sizes, 0).tobytes()
        for policy in STANDARD_POLICIES:
            launch = replace(launch_of(case, 0), unit=unit)
            try:
                run(launch, Options(policy, timeout=TIMEOUT))
            except EmulationError as error:
                return error.finding.kind
            (result,) = (buffer.data for buffer in launch.buffers if buffer.name == "c")
            if result != want:
                return "wrong"
        return "survived"


BASE = Schedule(TileShape(64, 64, 32), stages=3)
SUBJECTS: dict[str, Subject] = {
    "tails": Generated(
        forward(4, 136, 104),
        replace(
            BASE,
            tails=(32, 16),
            persistent=Persistence.DYNAMIC,
            raster=Raster(Along.ROWS, 2, True),
        ),
    ),
    "split": Generated(
        forward(6, 72, 200, scatter=True, accumulate=True, output=DType.F32),
        replace(BASE, split_k=3, fuse_rows=16, order=ExpertOrder.LONGEST),
        ((70, 0, 1, 90, 3, 7), (5, 3, 16, 0, 17, 2), (0, 0, 150, 9, 0, 0)),
    ),
    "swapped": Generated(
        forward(4, 72, 141, weights="ekn", gather=True),
        replace(BASE, swap_ab=True, tails=(24, 8), persistent=Persistence.OFF),
    ),
    "gradient": Generated(
        weight_gradient(4, 72, 136, compute=Compute.TF32), replace(BASE, stages=2)
    ),
    "many": Generated(
        forward(150, 24, 40),
        replace(BASE, tails=(16,)),
        (tuple((7 * e + 1) % 4 for e in range(150)), (40, *[0] * 139, *range(10))),
    ),
    "turns": Generated(
        forward(4, 264, 392),
        replace(STORED, stages=4, persistent=Persistence.DYNAMIC),
        ((70, 0, 1, 133), (49, 3, 16, 0)),
        "sm_90a",
    ),
    "shared": Generated(
        forward(6, 72, 264),
        replace(SWAPPED, tails=(40,), split_k=2, fuse_rows=16, order=ExpertOrder.INTERLEAVED),
        # Of the second, the expert with 17 rows is kept for the end.
        ((70, 0, 1, 90, 3, 7), (5, 3, 1000, 17, 60, 50)),
        "sm_90a",
    ),
    "gathered": Generated(
        forward(4, 136, 264, gather=True),
        replace(TURNS, stages=4, balanced=True, consumer_registers=208),
        ((70, 0, 1, 133), (5, 125, 16, 0)),
        "sm_90a",
    ),
    "pairs": Generated(
        forward(4, 264, 136),
        replace(PAIRED, epilogue_store=EpilogueStore.TMA, order=ExpertOrder.INDEX),
        ((180, 0, 1, 125), (5, 70, 16, 0)),
        "sm_90a",
    ),
    "kept": Generated(
        forward(4, 520, 136, gather=True),
        replace(
            PAIRED,
            tile=TileShape(96, 256, 64),
            tails=(64, 48, 32, 16),
            cooperation=Cooperation.COOPERATIVE,
            epilogue_store=EpilogueStore.TMA,
            consumer_registers=208,
        ),
        ((250, 0, 1, 180), (5, 70, 16, 0)),
        "sm_90a",
    ),
    # Consumers share rows of tiles of 128, and columns of those of 64.
    "rows": Generated(
        forward(4, 264, 136),
        replace(
            TALL_STORED,
            tile=TileShape(128, 224, 64),
            cooperation=Cooperation.COOPERATIVE,
            cluster_columns=1,
        ),
        ((180, 0, 1, 125), (5, 70, 64, 0)),
        "sm_90a",
    ),
    "hopper": Written("gemm", Sizes(300, 136, 328)),
    "hopper cluster": Written("gemm_cluster", Sizes(300, 264, 392)),
}


@cache
def explanations() -> Mapping[tuple[str, str], str]:
    """Why nothing can kill a mutant, by subject and name."""
    reasons: dict[tuple[str, str], str] = {}
    subjects, reason = "", ""
    for line in EQUIVALENT.read_text().splitlines()[1:]:
        if line.startswith(" "):
            reasons |= {(subject, line[4:]): reason for subject in subjects.split(", ")}
        elif line:
            subjects, _, reason = line.partition(": ")
    return reasons


@cache
def _machine_code(unit: Unit) -> bytes:
    """The instructions and constants of a compiled unit, without what only debuggers read."""
    library = kernel_library(unit.host)
    with tempfile.NamedTemporaryFile() as code:
        keep = ("--only-section=.text", "--only-section=.rodata")
        subprocess.run(["objcopy", "-O", "binary", *keep, library, code.name], check=True)
        return Path(code.name).read_bytes()


def stale(name: str) -> list[str]:
    """Explained mutants that the subject no longer has."""
    there = {mutant.name for mutant in mutants_of(SUBJECTS[name].unit)}
    return [mutant for subject, mutant in explanations() if subject == name and mutant not in there]


def verdict(name: str, mutant: Mutant) -> str:
    """What becomes of a mutant of the subject ``name``."""
    subject = SUBJECTS[name]
    unit = mutant.applied(subject.unit)
    try:
        if _machine_code(unit) == _machine_code(subject.unit):
            return "same code"
    except KernelRefusedError:
        return "refused"
    outcome = subject.outcome(unit)
    survived = outcome == "survived"
    return "explained" if survived and (name, mutant.name) in explanations() else outcome


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if anything survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="mutants of each subject")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--subject", choices=SUBJECTS, action="append")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    outcomes: Counter[str] = Counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in options.subject or SUBJECTS:
            mutants = choose(SUBJECTS[name].unit, options.count, options.seed)
            verdicts = pool.map(verdict, repeat(name), mutants)
            for mutant, outcome in zip(mutants, verdicts, strict=True):
                outcomes[outcome] += 1
                if outcome == "survived":
                    print(f"{name}:{mutant.line}: {mutant.operator}: {mutant.name}", flush=True)
            for gone in stale(name):
                print(f"{name}: explained, but there no more: {gone}", flush=True)
    uncounted = outcomes["refused"] + outcomes["same code"]
    counted = sum(outcomes.values()) - uncounted
    killed = counted - outcomes["survived"] - outcomes["explained"]
    print(f"{killed} of {counted} killed, {outcomes['explained']} of the others explained:")
    print(", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common()))
    return int(outcomes["survived"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
