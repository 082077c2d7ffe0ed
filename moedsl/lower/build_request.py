"""Schedule blocks → schedule requests: headings and conditions.

Whether a schedule is possible on a target is another question, answered by
:mod:`moedsl.lower.check_schedule` once every decision is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import Comparison, ScheduleRequest
from moedsl.lower.directives import LARGEST, Directives
from moedsl.lower.roles import Roles
from moedsl.source import syntax
from moedsl.source.diagnostic import Diagnostic, Label
from moedsl.source.reporter import Reporter
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.ir.moe import MoeKernel
    from moedsl.source.span import Source


def build_requests(
    file: syntax.File, kernels: Iterable[MoeKernel], source: Source
) -> tuple[tuple[ScheduleRequest, ...], list[Diagnostic]]:
    """The schedules of ``file`` for ``kernels``, and everything wrong in any schedule."""
    report = Reporter(source)
    roles = {kernel.signature.name: Roles.of(kernel) for kernel in kernels}
    declared = {
        block.name.text
        for block in file.blocks
        if isinstance(block, syntax.Kernel) and isinstance(block.name, syntax.Name)
    }
    requests: list[ScheduleRequest] = []
    for block in file.blocks:
        if not isinstance(block, syntax.Schedule):
            continue
        heading = block.heading
        reader = Directives(report, None)
        if isinstance(heading, syntax.Heading):
            if heading.kernel.text not in declared and not file.broken:
                report.error(
                    "MOE0310",
                    f"there is no kernel called `{clip(heading.kernel.text)}` in this file",
                    heading.kernel.span,
                    "no such kernel",
                    help=did_you_mean(heading.kernel.text, declared),
                )
            reader = Directives(report, roles.get(heading.kernel.text))
            when = _conditions(report, heading)
        reader.read(block)
        if not isinstance(heading, syntax.Heading) or heading.kernel.text not in roles:
            continue
        request = ScheduleRequest(
            name=heading.name.text,
            kernel=heading.kernel.text,
            on=heading.on.text if heading.on else None,
            when=when,
            given=reader.given,
            spans=reader.spans,
            span=heading.span,
            source=source,
        )
        _compare(report, requests, request, heading)
        requests.append(request)
    return tuple(requests), report.diagnostics


def _compare(
    report: Reporter,
    earlier: list[ScheduleRequest],
    request: ScheduleRequest,
    heading: syntax.Heading,
) -> None:
    """Whether another has this name, or leaves nothing to this one."""
    for other in earlier:
        if other.kernel != request.kernel:
            continue
        if other.name == request.name:
            report.error(
                "MOE0314",
                f"`{clip(request.kernel)}` has two schedules called `{clip(request.name)}`",
                heading.name.span,
                "defined again",
                labels=(Label(other.span, "first defined here"),),
            )
            return
        if other.on == request.on and not other.when:
            report.warning(
                "MOE0319",
                f"the schedule `{clip(request.name)}` is never chosen",
                heading.name.span,
                f"`{clip(other.name)}` before it takes every call",
                help="give the earlier one a condition, or put it last",
            )
            return


def _conditions(report: Reporter, heading: syntax.Heading) -> tuple[Comparison, ...]:
    if heading.on is not None and heading.on.text not in TARGETS:
        report.error(
            "MOE0311",
            f"there is no target `{clip(heading.on.text)}`",
            heading.on.span,
            "not a target",
            notes=(f"the targets are {', '.join(TARGETS)}",),
            help=did_you_mean(heading.on.text, TARGETS),
        )
    comparisons: list[Comparison] = []
    low, high = 0, LARGEST
    for bound in heading.when:
        value = bound.bound.value
        if bound.variable.text != "rows":
            report.error(
                "MOE0312",
                f"a schedule cannot depend on `{clip(bound.variable.text)}`",
                bound.variable.span,
                "expected `rows`",
                notes=("`rows` is the number of rows of all experts in a call",),
            )
            continue
        if not isinstance(value, int) or value > LARGEST:
            report.error(
                "MOE0307",
                f"rows are counted in whole numbers up to {LARGEST}",
                bound.bound.span,
                "expected such a number",
            )
            continue
        comparisons.append(Comparison(bound.operator, value))
        low = max(low, {">": value + 1, ">=": value, "==": value}.get(bound.operator, 0))
        high = min(high, {"<": value - 1, "<=": value, "==": value}.get(bound.operator, LARGEST))
    if low > high:
        report.error(
            "MOE0313",
            "no number of rows meets these conditions",
            heading.when[0].span.to(heading.when[-1].span),
            f"at least {low} and at most {high}",
        )
    return tuple(comparisons)
