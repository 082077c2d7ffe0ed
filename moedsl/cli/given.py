"""What a user gives on the command line: files, names of things there may not be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from moedsl.backend import HOST_BACKEND, backends, find_backend
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, UnavailableError
from moedsl.source.read import decode, read_all, read_source
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.backend import Backend
    from moedsl.source.span import Source
    from moedsl.target import Target


SOURCES: list[Source] = []
"""Every text read, for crash reports."""


def read_file(file: str) -> Source:
    """The text of ``file``, or of standard input for ``-``."""
    source = read_source(file) if file != "-" else _read_stdin()
    SOURCES.append(source)
    return source


def _read_stdin() -> Source:
    try:
        return decode("<stdin>", read_all(sys.stdin.buffer))
    except OSError as error:
        raise wrong("MOE0010", f"cannot read standard input: {error.strerror}") from error


def named_target(name: str | None) -> Target | None:
    """The target called ``name``; MOE0605 if there is none."""
    if name is None:
        return None
    if name not in TARGETS:
        raise wrong(
            "MOE0605",
            f"there is no target '{name}'{guess(name, TARGETS)}",
            notes=(f"targets: {', '.join(TARGETS)}",),
        )
    return TARGETS[name]


def named_backend(name: str) -> tuple[Backend, str]:
    """The backend called ``name`` and what it runs on; ``auto`` takes a GPU if there is one.

    Raises DiagnosticError (MOE0611) if there is none, UnavailableError if it cannot run here.
    """
    if name != "auto":
        backend = find_backend(name)
        here = backend.availability()
        if not here.usable:
            raise UnavailableError(f"backend {name}: {here.detail}", here.help)
        return backend, f"{name}: {here.detail}"
    found = {each: backend.availability() for each, backend in backends().items()}
    best = next((n for n, here in found.items() if here.usable and here.target), HOST_BACKEND)
    missing = [f"{each}: {here.detail}" for each, here in found.items() if not here.usable]
    taken = f"{best}: {found[best].detail}"
    return find_backend(best), f"{taken} (not {'; '.join(missing)})" if missing else taken


def guess(word: str, known: Iterable[str]) -> str:
    """What the user may have meant by ``word``: the end of a message, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def wrong(
    code: str,
    message: str,
    source: Source | None = None,
    *,
    notes: tuple[str, ...] = (),
    help: str = "",
) -> DiagnosticError:
    """The error with one finding about what was given."""
    return DiagnosticError([Diagnostic(code, message, source, notes=notes, help=help)])
