"""The front end: from a source text to kernels in the ``moe`` dialect and schedule requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.lower.build_moe import build_moe
from moedsl.lower.build_request import build_requests
from moedsl.source.check import check_file, in_order
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity
from moedsl.source.parser import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.source.span import Source


@dataclass(frozen=True)
class Program:
    """A file's kernels and what its schedules ask for, in the order of the text.

    ``diagnostics`` of a loaded program are warnings.
    """

    kernels: tuple[MoeKernel, ...]
    requests: tuple[ScheduleRequest, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def broken(self) -> bool:
        """Whether there is any error."""
        return any(found.severity is Severity.ERROR for found in self.diagnostics)


def check_program(source: Source, overrides: Mapping[str, int | float] | None = None) -> Program:
    """What is sound of ``source``, and everything found in it. Never raises.

    ``overrides`` replace the values of params by name.
    """
    file, syntax_errors = parse(source)
    checked = check_file(file, source, overrides)
    kernels = tuple(build_moe(kernel) for kernel in checked.kernels)
    requests, schedule_errors = build_requests(file, kernels, source)
    found = [*syntax_errors, *checked.diagnostics, *schedule_errors]
    return Program(kernels, requests, in_order(found))


def load_program(source: Source, overrides: Mapping[str, int | float] | None = None) -> Program:
    """``source`` as a program; raises DiagnosticError with everything found if any is an error."""
    program = check_program(source, overrides)
    if program.broken:
        raise DiagnosticError(program.diagnostics)
    return program
