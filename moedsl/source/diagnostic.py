"""The one way moedsl tells a user that something is wrong.

A diagnostic has a stable code, one primary span, and says what was expected. Every code is
declared in :mod:`moedsl.source.codes`, where ``moedsl explain-code`` finds its explanation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.source.span import Source, Span


class Severity(StrEnum):
    """How bad it is: an error stops compilation, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Label:
    """A secondary place that explains the primary one."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about one source.

    ``message`` is terse and says what is wrong; ``label`` stands under the carets and says what
    was expected or found; ``labels`` point at related places; ``notes`` add facts and numbers;
    ``help`` says what to do. ``span`` is None only for findings about no particular place.
    """

    code: str
    message: str
    source: Source | None = None
    span: Span | None = None
    label: str = ""
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = ""
        if self.source is not None:
            where = f"{self.source.name}:"
            if self.span is not None:
                line, column = self.source.position(self.span.start)
                where += f"{line}:{column}:"
        return f"{where} {self.severity}: {self.message} [{self.code}]".lstrip()


class DiagnosticError(Exception):
    """Raised with every diagnostic of a failed step; holds at least one error."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


class UnavailableError(Exception):
    """What was asked needs something this machine lacks (a GPU, NVRTC, a compiler): exit code 3.

    ``help`` says how to get it.
    """

    def __init__(self, message: str, help: str = "") -> None:
        self.message, self.help = message, help
        super().__init__(message)
