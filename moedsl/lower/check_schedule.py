"""Refuse schedules that are illegal on a target, before any code is made; warn of wasteful ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.lower.rules import GROUPS, WASTE, Case
from moedsl.source.diagnostic import Diagnostic, Label, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule, ScheduleRequest
    from moedsl.lower.rules.case import Finding, Rule
    from moedsl.source.span import Span
    from moedsl.target import Target


def check_schedule(
    kernel: MoeKernel,
    schedule: Schedule,
    request: ScheduleRequest | None,
    target: Target,
    others: Sequence[ScheduleRequest] = (),
) -> list[Diagnostic]:
    """Every legality rule (MOE04xx) that ``schedule`` breaks for ``kernel`` on ``target``.

    Diagnostics point at the directive that ``request`` wrote, else at the whole schedule, else
    at the kernel. ``others`` are the kernel's other schedules that calls on this target may
    take. A directive is refused by its first broken rule only, and demands on the target are
    judged once all else is legal.
    """
    case = Case(kernel, schedule, target, request, tuple(others))
    for group in GROUPS:
        found = list(_apply(case, group))
        if found:
            return found
    return []


def find_waste(
    kernel: MoeKernel,
    schedule: Schedule,
    request: ScheduleRequest,
    target: Target,
    rows: int | None = None,
) -> list[Diagnostic]:
    """Warnings (MOE044x) where the legal ``schedule`` that ``request`` led to gives speed away.

    ``rows`` is the typical number of rows in all, None if nobody knows.
    """
    case = Case(kernel, schedule, target, request, rows=rows)
    return [replace(found, severity=Severity.WARNING) for found in _apply(case, WASTE)]


def _apply(case: Case, rules: tuple[tuple[str, Rule], ...]) -> Iterator[Diagnostic]:
    refused: set[str] = set()
    for code, rule in rules:
        for finding in rule(case):
            directive = finding.directives[0] if finding.directives else code
            # Every promise of one `require` stands for itself.
            if directive not in refused or directive == "require":
                refused.add(directive)
                yield _diagnostic(case, code, finding)


def _diagnostic(case: Case, code: str, finding: Finding) -> Diagnostic:
    request, signature = case.request, case.kernel.signature
    source = case.kernel.source
    span: Span = signature.span
    written: list[Span] = []
    if request is not None:
        source = request.source or source
        written = [request.spans[name] for name in finding.directives if name in request.spans]
        span = written[0] if written else request.span
    labels = [Label(where, "together with this") for where in dict.fromkeys(written[1:])]
    if finding.span is not None:
        labels.append(Label(finding.span, "here"))
    notes = finding.notes
    if request is None:
        notes += ("no schedule block was used: compiler or caller chose this one",)
    return Diagnostic(
        code,
        finding.message,
        source,
        span,
        finding.label,
        tuple(label for label in labels if label.span != span),
        notes,
        finding.help,
    )
