"""Running one case on one backend, and everything that is asked of the result."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from moedsl.backend import PerformanceWarning
from moedsl.inputs import Arguments, make_inputs
from moedsl.ir.schedule import Requirement
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.source.diagnostic import UnavailableError
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.backend import Backend, Call, Executable
    from moedsl.fuzz.case import Batch, Case
    from moedsl.ir.moe import MoeKernel
    from moedsl.subscript import Array


class Place(Protocol):
    """Memory of one kind."""

    def put(self, arguments: Arguments) -> Call:
        """A call with the arguments there, canaries and all."""

    def fetch(self, arguments: Arguments) -> None:
        """Wait, and bring what the call left of its arguments back into ``arguments``."""


class HostPlace:
    """Host memory: the arguments lie there already."""

    def put(self, arguments: Arguments) -> Call:
        """The arguments themselves."""
        return arguments.call()

    def fetch(self, arguments: Arguments) -> None:
        """Nothing to bring."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A backend and the memory it computes in.

    ``fragile``: an exception of the backend spoils the process (a GPU whose context is lost), so
    that no later run says anything.
    """

    backend: Backend
    place: Place
    fragile: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a case. ``crashed``: the backend raised instead of computing."""

    message: str
    batch: int
    crashed: bool = False


TESTS = {
    Mode.EXACT: (Mode.EXACT,),
    Mode.BOUND: (Mode.BOUND,),
    Mode.STATISTICAL: (Mode.STATISTICAL, Mode.BOUND),
}
"""Which tests hold for the data of each."""


def try_case(case: Case, kernel: MoeKernel, runner: Runner) -> Finding | None:
    """Compile and call ``kernel`` as ``case`` says; the first thing wrong, if any.

    Asked are: the tests of design section 6, canaries, inputs and rows of no expert untouched,
    every output element written, the same bits again where the schedule requires determinism, and
    without the other experts' rows where it requires batch invariance. Raises UnavailableError
    where the backend cannot run here, DiagnosticError where the case does not fit the kernel.
    """
    resized = case.resized(kernel)
    options = Options(target=TARGETS[case.target], schedule=case.schedule)
    tile = lower_kernel(resized, options)
    number = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PerformanceWarning)
            with _blamed():
                executable = runner.backend.compile(tile)
            for number, batch in enumerate(case.batches):
                message = _try_batch(case, resized, batch, executable, runner.place)
                if message:
                    return Finding(message, number)
    except _CrashError as crash:
        return Finding(str(crash), number, crashed=True)
    return None


class _CrashError(Exception):
    """A backend raised something."""


@contextmanager
def _blamed() -> Iterator[None]:
    """What is raised here is the backend's fault, unless it says that it cannot run at all."""
    try:
        yield
    except UnavailableError:
        raise
    except Exception as error:  # whatever a backend under test raises is a finding
        raise _CrashError(f"{type(error).__name__}: {error}") from error


def _try_batch(
    case: Case, kernel: MoeKernel, batch: Batch, executable: Executable, place: Place
) -> str:
    arguments = make_inputs(
        kernel, batch.rows, batch.sizes, batch.mode, batch.seed, batch.layouts, batch.spare_rows
    )
    _launch(executable, arguments, place)
    if message := arguments.trespass():
        return message
    for mode in TESTS[batch.mode]:
        verdict = check_outputs(
            kernel,
            arguments.inputs,
            arguments.outputs,
            arguments.initial_outputs,
            arguments.ends,
            mode,
        )
        if not verdict.passed:
            return verdict.message
    message = ""
    if Requirement.DETERMINISTIC in case.schedule.require:
        message = _repeat(arguments, executable, place)
    if not message and Requirement.BATCH_INVARIANT in case.schedule.require and any(batch.rows):
        message = _alone(kernel, batch, arguments, executable, place)
    return message


def _launch(executable: Executable, arguments: Arguments, place: Place) -> None:
    with _blamed():
        call = place.put(arguments)
        executable.prepare(call)
        executable.launch(call)
        place.fetch(arguments)


def _repeat(arguments: Arguments, executable: Executable, place: Place) -> str:
    """Compute once more; what differs, in words."""
    before = {name: _bits(array) for name, array in arguments.outputs.items()}
    arguments.reset()
    _launch(executable, arguments, place)
    for name, array in arguments.outputs.items():
        changed = np.argwhere(_bits(array) != before[name])
        if len(changed):
            position = ", ".join(map(str, changed[0]))
            return f"{name}[{position}] has other bits when computed again"
    return ""


def _alone(
    kernel: MoeKernel, batch: Batch, arguments: Arguments, executable: Executable, place: Place
) -> str:
    """Compute the busiest expert's rows without the others'; what differs, in words."""
    most = max(batch.rows)
    expert = batch.rows.index(most)
    last = arguments.ends[expert]
    rows = tuple(most if e == expert else 0 for e in range(len(batch.rows)))
    alone = make_inputs(kernel, rows, batch.sizes, batch.mode, batch.seed, batch.layouts)

    def theirs(name: str, array: Array) -> Array:
        dims = kernel.signature.tensor(name).dims
        own = slice(last - most, last)
        return array[tuple(own if d == kernel.signature.ragged else slice(None) for d in dims)]

    for name, array in (*alone.inputs.items(), *alone.outputs.items()):
        array[...] = theirs(name, arguments.tensors[name].initial)
    _launch(executable, alone, place)
    for name, array in alone.outputs.items():
        if kernel.signature.ragged in kernel.signature.tensor(name).dims:
            changed = np.argwhere(_bits(array) != _bits(theirs(name, arguments.outputs[name])))
            if len(changed):
                position = ", ".join(map(str, changed[0]))
                return f"{name}[{position}] of expert {expert} has other bits without other experts"
    return ""


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
