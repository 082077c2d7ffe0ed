"""Whole kernels on a GPU and on the emulator, with the same exact inputs: equal bit for bit.

    python -m tests.conformance.cases --count 2000 --jobs 16 --seconds 500

A case is a kernel under a schedule, called on rows, layouts and sizes, as ``moedsl fuzz`` draws
them, with data from {-1, 0, 1}. ``--jobs`` processes draw, emulate and compile for the GPU; this
one runs the GPU and compares all bits of all outputs, those that nobody may touch among them. Only
functions that IEEE 754 decides occur: the others may differ in the last bit. ``--backend interp``
compares with the interpreter instead, where there is no GPU. The same seed draws the same cases,
whatever the number of processes.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda.access import access_modes
from moedsl.backends.cuda.executable import CudaExecutable
from moedsl.backends.emulator import BACKEND as EMULATOR
from moedsl.cli.fuzz import choose_runners
from moedsl.fuzz.case import to_token
from moedsl.fuzz.draw import cases
from moedsl.fuzz.trial import HostPlace, Runner
from moedsl.inputs import make_inputs
from moedsl.ir.core import Compute, DType
from moedsl.ir.elementwise import Apply
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.meaning import Mode
from moedsl.source.read import read_source
from moedsl.target import TARGETS
from tests.cuda.kernels import forward, opened, weight_gradient
from tests.strategies import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moedsl.fuzz.case import Case
    from moedsl.inputs import Arguments
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.tile import TileKernel
    from moedsl.subscript import Array

EXAMPLES = Path(__file__).parents[2] / "examples"
PART = 10
"""Cases that a process draws and runs at a time."""


@dataclass(frozen=True)
class Outcome:
    """What a backend made of a case: all bits of each output, or what it raised."""

    outputs: Mapping[str, Array] = field(default_factory=dict)
    fault: str = ""


@cache
def kernels() -> Mapping[str, MoeKernel]:
    """What is drawn from: the examples, and kernels of every type with every kind of access."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.moe")):
        for kernel in load_program(read_source(path)).kernels:
            applied = (op.function for op in kernel.body if isinstance(op, Apply))
            if not any(function.transcendental for function in applied):
                found[kernel.signature.name] = kernel
    for compute in Compute:
        made = {
            "plain": forward(compute=compute),
            "open": opened(forward(compute=compute), "n"),
            "across": forward(compute=compute, weights="ekn"),
            "gathered": forward(compute=compute, gather=True),
            "gathered_across": forward(compute=compute, weights="ekn", gather=True),
            "added": forward(compute=compute, output=DType.F32, accumulate=True),
            "scattered": forward(
                compute=compute, rows="km", output=DType.F32, scatter=True, accumulate=True
            ),
            "gradient": weight_gradient(compute=compute),
            "open_gradient": opened(weight_gradient(compute=compute), "k"),
        }
        for name, kernel in made.items():
            signature = replace(kernel.signature, name=f"{name}_{compute}")
            found[signature.name] = replace(kernel, signature=signature)
    return found


@st.composite
def _cases(draw: st.DrawFn, target: str) -> Case:
    return draw(cases(list(kernels().values()), TARGETS[target], most=1))


def draw(seed: int, number: int, target: str, count: int = PART) -> list[Case]:
    """``count`` cases of part ``number``, each of one call on exact data."""
    return [
        replace(case, batches=tuple(replace(batch, mode=Mode.EXACT) for batch in case.batches))
        for case in drawn(_cases(target), seed << 20 | number, count)
    ]


def _arguments(case: Case) -> Arguments:
    (batch,) = case.batches
    resized = case.resized(kernels()[case.kernel])
    drawn = (batch.rows, batch.sizes, batch.mode, batch.seed, batch.layouts, batch.spare_rows)
    return make_inputs(resized, *drawn)


def _lowered(case: Case) -> TileKernel:
    options = Options(target=TARGETS[case.target], schedule=case.schedule)
    return lower_kernel(case.resized(kernels()[case.kernel]), options)


