"""From a command's arguments to a kernel, its schedules and the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moedsl.cli.given import guess, read_file, wrong
from moedsl.dispatch import applicable, pick, typical_rows
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from moedsl.cli.console import Console
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.ir.tile import TileKernel
    from moedsl.lower.front import Program
    from moedsl.lower.pipeline import Observer
    from moedsl.source.diagnostic import Diagnostic
    from moedsl.source.span import Source
    from moedsl.target import Target


@dataclass(frozen=True)
class Choice:
    """A kernel, the schedules that calls on ``target`` may take, best first, and the target."""

    kernel: MoeKernel
    requests: tuple[ScheduleRequest, ...]
    target: Target

    def lower(
        self,
        rows: int | None,
        report: Callable[[Diagnostic], None],
        observer: Observer | None = None,
    ) -> TileKernel:
        """The kernel as calls with ``rows`` rows in all get it, through all passes."""
        name, experts = self.kernel.signature.name, self.kernel.signature.expert_count
        request = pick(self.requests, rows)
        others = [other for other in self.requests if other is not request]
        options = Options(
            target=self.target,
            requests={name: request} if request else {},
            others={name: others},
            rows=None if rows is None else typical_rows(rows, experts),
            report=report,
        )
        return lower_kernel(self.kernel, options, observer)


def choose(arguments: argparse.Namespace, console: Console, target: Target) -> list[Choice]:
    """What ``FILE --kernel --set --schedule`` mean on ``target``; warnings go to the console.

    All kernels of the file, but with ``--kernel`` that one, with ``--schedule`` those that have it.
    Raises DiagnosticError for a file with errors and for names that do not exist.
    """
    source = read_file(arguments.file)
    program = load_program(source, dict(arguments.settings))
    console.report(program.diagnostics)
    kernels = {k.signature.name: k for k in choose_kernels(program, arguments.kernel, source)}
    requests = [request for request in program.requests if request.kernel in kernels]
    if arguments.schedule is None:
        own = {name: [r for r in requests if r.kernel == name] for name in kernels}
        return [Choice(kernels[name], applicable(own[name], target), target) for name in kernels]
    named = _named(source, requests, arguments.schedule)
    for request in named:
        if request.on is not None and not target.schedule_covers(request.on):
            raise wrong(
                "MOE0606",
                f"schedule '{request.name}' is for {request.on}, not for {target.sm}",
                source,
                help=f"compile with --target {request.on}",
            )
    # Who names a schedule wants it whatever its bounds say.
    return [Choice(kernels[r.kernel], (replace(r, when=()),), target) for r in named]


def choose_kernels(program: Program, name: str | None, source: Source) -> Sequence[MoeKernel]:
    """The kernel called ``name``, all for None; MOE0602 no such kernel, MOE0603 none at all."""
    if not program.kernels:
        raise wrong("MOE0603", "the file has no kernel", source)
    if name is None:
        return program.kernels
    found = {kernel.signature.name: kernel for kernel in program.kernels}
    if name in found:
        return (found[name],)
    message = f"there is no kernel '{name}'{guess(name, found)}"
    raise wrong("MOE0602", message, source, notes=(f"kernels: {', '.join(found)}",))


def _named(source: Source, requests: Sequence[ScheduleRequest], name: str) -> list[ScheduleRequest]:
    """The schedules called ``name``, at most one a kernel; MOE0604 if there is none."""
    if found := [request for request in requests if request.name == name]:
        return found
    known = {request.name: None for request in requests}
    raise wrong(
        "MOE0604",
        f"there is no schedule '{name}'{guess(name, known)}",
        source,
        notes=(f"schedules: {', '.join(known) or 'none'}",),
    )
