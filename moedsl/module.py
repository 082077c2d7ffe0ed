"""Loading ``.moe`` programs from Python."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backend import find_backend
from moedsl.ir.schedule import Schedule
from moedsl.kernel import CompiledKernel
from moedsl.lower.front import load_program
from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.read import read_source
from moedsl.source.span import Source
from moedsl.target import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from moedsl.ir.moe import MoeKernel, Signature
    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.lower.front import Program

_TEXT = re.compile(r"\n|^\s*(kernel|schedule)\b|\bkernel\s+\w+\s*\{")


def load(source: str | PathLike[str], /, **params: float) -> Module:
    """The program of a ``.moe`` file, or of a text: a ``str`` with a line break or a kernel in it.

    ``params`` replace the values of the program's ``param`` statements. Raises DiagnosticError
    with everything that is wrong with the program or the parameters, as ``moedsl check`` says it.
    """
    if isinstance(source, str) and _TEXT.search(source):
        text = Source("<text>", source)
    else:
        text = read_source(Path(source))
    return Module(text, params)


class Module:
    """The kernels and schedules of one text."""

    def __init__(self, source: Source, params: Mapping[str, int | float]) -> None:
        self.source, self.params = source, dict(params)
        self._program = load_program(source, self.params)
        for diagnostic in self._program.diagnostics:
            warnings.warn(str(diagnostic), stacklevel=3)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels, in the order of the text."""
        return tuple(kernel.signature.name for kernel in self._program.kernels)

    def kernel(self, name: str | None = None) -> Kernel:
        """The kernel called ``name``, which may be left out if there is one.

        Raises DiagnosticError: MOE0602 no such kernel, MOE0603 several and no name.
        """
        found = dict(zip(self.kernels, self._program.kernels, strict=True))
        if name is None and len(found) != 1:
            names = ", ".join(found) or "none"
            raise _wrong("MOE0603", f"which kernel? There are: {names}", self.source)
        name = name or next(iter(found))
        if name not in found:
            raise _unknown("MOE0602", "kernel", name, found, self.source)
        return Kernel(self, found[name], self._program)


@dataclass(frozen=True)
class Kernel:
    """One kernel of a module, not yet compiled."""

    module: Module
    meaning: MoeKernel
    _program: Program

    @property
    def name(self) -> str:
        """Its name in the text."""
        return self.signature.name

    @property
    def signature(self) -> Signature:
        """Its indices and tensors."""
        return self.meaning.signature

    @cached_property
    def schedules(self) -> Mapping[str, ScheduleRequest]:
        """Its schedules by name, in the order of the text."""
        return {r.name: r for r in self._program.requests if r.kernel == self.name}

    def compile(
        self,
        target: str | Target | None = None,
        schedule: str | Schedule | None = None,
        backend: str | None = None,
        *,
        debug: bool = False,
    ) -> CompiledKernel:
        """The kernel for ``target`` (``sm_90a``; None: this machine's GPU, else the default one).

        ``schedule`` is the name of one of its schedules, the text of a ``schedule`` block for it,
        or a complete one; it then holds for any number of rows. None leaves the choice to each
        call: among the kernel's schedules for the target, the most specific ``on`` first, then
        the first in the text whose ``when`` holds; the compiler's own if there is none.
        ``backend`` is one by name; None lets each call's arrays decide, on the host or on a GPU.
        ``debug`` (or ``MOEDSL_DEBUG=1``) checks also what ``offs`` and maps hold on the device,
        which waits for it. Machine code is made when it is first needed.

        Raises DiagnosticError: MOE0604 no such schedule, MOE0605 no such target, MOE0606 a
        schedule for another target, MOE0611 no such backend, and what is wrong with the text or
        illegal about the schedule.
        """
        if backend is not None:
            find_backend(backend)
        complete = None
        requests = tuple(self.schedules.values())
        if isinstance(schedule, Schedule):
            complete, requests = schedule, ()
        elif schedule is not None:
            request = self._request(schedule)
            requests = (replace(request, when=()),)
        compiled = CompiledKernel(
            self.meaning,
            requests,
            schedule=complete,
            target=self._target(target),
            backend=backend,
            debug=debug,
        )
        if schedule is not None:
            self._check_on(requests, compiled.target)
            compiled.tile_kernel()
        return compiled

    def _request(self, schedule: str) -> ScheduleRequest:
        if "{" not in schedule:
            if schedule not in self.schedules:
                source = self.module.source
                raise _unknown("MOE0604", "schedule", schedule, self.schedules, source)
            return self.schedules[schedule]
        source = Source("<schedule>", f"{self.module.source.text}\n{schedule}")
        program = load_program(source, self.module.params)
        requests = [r for r in program.requests if r.kernel == self.name]
        if len(requests) == len(self.schedules):
            raise _wrong("MOE0604", f"the text holds no schedule for '{self.name}'", source)
        return requests[-1]

    def _target(self, target: str | Target | None) -> Target | None:
        if target is None or isinstance(target, Target):
            return target
        if target not in TARGETS:
            raise _unknown("MOE0605", "target", target, TARGETS, None)
        return TARGETS[target]

    def _check_on(self, requests: Iterable[ScheduleRequest], target: Target) -> None:
        for request in requests:
            if request.on is not None and not target.schedule_covers(request.on):
                raise _wrong(
                    "MOE0606",
                    f"schedule '{request.name}' is for {request.on}, not for {target.sm}",
                    request.source,
                    help=f"compile(target='{request.on}')",
                )


def _unknown(
    code: str, kind: str, name: str, known: Iterable[str], source: Source | None
) -> DiagnosticError:
    near = get_close_matches(name, list(known), n=1)
    help = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
    return _wrong(code, f"there is no {kind} '{name}'", source, help=help)


def _wrong(code: str, message: str, source: Source | None, help: str = "") -> DiagnosticError:
    return DiagnosticError([Diagnostic(code, message, source, help=help)])
