"""Hunting for a failing case, making it small, writing it down."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moedsl.fuzz.case import read_case, to_json, to_token
from moedsl.fuzz.shrink import shrink
from moedsl.fuzz.trial import Finding, Runner, try_case
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity
from moedsl.target import DEFAULT_TARGET, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from moedsl.fuzz.case import Case
    from moedsl.ir.moe import MoeKernel
    from moedsl.lower.front import Program

SHRINK_SECONDS = 60.0
"""How long a failing case is made smaller, at most."""

UNREADABLE = "an older or newer moedsl may have written it; delete it if it is of no use"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failing case, as small as it was made, and the backend it fails on."""

    case: Case
    backend: str
    message: str
    entry: Path | None = None

    def command(self, file: str) -> str:
        """The one-line reproduction of a kernel in ``file``."""
        return shlex.join(
            ["moedsl", "fuzz", file, "--backend", self.backend, "--replay", to_token(self.case)]
        )


@dataclass(frozen=True, slots=True)
class FuzzReport:
    """What a hunt came to: ``cases`` compiled and run, with ``calls`` in all, in ``seconds``."""

    cases: int
    calls: int
    seconds: float
    failure: Failure | None


class _StopHunt(BaseException):
    """Ends a hunt from inside; hypothesis lets it through as it does an interrupt."""


@dataclass
class _Hunt:
    """A hunt in progress."""

    kernels: dict[str, MoeKernel]
    runners: Sequence[Runner]
    wanted: int
    until: float
    progress: Callable[[int, int, float], None] | None = None
    shrinks: bool = True
    began: float = field(default_factory=time.monotonic)
    cases: int = 0
    calls: int = 0
    failure: Failure | None = None

    def attempt(self, case: Case) -> None:
        """Try ``case`` everywhere; ends the hunt where it fails or time is up."""
        if time.monotonic() > self.until:
            raise _StopHunt
        for runner in self.runners:
            finding = try_case(case, self.kernels[case.kernel], runner)
            if finding is not None:
                self.failure = self._smallest(case, runner, finding)
                raise _StopHunt
        self.cases += 1
        self.calls += len(case.batches) * len(self.runners)
        if self.progress is not None:
            self.progress(self.cases, self.wanted, time.monotonic() - self.began)

    def _smallest(self, case: Case, runner: Runner, finding: Finding) -> Failure:
        """``finding`` of a case made small, where the runner outlives failures."""
        kernel, until = self.kernels[case.kernel], time.monotonic() + SHRINK_SECONDS
        last = finding

        def fails(smaller: Case) -> bool:
            nonlocal last
            found = try_case(smaller, kernel, runner) if time.monotonic() < until else None
            last = found or last
            return found is not None

        if self.shrinks and not (runner.fragile and finding.crashed):
            case = shrink(case, kernel, fails)
        return Failure(case, runner.backend.name, last.message)


def fuzz(
    program: Program,
    runners: Sequence[Runner],
    *,
    cases: int = 100,
    seconds: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
    corpus: Path | None = None,
    report: Callable[[Diagnostic], None] = lambda _: None,
) -> FuzzReport:
    """Draw ``cases`` cases of the program's kernels and try each on every runner.

    Stops at the first failure, which is made small and written to the folder ``corpus``, or after
    ``seconds``. The folder's earlier failures of these kernels are tried first. ``progress`` is
    told the cases done and wanted and the seconds since the start, ``report`` warnings about
    entries that cannot be read. The same arguments draw the same cases. Raises UnavailableError
    where a backend cannot run here.
    """
    kernels = {kernel.signature.name: kernel for kernel in program.kernels}
    until = float("inf") if seconds is None else time.monotonic() + seconds
    hunt = _Hunt(kernels, runners, cases, until, progress)
    with suppress(_StopHunt):
        for case in _remembered(corpus, kernels, runners, report):
            hunt.attempt(case)
        if kernels:
            _draw(hunt, cases, seed)
    failure = hunt.failure
    if failure is not None and corpus is not None:
        failure = _remember(corpus, failure, kernels[failure.case.kernel])
    return FuzzReport(hunt.cases, hunt.calls, time.monotonic() - hunt.began, failure)


def replay(case: Case, program: Program, runners: Sequence[Runner]) -> FuzzReport:
    """Try one case on every runner, for the target that is there.

    Raises DiagnosticError (MOE0626) if it was drawn for another kernel.
    """
    kernels = {kernel.signature.name: kernel for kernel in program.kernels}
    case = replace(case, target=_target(runners, case.target))
    kernel = kernels.get(case.kernel)
    if kernel is None or not case.fits(kernel) or not case.legal(kernel):
        message = f"the case does not fit this file: it was drawn for a kernel '{case.kernel}'"
        names = ", ".join(kernels) or "none"
        raise DiagnosticError([Diagnostic("MOE0626", message, notes=(f"kernels here: {names}",))])
    hunt = _Hunt(kernels, runners, 1, float("inf"), shrinks=False)
    with suppress(_StopHunt):
        hunt.attempt(case)
    return FuzzReport(hunt.cases, hunt.calls, time.monotonic() - hunt.began, hunt.failure)


def _target(runners: Sequence[Runner], otherwise: str) -> str:
    """What the runners compile for, if they are particular about it."""
    found = (runner.backend.availability().target for runner in runners)
    return next((target.sm for target in found if target is not None), otherwise)


def _draw(hunt: _Hunt, count: int, seed: int) -> None:
    """Let hypothesis draw ``count`` cases."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, Verbosity

    from moedsl.fuzz import draw

    target = TARGETS[_target(hunt.runners, DEFAULT_TARGET.sm)]
    kernels = list(hunt.kernels.values())

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @hypothesis.given(draw.cases(kernels, target))
    def attempt(case: Case) -> None:
        hunt.attempt(case)

    attempt()


def _remembered(
    corpus: Path | None,
    kernels: dict[str, MoeKernel],
    runners: Sequence[Runner],
    report: Callable[[Diagnostic], None],
) -> Iterator[Case]:
    """The corpus's cases that fit ``kernels`` and the target; others are of no use here."""
    for path in sorted(corpus.glob("*.json")) if corpus is not None else []:
        try:
            case = read_case(str(path))
        except DiagnosticError as error:
            for found in error.diagnostics:
                report(replace(found, severity=Severity.WARNING, help=UNREADABLE))
            continue
        case = replace(case, target=_target(runners, case.target))
        kernel = kernels.get(case.kernel)
        if kernel is not None and case.fits(kernel) and case.legal(kernel):
            yield case


def _remember(corpus: Path, failure: Failure, kernel: MoeKernel) -> Failure:
    """``failure``, with the corpus entry that it was written to, if one could be written."""
    value = {
        "backend": failure.backend,
        "message": failure.message,
        "source": kernel.source.text if kernel.source else "",
        "case": to_json(failure.case),
    }
    digest = hashlib.sha256(json.dumps(value["case"], sort_keys=True).encode()).hexdigest()[:16]
    entry = corpus / f"{failure.case.kernel}-{digest}.json"
    draft = entry.with_suffix(".tmp")
    try:
        corpus.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        draft.replace(entry)
    except OSError:
        return failure
    return Failure(failure.case, failure.backend, failure.message, entry)
