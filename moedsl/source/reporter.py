"""Collects the diagnostics of one source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.source.diagnostic import Diagnostic, Label, Severity

if TYPE_CHECKING:
    from moedsl.source.span import Source, Span


class Reporter:
    """Reports findings in ``source``; the arguments are fields of :class:`Diagnostic`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        labels: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        help: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add one finding."""
        self.diagnostics.append(
            Diagnostic(code, message, self.source, span, label, labels, notes, help, severity)
        )

    def warning(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        """Add one finding that stops nothing."""
        self.error(code, message, span, label, help=help, severity=Severity.WARNING)
