"""From a command's arguments to a kernel, its schedules and the target."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from moedsl.cli.options import settings
from moedsl.dispatch import applicable, pick, typical_rows
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.span import Source
from moedsl.target import TARGETS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from moedsl.cli.console import Console
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.ir.tile import TileKernel
    from moedsl.lower.pipeline import Observer
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
    source = read_source(arguments.file)
    program = load_program(source, settings(arguments.settings))
    console.report(program.warnings)
    kernel = _choose_kernel(source, program.kernels, arguments.kernel)
    own = [r for r in program.schedules if r.kernel == kernel.signature.name]
    if arguments.schedule is None:
        return Choice(kernel, applicable(own, target), target)
    request = _named(source, own, arguments.schedule)
    if request.on is not None and not target.schedule_covers(request.on):
        raise _wrong(
            "MOE0606",
            f"schedule '{request.name}' is for {request.on}, not for {target.sm}",
            source,
            help=f"compile with --target {request.on}",
        )
    # Who names a schedule wants it whatever its bounds say.
    return Choice(kernel, (replace(request, when=()),), target)


def read_source(file: str) -> Source:
    """The text of ``file``, or of standard input for ``-``; MOE0601 if it cannot be read."""
    from pathlib import Path

    from moedsl.source.parser import decode

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise _wrong("MOE0601", f"cannot read '{file}': {reason}") from error
    return decode("<stdin>" if file == "-" else file, data)


def named_target(name: str | None) -> Target | None:
    """The target called ``name``; MOE0605 if there is none."""
    if name is None:
        return None
    if name not in TARGETS:
        raise _wrong(
            "MOE0605",
            f"there is no target '{name}'{_guess(name, TARGETS)}",
            notes=(f"targets: {', '.join(TARGETS)}",),
        )
    return TARGETS[name]


def _choose_kernel(source: Source, kernels: Iterable[MoeKernel], name: str | None) -> MoeKernel:
    found = {kernel.signature.name: kernel for kernel in kernels}
    listing = (f"kernels: {', '.join(found)}",) if found else ()
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name in found:
        return found[name]
    if name is None:
        many = f"the file has {len(found)} kernels" if found else "the file has no kernel"
        help = "choose one with --kernel NAME" if found else ""
        raise _wrong("MOE0603", many, source, notes=listing, help=help)
    raise _wrong(
        "MOE0602", f"there is no kernel '{name}'{_guess(name, found)}", source, notes=listing
    )


def _named(source: Source, requests: Iterable[ScheduleRequest], name: str) -> ScheduleRequest:
    found = {request.name: request for request in requests}
    if name in found:
        return found[name]
    listing = ", ".join(found) or "none"
    raise _wrong(
        "MOE0604",
        f"there is no schedule '{name}'{_guess(name, found)}",
        source,
        notes=(f"schedules of this kernel: {listing}",),
    )


def _guess(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _wrong(
    code: str,
    message: str,
    source: Source | None = None,
    *,
    notes: tuple[str, ...] = (),
    help: str = "",
) -> DiagnosticError:
    return DiagnosticError([Diagnostic(code, message, source, notes=notes, help=help)])
