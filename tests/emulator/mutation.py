"""Mutants of emitted code, to see whether the emulator notices a kernel that is slightly wrong.

    python -m tests.emulator.mutation --count 100 --seed 1

damages that many places of each kernel in ``KERNELS``, one at a time, and prints what became of
each mutant: killed by a finding or a wrong result; refused by the compiler or compiled to the very
code of the original (neither is counted); or survived. Survivors are for people to explain:
equivalent, or a hole in the checks.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backends.cuda.access import access_modes
from moedsl.backends.emulator.executable import EmulatorExecutable, Variant
from moedsl.backends.emulator.options import STANDARD_POLICIES, Options
from moedsl.backends.emulator.report import KernelFaultError
from moedsl.backends.emulator.toolchain import KernelRefusedError, kernel_library
from moedsl.backends.emulator.unit import PRIMITIVES, Unit
from moedsl.inputs import Layout, make_inputs
from moedsl.ir.core import Compute, DType
from moedsl.ir.schedule import Along, ExpertOrder, Persistence, Raster, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.target import TARGETS
from tests.cuda.kernels import forward, weight_gradient
from tests.emulator.harness import poison_maps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moedsl.backends.cuda.abi import AccessModes
    from moedsl.ir.moe import MoeKernel

BASE = Schedule(TileShape(64, 64, 32), stages=3)
KERNELS: dict[str, tuple[MoeKernel, Schedule]] = {
    "tails": (
        forward(4, 136, 104),
        replace(
            BASE,
            tails=(32, 16),
            persistent=Persistence.DYNAMIC,
            raster=Raster(Along.ROWS, 2, True),
        ),
    ),
    "split": (
        forward(4, 72, 200, scatter=True, accumulate=True, output=DType.F32),
        replace(BASE, split_k=3, fuse_rows=16, order=ExpertOrder.LONGEST),
    ),
    "swapped": (
        forward(4, 72, 141, weights="ekn", gather=True),
        replace(BASE, swap_ab=True, tails=(24, 8), persistent=Persistence.OFF),
    ),
    "gradient": (weight_gradient(4, 72, 136, compute=Compute.TF32), replace(BASE, stages=2)),
}
ROWS = ((70, 0, 1, 133), (5, 3, 16, 0), (0, 0, 200, 9))
POLICIES = STANDARD_POLICIES

SUBSTITUTIONS: tuple[tuple[str, str, str], ...] = (
    ("drop the wait", r"\b(?:moe::)?copy_wait<[^>]*>\(\);", ""),
    ("wait for one fewer", r"copy_wait<kStages - 2>", "copy_wait<kStages - 1>"),
    ("drop the commit", r"\b(?:moe::)?copy_commit\(\);", ""),
    ("drop the barrier", r"\b(?:moe::)?sync_cta\(\);", ""),
    ("drop the warp's barrier", r"\b(?:moe::)?sync_warp\(\);", ""),
    ("drop the fence", r"\b(?:moe::)?fence_device\(\);", ""),
    ("wrong stage", r"stage \+ 1 == kStages \? 0", "stage == kStages ? 0"),
    ("stage not advanced", r"stage = stage \+ 1 == kStages \? 0 : stage \+ 1", "stage = stage"),
    ("bound one too wide", r" < ", " <= "),
    ("bound one too narrow", r" <= ", " < "),
    ("bound turned", r" > ", " >= "),
    ("bound moved", r" >= ", " > "),
    ("condition turned", r" == ", " != "),
    ("both for either", r" && ", " || "),
    ("either for both", r" \|\| ", " && "),
    ("sum for difference", r" - ", " + "),
    ("difference for sum", r" \+ ", " - "),
    ("no factor", r" \* (?=\d+\b)", " + "),
    ("number one more", r"(?<=[ (])([1-9]\d*)(?=[,;)\] ])", "{+1}"),
    ("zero becomes one", r"(?<=[=(, ])0(?=[;),])", "1"),
    ("swizzle bit", r" \^ ", " | "),
    ("remainder dropped", r" % ", " / "),
    ("mask", r" & ", " | "),
    ("negated", r"\bif \((?!constexpr)", "if (!"),
)


class EquivalentError(Exception):
    """A mutant compiles to the very code of its original."""


@dataclass(frozen=True)
class Mutant:
    """One damaged line of a unit."""

    line: int
    operator: str
    before: str
    after: str


def mutants_of(unit: Unit) -> Iterator[Mutant]:
    """Every mutant of what is compiled for both machines: the portable prelude and the kernel."""
    primitive = False
    for number, line in enumerate(unit.lines, 1):
        if section := re.match(r"// (?:prelude/(\w+)\.cuh|kernel)$", line):
            primitive = section[1] in PRIMITIVES
        code, _, _ = line.partition("//")
        if primitive or line.startswith(("#", "template")) or "static_assert" in line:
            continue
        for operator, pattern, substitute in SUBSTITUTIONS:
            for found in re.finditer(pattern, code):
                new = substitute if substitute != "{+1}" else str(int(found[1]) + 1)
                after = line[: found.start()] + new + line[found.end() :]
                yield Mutant(number, operator, line.strip(), after)


def machine_code(unit: Unit) -> bytes:
    """The instructions and constants of a compiled unit, without what only debuggers read."""
    library = kernel_library(unit.host)
    with tempfile.NamedTemporaryFile() as code:
        keep = ("--only-section=.text", "--only-section=.rodata")
        subprocess.run(["objcopy", "-O", "binary", *keep, library, code.name], check=True)
        return Path(code.name).read_bytes()


class MutantExecutable(EmulatorExecutable):
    """A kernel of which one line is damaged."""

    def __init__(self, name: str, mutant: Mutant | None) -> None:
        kernel, schedule = KERNELS[name]
        super().__init__(build_tile(kernel, schedule, TARGETS["sm_80"]))
        self.moe, self.mutant = kernel, mutant
        self.damaged: dict[AccessModes, Variant] = {}

    def variant(self, modes: AccessModes) -> Variant:
        """The damaged variant; raises EquivalentError if it compiles to the same code."""
        variant = super().variant(modes)
        if self.mutant is None or modes in self.damaged:
            return self.damaged.get(modes, variant)
        lines = list(variant.unit.lines)
        lines[self.mutant.line - 1] = self.mutant.after
        unit = replace(variant.unit, emitted="\n".join(lines) + "\n")
        if machine_code(unit) == machine_code(variant.unit):
            raise EquivalentError
        self.damaged[modes] = Variant(variant.generated, unit)
        return self.damaged[modes]

    def verdict(self) -> str:
        """What shows first: a kind of finding, ``wrong``, ``refused``, ``equivalent``; else
        ``survived``.
        """
        padding = {t.name: Layout(padding=8) for t in self.moe.signature.tensors}
        for rows in ROWS:
            given = make_inputs(self.moe, rows, {"t": 240}, Mode.EXACT, 1, padding, spare_rows=3)
            poison_maps(given)
            for policy in POLICIES:
                self.options = Options(policy, timeout=10, multiprocessors=2)
                given.reset()
                try:
                    self.launch(given.call())
                except KernelRefusedError:
                    return "refused"
                except EquivalentError:
                    return "equivalent"
                except KernelFaultError as error:
                    return error.finding.kind
                outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
                if not check_outputs(self.moe, *outputs, Mode.EXACT).passed or given.trespass():
                    return "wrong"
        return "survived"


def choose(name: str, count: int, seed: int) -> list[Mutant]:
    """``count`` mutants of one kernel, of all operators alike, at random places."""
    executable = MutantExecutable(name, None)
    padded = make_inputs(executable.moe, ROWS[0], {"t": 240}, Mode.EXACT, 1)
    modes = access_modes(executable.moe.signature, padded.call().arrays)
    mutants = list(mutants_of(executable.variant(modes).unit))
    chance = random.Random(seed)
    chance.shuffle(mutants)
    turns: Counter[str] = Counter()
    ranked = []
    for mutant in mutants:
        turns[mutant.operator] += 1
        ranked.append((turns[mutant.operator], mutant))
    ranked.sort(key=lambda entry: entry[0])
    return [mutant for _, mutant in ranked[:count]]


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if anything survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="mutants of each kernel")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kernel", choices=KERNELS, action="append")
    options = parser.parse_args(arguments)
    outcomes: Counter[str] = Counter()
    for name in options.kernel or KERNELS:
        for mutant in choose(name, options.count, options.seed):
            verdict = MutantExecutable(name, mutant).verdict()
            outcomes[verdict] += 1
            if verdict == "survived":
                print(f"{name}:{mutant.line}: survived: {mutant.operator}", flush=True)
                print(f"    - {mutant.before}\n    + {mutant.after.strip()}", flush=True)
    counted = sum(outcomes.values()) - outcomes["refused"] - outcomes["equivalent"]
    killed = counted - outcomes["survived"]
    print(
        f"{killed} of {counted} killed:", ", ".join(f"{k} {n}" for k, n in outcomes.most_common())
    )
    return int(outcomes["survived"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