def outcome(case: Case, runner: Runner) -> Outcome:
    """Compile and call once."""
    arguments, tile = _arguments(case), _lowered(case)
    try:
        executable = runner.backend.compile(tile)
        call = runner.place.put(arguments)
        executable.prepare(call)
        executable.launch(call)
        runner.place.fetch(arguments)
    except Exception as error:  # whatever a backend raises is its outcome
        return Outcome(fault=f"{type(error).__name__}: {error}")
    return Outcome(
        {
            name: np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
            for name, array in arguments.outputs.items()
        }
    )


def _compile_ahead(case: Case) -> None:
    """Leave the GPU's machine code in the cache, where the process that has the GPU finds it."""
    tile = _lowered(case)
    modes = access_modes(tile.signature, _arguments(case).call().arrays, tile.schedule)
    CudaExecutable(tile).variant(modes)


def emulate(
    seed: int, number: int, count: int, target: str, compiles: bool
) -> list[tuple[Case, Outcome]]:
    """Part ``number`` on the emulator; ``compiles`` for the GPU besides."""
    warnings.simplefilter("ignore", PerformanceWarning)
    results = []
    for case in draw(seed, number, target, count):
        results.append((case, outcome(case, Runner(EMULATOR, HostPlace()))))
        if compiles:
            _compile_ahead(case)
    return results


def difference(emulated: Outcome, found: Outcome) -> str:
    """The first bits that are not the emulator's, in words; empty if all are."""
    if emulated.fault or found.fault:
        return f"the emulator: {emulated.fault or 'ran'}; the other: {found.fault or 'ran'}"
    for name, bits in found.outputs.items():
        unequal = np.argwhere(bits != emulated.outputs[name])
        if len(unequal):
            at = tuple(map(int, unequal[0]))
            pair = f"{emulated.outputs[name][at]:#x} on the emulator, {bits[at]:#x} on the other"
            return f"{len(unequal)} elements of {name} differ, {list(at)} is {pair}"
    return ""


@dataclass
class Compared:
    """How many cases were equal, and whether one was not."""

    equal: int = 0
    differs: bool = False


def compare(
    count: int,
    seed: int,
    jobs: int,
    runner: Runner,
    target: str,
    compiles: bool,
    seconds: float = math.inf,
) -> Compared:
    """Compare ``count`` cases, or as many as ``seconds`` suffice for, and print how that goes and
    the first that differs.
    """
    sizes = [min(PART, count - first) for first in range(0, count, PART)]
    began, found = time.monotonic(), Compared()
    # Processes of their own from the start: a fork of one that holds a GPU cannot be trusted.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        columns = (repeat(seed), range(len(sizes)), sizes, repeat(target), repeat(compiles))
        for part in pool.map(emulate, *columns):
            for case, emulated in part:
                if differs := difference(emulated, outcome(case, runner)):
                    print(f"case {found.equal + 1}: {differs}\n{to_token(case)}\n{case}")
                    found.differs = True
                    break
                found.equal += 1
            took = time.monotonic() - began
            print(f"{found.equal} of {count} cases, {took:.0f} s", file=sys.stderr, flush=True)
            if found.differs or took > seconds:
                pool.shutdown(cancel_futures=True)
                break
    print(f"{found.equal} cases equal bit for bit on {runner.backend.name} and emulator")
    return found


def main(arguments: Sequence[str]) -> int:
    """1 if a case differs; running out of seconds is no failure."""
    parser = argparse.ArgumentParser("tests.conformance.cases", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--target", help="what cases are drawn for without a GPU", default="sm_80")
    given = parser.parse_args(arguments)
    (runner,), where = choose_runners(given.backend)
    device = runner.backend.availability().target
    print(where, flush=True)
    warnings.simplefilter("ignore", PerformanceWarning)
    target = device.sm if device else given.target
    limits = given.count, given.seed, given.jobs
    found = compare(*limits, runner, target, device is not None, given.seconds)
    return int(found.differs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
