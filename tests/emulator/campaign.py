"""A campaign: random kernels under random legal schedules, each launched many times with races on.

    python -m tests.emulator.campaign --launches 10000 --seed 1 --seconds 600

Each kernel is compiled once; each launch has rows, data, sizes, policy and number of SMs of its
own, and what it computes is checked against the reference with exact inputs. The kernels are
correct, so that every finding is a false alarm of the emulator or a bug of the compiler. The same
seed draws the same launches, part by part, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from moedsl.backends.emulator.executable import EmulatorExecutable
from moedsl.backends.emulator.options import VARIABLE, Arrival, Options, Order, Policy
from moedsl.backends.emulator.report import KernelFaultError
from moedsl.backends.emulator.toolchain import KernelRefusedError, runtime_program
from moedsl.fuzz.specialised import can_specialise
from moedsl.inputs import Layout, make_inputs
from moedsl.ir.core import Compute, DType
from moedsl.ir.elementwise import Store
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import EpilogueStore
from moedsl.ir.text import print_kernel
from moedsl.ir.verify import FACTOR_TYPE
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.resources import resources
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.target import TARGETS
from tests.emulator.harness import poison_maps
from tests.kernels import combine, grouped_gemm, weight_gradient
from tests.strategies import drawn, moe_kernels, schedules, specialised_schedules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moedsl.inputs import Arguments
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule
    from moedsl.lower.resources import Resources
    from moedsl.target import Target

PORTABLE, HOPPER = TARGETS["sm_80"], TARGETS["sm_90a"]
KINDS = (
    *((compute, False) for compute in Compute),
    *((compute, True) for compute in Compute if compute is not Compute.F32),
)
"""Of programs: what they compute in, and whether their warps are specialised."""
PART = 250
"""Launches of a part, which one process draws and runs."""
PER_KERNEL = 25
MOST_ROWS = 120
LARGEST_EXTENT = 40
LARGEST_BOXES = 150
"""Of the extents of kernels for specialised warps, whose least tile is larger."""
UNIT = 8
"""Rows of so many elements allow 16-byte accesses whatever the type."""


@dataclass(frozen=True)
class Program:
    """A kernel, its schedule, and the tensors that lie so that only single elements are accessed.

    That is the same in all launches. All that compiling depends on besides is whether rows of
    dynamic columns are whole 16 bytes, where the copy engine would store them.
    """

    kernel: MoeKernel
    schedule: Schedule
    crooked: frozenset[str]

    @property
    def target(self) -> Target:
        """What the schedule is for."""
        return HOPPER if self.schedule.specialised else PORTABLE

    def _resources(self) -> Resources:
        return resources(build_tile(self.kernel, self.schedule, self.target), self.target)

    def features(self) -> Iterator[str]:
        """What the program shows, in words to be counted."""
        signature, schedule = self.kernel.signature, self.schedule
        by_engine = schedule.epilogue_store is EpilogueStore.TMA
        columns = signature.index(signature.columns)
        yield "m-grouped" if signature.row_grouped else "k-grouped"
        yield signature.compute
        contracts = [op for op in self.kernel.body if isinstance(op, Contract)]
        stores = [op for op in self.kernel.body if isinstance(op, Store)]
        accesses = [access for op in contracts for access in (op.lhs, op.rhs)]
        shown = {
            "gather": any(c.via for access in accesses for c in access.coordinates),
            "scatter": any(c.via for op in stores for c in op.access.coordinates),
            "accumulate": any(op.accumulate for op in stores),
            "several contractions": len(contracts) > 1,
            "split_k": schedule.split_k > 1,
            "fuse": schedule.fuse_rows > 0,
            "tails": bool(schedule.tails),
            "balanced": schedule.balanced,
            "swap_ab": schedule.swap_ab,
            f"persistent {schedule.persistent}": True,
            f"order {schedule.order}": True,
            "single elements": bool(self.crooked),
        }
        if schedule.specialised:
            found = self._resources()
            shown |= {
                f"{schedule.cooperation}": True,
                "stages of several lengths": found.shared.stage_slots > schedule.stages,
                "operands in registers": found.fragments > 0,
                "outputs in the last stage": found.kept is not None,
                f"consumers {schedule.consumers}": True,
                f"cluster {schedule.cluster_rows} x {schedule.cluster_columns}": True,
                f"store {schedule.epilogue_store}{' with swap_ab' * schedule.swap_ab}": True,
                "store tma, dynamic columns": by_engine and columns.extent is None,
                f"cache m={schedule.row_eviction}": True,
                f"cache n={schedule.column_eviction}": True,
            }
        path = "specialised " if schedule.specialised else ""
        yield from (path + word for word, holds in shown.items() if holds)


@dataclass
class Tally:
    """What a part, or all of them, came to. ``findings`` are reports with what repeats them."""

    launches: int = 0
    kernels: int = 0
    findings: list[str] = field(default_factory=list)
    features: Counter[str] = field(default_factory=Counter)

    def add(self, more: Tally) -> None:
        """Count ``more`` in."""
        self.launches += more.launches
        self.kernels += more.kernels
        self.findings += more.findings
        self.features += more.features


@st.composite
def programs(draw: st.DrawFn, compute: Compute, specialised: bool) -> Program:
    """A random kernel, or now and then a plain one, under a schedule that no rule refuses."""
    largest = LARGEST_BOXES if specialised else LARGEST_EXTENT
    random_kernels = moe_kernels(largest=largest, computes=(compute,), boxes=specialised)
    plain = _plain_kernels(compute)
    if specialised:
        plain = plain.filter(lambda kernel: can_specialise(kernel, HOPPER))
    kernel = draw(st.one_of(*[random_kernels] * 3, plain))
    most = draw(st.sampled_from((64, 128, 128, 192)))
    shapes = specialised_schedules(kernel, HOPPER, most) if specialised else _portable(kernel)
    target = HOPPER if specialised else PORTABLE
    schedule = draw(shapes.filter(lambda s: not check_schedule(kernel, s, None, target)))
    names = [tensor.name for tensor in kernel.signature.tensors if len(tensor.dims) > 1]
    straight = st.just(set[str]())
    crooked = draw(
        st.one_of(*[straight] * (4 if specialised else 1), st.sets(st.sampled_from(names)))
    )
    return Program(kernel, schedule, frozenset(crooked))


@st.composite
def _portable(draw: st.DrawFn, kernel: MoeKernel) -> Schedule:
    signature = kernel.signature
    drawn = schedules(
        row_grouped=signature.row_grouped,
        compute=signature.compute,
        largest=draw(st.sampled_from((32, 32, 64))),
        deepest=32,
    )
    return draw(drawn)


def _plain_kernels(compute: Compute) -> st.SearchStrategy[MoeKernel]:
    experts = st.integers(1, 6)
    extent = st.integers(1, 2 * LARGEST_EXTENT) | st.integers(1, LARGEST_EXTENT // 4).map(
        UNIT.__mul__
    )
    dtype = st.just(FACTOR_TYPE[compute])
    plain = st.one_of(
        st.builds(grouped_gemm, experts, extent, extent, dtype),
        st.builds(weight_gradient, experts, extent, extent, dtype, bias=st.booleans()),
    ).map(lambda kernel: replace(kernel, signature=replace(kernel.signature, compute=compute)))
    combined = st.builds(combine, experts, extent, extent)
    return st.one_of(plain, combined) if compute is Compute.BF16 else plain


def draw_programs(seed: int, number: int, count: int = PART // PER_KERNEL) -> list[Program]:
    """Up to ``count`` programs of part ``number``. Parts take the kinds by turns."""
    compute, specialised = KINDS[number % len(KINDS)]
    return drawn(programs(compute, specialised), seed << 20 | number, count)


def run_part(
    seed: int,
    number: int,
    launches: int = PART,
    until: float = float("inf"),
    each: int = PER_KERNEL,
) -> Tally:
    """Part ``number`` of the campaign ``seed``: ``each`` launches of as many kernels as needed.

    Ends early at ``until`` on the monotonic clock.
    """
    tally = Tally()
    drawn = draw_programs(seed, number, -(-launches // each))
    for index, program in enumerate(drawn):
        tile = build_tile(program.kernel, program.schedule, program.target)
        executable = EmulatorExecutable(tile)
        tally.kernels += 1
        tally.features.update(program.features())
        for launch in range(min(each, launches - tally.launches)):
            if time.monotonic() > until:
                return tally
            chance = random.Random(f"{seed} {number} {index} {launch}")
            tally.launches += 1
            if finding := _try(program, executable, chance):
                text = print_kernel(program.kernel, "moe")
                where = f"part {number} of seed {seed}, kernel {index}, launch {launch}"
                options = f"{VARIABLE}={executable.options}"
                tally.findings.append(f"{where}: {finding}\n{options}\n{program.schedule}\n{text}")
                break
    return tally


def _try(program: Program, executable: EmulatorExecutable, chance: random.Random) -> str:
    """Launch once; what is wrong, in words."""
    given = _arguments(program, chance)
    policy = Policy(
        chance.choice(list(Order)), chance.choice(list(Arrival)), chance.randrange(1, 1 << 31)
    )
    executable.options = Options(policy, races=True, multiprocessors=chance.choice((1, 1, 2, 3)))
    try:
        executable.launch(given.call())
    except KernelFaultError as error:
        (report,) = error.diagnostics
        return "\n".join(
            (f"{report.message}: rows {given.rows}, sizes {given.sizes}", *report.notes)
        )
    except KernelRefusedError as error:
        return str(error)
    outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
    verdict = check_outputs(program.kernel, *outputs, Mode.EXACT)
    wrong = given.trespass() if verdict.passed else verdict.message
    return f"{wrong}: rows {given.rows}, sizes {given.sizes}" if wrong else ""


def _arguments(program: Program, chance: random.Random) -> Arguments:
    signature = program.kernel.signature
    rows = _rows(program, chance)
    spare = chance.choice((1, 3, 8))
    total = sum(rows) + spare
    targets = (total, total + 7) if _scatters_once(program.kernel) else (1, 3, total, total + 7)
    others = (1, UNIT, LARGEST_EXTENT - 1, LARGEST_EXTENT)
    sizes = {
        index.name: chance.choice(targets if index.name == "t" else others)
        for index in signature.dynamic
    }
    fixed = {i.name: i.extent for i in signature.indices if i.extent is not None}
    extents = {**fixed, **sizes, signature.ragged: total}
    layouts = _layouts(program, extents, chance)
    seed = chance.getrandbits(32)
    given = make_inputs(program.kernel, rows, sizes, Mode.EXACT, seed, layouts, spare)
    poison_maps(given)
    return given


def _scatters_once(kernel: MoeKernel) -> bool:
    """Whether rows go to places of which each can take one only."""
    stores = [op for op in kernel.body if isinstance(op, Store) and not op.accumulate]
    return any(coordinate.via for op in stores for coordinate in op.access.coordinates)


def _rows(program: Program, chance: random.Random) -> list[int]:
    """Rows per expert: edges of the schedule's heights, all of them one's, few."""
    schedule = program.schedule
    heights = (*schedule.heights, schedule.fuse_rows, schedule.tile.depth)
    edges = [max(0, height + more) for height in heights for more in (-1, 0, 1)]
    experts = program.kernel.signature.expert_count
    rows = [chance.choice((0, 1, 2, chance.choice(edges))) for _ in range(experts)]
    if chance.random() < 0.2:
        rows = [0] * experts
        rows[chance.randrange(experts)] = chance.randint(0, 2 * schedule.tile.rows + 3)
    while sum(rows) > MOST_ROWS:
        rows[rows.index(max(rows))] //= 2
    return rows


def _layouts(
    program: Program, extents: Mapping[str, int], chance: random.Random
) -> dict[str, Layout]:
    """Layouts that allow 16-byte accesses, or for crooked tensors do not."""
    layouts = {}
    for tensor in program.kernel.signature.tensors:
        if tensor.name in program.crooked:
            order = chance.sample(range(len(tensor.dims)), len(tensor.dims))
            padding, gap = chance.choice((0, 1, 8)), chance.choice((1, 1, 2))
            layouts[tensor.name] = Layout(tuple(order), padding, gap, shift=1)
        elif len(tensor.dims) > 1:
            padding = -extents[tensor.dims[-1]] % UNIT + chance.choice((0, UNIT))
            layouts[tensor.name] = Layout(padding=padding)
        elif tensor.dtype is DType.I32:
            layouts[tensor.name] = Layout(gap=chance.choice((1, 3)))
    return layouts


def campaign(
    seed: int, launches: int, seconds: float, processes: int, specialised: bool = False
) -> Tally:
    """All parts, or those of specialised warps, spread over ``processes``."""
    runtime_program()
    until = time.monotonic() + seconds
    sizes = [min(PART, launches - first) for first in range(0, launches, PART)]
    kinds = [n for n, kind in enumerate(KINDS) if kind[1] or not specialised]
    numbers = [i // len(kinds) * len(KINDS) + kinds[i % len(kinds)] for i in range(len(sizes))]
    tally = Tally()
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(run_part, [seed] * len(sizes), numbers, sizes, [until] * len(sizes)):
            tally.add(part)
            for finding in part.findings:
                print(finding, flush=True)
    return tally


def main(arguments: Sequence[str]) -> int:
    """Print what was run and found; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--specialised", action="store_true", help="specialised warps alone")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    tally = campaign(given.seed, given.launches, given.seconds, given.processes, given.specialised)
    took = time.monotonic() - began
    print(
        f"{tally.launches} checked launches of {tally.kernels} kernels, {len(tally.findings)} "
        f"findings, {took:.0f} s, {60 * tally.launches / took:.0f} launches a minute"
    )
    print(", ".join(f"{word} {count}" for word, count in tally.features.most_common()))
    return int(bool(tally.findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
