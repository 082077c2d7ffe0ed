"""The passes, in order, and how they are run.

A pass takes a verified kernel of one level to a verified kernel of the same or the next level.
The verifier runs between all passes; looking at the IR is an observer's business, never a pass's.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moedsl.ir.module import Module, ScheduledKernel
from moedsl.ir.tile import TileKernel
from moedsl.ir.verify import verify_module
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule, find_waste
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.drop_unused import drop_unused
from moedsl.lower.fold_constants import fold_constants
from moedsl.lower.share_values import share_values
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity
from moedsl.target import DEFAULT_TARGET, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule, ScheduleRequest
    from moedsl.target import Target

    Observer = Callable[[int, str, Module], None]
    """Called with the number, the name and the result of every pass; 0 and ``input`` first."""

DUMP = "MOEDSL_DUMP"
"""Environment variable: a folder into which every pass's result is written."""

RECENT: deque[tuple[str, Module]] = deque(maxlen=64)
"""What passes have lately left, newest last and unverified, with their names; for crash reports."""

UNKNOWN_PASS, WRONG_LEVEL = "MOE0706", "MOE0707"


@dataclass(frozen=True)
class Options:
    """What passes need besides the kernel.

    ``requests`` holds the ``schedule`` block of each kernel that has one, by the kernel's name;
    ``others`` the kernel's further blocks that calls on this target may take. ``schedule``, if
    given, is taken as it is instead of the compiler's choice. ``rows`` is the number of rows in
    all that is typical of a call. ``report`` takes warnings.
    """

    target: Target = DEFAULT_TARGET
    requests: Mapping[str, ScheduleRequest] = field(default_factory=dict)
    others: Mapping[str, Sequence[ScheduleRequest]] = field(default_factory=dict)
    schedule: Schedule | None = None
    rows: int | None = None
    report: Callable[[Diagnostic], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Pass:
    """A named step from kernels of level ``reads`` to kernels of level ``makes``."""

    name: str
    reads: str
    makes: str
    summary: str
    run: Callable[[Any, Options], Any]


def _choose(kernel: MoeKernel, options: Options) -> ScheduledKernel:
    request = options.requests.get(kernel.signature.name)
    schedule = options.schedule
    if schedule is None:
        schedule = choose_schedule(kernel, options.target, request, options.rows)
    target = options.target.sm
    return ScheduledKernel(kernel.signature, target, schedule, kernel.body, kernel.source)


def _check(kernel: ScheduledKernel, options: Options) -> ScheduledKernel:
    name, target = kernel.signature.name, TARGETS[kernel.target]
    request, others = options.requests.get(name), options.others.get(name, ())
    found = check_schedule(kernel.kernel, kernel.schedule, request, target, others)
    if any(diagnostic.severity is Severity.ERROR for diagnostic in found):
        raise DiagnosticError(found)
    if request:
        found += find_waste(kernel.kernel, kernel.schedule, request, target, options.rows)
    for diagnostic in found:
        options.report(diagnostic)
    return kernel


def _build(kernel: ScheduledKernel, _: Options) -> TileKernel:
    return build_tile(kernel.kernel, kernel.schedule, TARGETS[kernel.target])


PASSES = (
    Pass(
        "fold_constants",
        "moe",
        "moe",
        "compute at compile time what depends on constants alone",
        lambda kernel, _: fold_constants(kernel),
    ),
    Pass(
        "share_values",
        "moe",
        "moe",
        "compute equal values once",
        lambda kernel, _: share_values(kernel),
    ),
    Pass(
        "drop_unused",
        "moe",
        "moe",
        "drop what no output depends on",
        lambda kernel, _: drop_unused(kernel),
    ),
    Pass(
        "choose_schedule",
        "moe",
        "scheduled",
        "decide what the schedule block leaves open",
        _choose,
    ),
    Pass(
        "check_schedule",
        "scheduled",
        "scheduled",
        "refuse schedules that are illegal on the target",
        _check,
    ),
    Pass(
        "build_tile",
        "scheduled",
        "tile",
        "say what one tile computes; contractions that share rows become one multiplication",
        _build,
    ),
)
"""From checked program to tile IR, in order. Backends go on from there with their own."""


def lower_kernel(
    kernel: MoeKernel, options: Options, observer: Observer | None = None
) -> TileKernel:
    """``kernel`` through all passes. Raises DiagnosticError where its schedule is illegal."""
    module = Module("moe", (kernel,), kernel.source)
    (lowered,) = run_passes(module, [p.name for p in PASSES], options, observer).kernels
    assert isinstance(lowered, TileKernel)
    return lowered


def run_passes(
    module: Module,
    names: Sequence[str],
    options: Options,
    observer: Observer | None = None,
    passes: Sequence[Pass] = PASSES,
) -> Module:
    """``module`` after the passes called ``names``, in that order; verified before and after each.

    ``passes`` are the known ones: ``(*PASSES, *backend.passes)`` for more. With ``MOEDSL_DUMP``
    set, every result is written there as well. Raises DiagnosticError for unknown names
    (MOE0706), a pass that does not read the level it meets (MOE0707) and what the passes find;
    BrokenIRError where a pass has a bug.
    """
    steps = find_passes(names, passes)
    observers = [one for one in (observer, _environment_observer()) if one is not None]
    RECENT.append(("input", module))
    verify_module(module, "input")
    for watch in observers:
        watch(0, "input", module)
    for number, step in enumerate(steps, 1):
        if step.reads != module.level:
            raise DiagnosticError([_wrong_level(step, module, passes)])
        kernels = tuple(step.run(kernel, options) for kernel in module.kernels)
        module = replace(module, level=step.makes, kernels=kernels)
        RECENT.append((step.name, module))
        verify_module(module, step.name)
        for watch in observers:
            watch(number, step.name, module)
    return module


def find_passes(names: Sequence[str], passes: Sequence[Pass] = PASSES) -> list[Pass]:
    """The passes called ``names``; raises DiagnosticError (MOE0706) for those there are not."""
    known = {one.name: one for one in passes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DiagnosticError(_unknown(name, list(known)) for name in unknown)
    return [known[name] for name in names]


def _unknown(name: str, known: list[str]) -> Diagnostic:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return Diagnostic(
        UNKNOWN_PASS,
        f"there is no pass `{name}`",
        notes=(f"the passes are {', '.join(known)}",),
        help=f"did you mean `{close[0]}`?" if close else "",
    )


def _wrong_level(step: Pass, module: Module, passes: Sequence[Pass]) -> Diagnostic:
    ways = [p.name for p in passes if (p.reads, p.makes) == (module.level, step.reads)]
    return Diagnostic(
        WRONG_LEVEL,
        f"pass `{step.name}` reads {step.reads} IR, but the module is {module.level} IR",
        module.source,
        help=f"run {' or '.join(f'`{way}`' for way in ways)} before it" if ways else "",
    )


def print_after(names: Collection[str], write: Callable[[str], object]) -> Observer:
    """An observer that writes the IR after each of ``names`` as parseable text (``all``: every)."""

    def observe(_: int, name: str, module: Module) -> None:
        if "all" in names or name in names:
            from moedsl.ir.text import print_module

            write(f"// IR after {name}\n{print_module(module)}")

    return observe


_runs = count()


def dump_into(folder: Path) -> Observer:
    """An observer that writes ``RUN_kernels_STEP_pass.mir`` files, numbered within the process.

    It raises DiagnosticError (MOE0609) where they cannot be written.
    """
    from moedsl.ir.text import print_module

    run = next(_runs)

    def observe(number: int, name: str, module: Module) -> None:
        kernels = "_".join(kernel.signature.name for kernel in module.kernels)
        safe = re.sub(r"\W", "_", kernels)[:80]
        file = folder / f"{run:03}_{safe}_{number:02}_{name}.mir"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(print_module(module), encoding="utf-8")
        except OSError as error:
            message = f"cannot write '{file}': {error.strerror}"
            raise DiagnosticError([Diagnostic("MOE0609", message)]) from error

    return observe


def _environment_observer() -> Observer | None:
    folder = os.environ.get(DUMP)
    return dump_into(Path(folder)) if folder else None
