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
    from collections.abc import Callable, Iterable

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


def choose(arguments: argparse.Namespace, console: Console, target: Target) -> Choice:
    """What ``FILE --kernel --set --schedule`` mean on ``target``; warnings go to the console.

    Raises DiagnosticError for a file with errors and for names that do not exist.
    """
    source = read_file(arguments.file)
    program = load_program(source, dict(arguments.settings))
    console.report(program.diagnostics)
    kernel = choose_kernel(program, arguments.kernel, source)
    own = [r for r in program.requests if r.kernel == kernel.signature.name]
    if arguments.schedule is None:
        return Choice(kernel, applicable(own, target), target)
    request = _named(source, own, arguments.schedule)
    if request.on is not None and not target.schedule_covers(request.on):
        raise wrong(
            "MOE0606",
            f"schedule '{request.name}' is for {request.on}, not for {target.sm}",
            source,
            help=f"compile with --target {request.on}",
        )
    # Who names a schedule wants it whatever its bounds say.
    return Choice(kernel, (replace(request, when=()),), target)


def choose_kernel(program: Program, name: str | None, source: Source | None = None) -> MoeKernel:
    """The kernel called ``name``, which may be None if there is one; MOE0602 and MOE0603."""
    found = {kernel.signature.name: kernel for kernel in program.kernels}
    listing = (f"kernels: {', '.join(found)}",) if found else ()
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name in found:
        return found[name]
    if name is None:
        many = f"the file has {len(found)} kernels" if found else "the file has no kernel"
        help = "choose one with --kernel NAME" if found else ""
        raise wrong("MOE0603", many, source, notes=listing, help=help)
    message = f"there is no kernel '{name}'{guess(name, found)}"
    raise wrong("MOE0602", message, source, notes=listing)


def _named(source: Source, requests: Iterable[ScheduleRequest], name: str) -> ScheduleRequest:
    found = {request.name: request for request in requests}
    if name in found:
        return found[name]
    listing = ", ".join(found) or "none"
    raise wrong(
        "MOE0604",
        f"there is no schedule '{name}'{guess(name, found)}",
        source,
        notes=(f"schedules of this kernel: {listing}",),
    )
