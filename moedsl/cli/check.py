"""``moedsl check``: everything wrong with a file, its schedules' legality included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.cli.given import named_target, read_file
from moedsl.cli.options import add_file, add_settings
from moedsl.lower.front import check_program
from moedsl.source.diagnostic import DiagnosticError, Severity
from moedsl.target import DEFAULT_TARGET, TARGETS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moedsl.cli.console import Console
    from moedsl.lower.front import Program
    from moedsl.source.diagnostic import Diagnostic
    from moedsl.target import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, params and the target of schedules that name none."""
    add_file(parser)
    add_settings(parser)
    parser.add_argument(
        "--target",
        metavar="SM",
        help="check schedules on this architecture (default: each on its own, else sm_90a)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print all findings; 1 if one is an error."""
    target = named_target(arguments.target)
    source = read_file(arguments.file)
    program = check_program(source, dict(arguments.settings))
    found = list(program.diagnostics)
    if program.requests and not program.broken:
        found += _check_schedules(program, target)
    console.report(found, as_result=True)
    console.result(
        file=source.name,
        kernels=[kernel.signature.name for kernel in program.kernels],
        schedules=[request.name for request in program.requests],
    )
    return int(any(finding.severity is Severity.ERROR for finding in found))


def _check_schedules(program: Program, target: Target | None) -> Iterator[Diagnostic]:
    """Legality of every schedule on ``target``, or else on the architecture it is written for."""
    from moedsl.cli.program import Choice

    kernels = {kernel.signature.name: kernel for kernel in program.kernels}
    for request in program.requests:
        on = target or (TARGETS[request.on] if request.on else DEFAULT_TARGET)
        if request.on is not None and not on.schedule_covers(request.on):
            continue
        found: list[Diagnostic] = []
        try:
            Choice(kernels[request.kernel], (request,), on).lower(None, found.append)
        except DiagnosticError as error:
            found += error.diagnostics
        yield from dict.fromkeys(found)
