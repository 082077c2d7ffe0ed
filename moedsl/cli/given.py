"""What a user gives on the command line: files, names of targets, words that may be mistyped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.read import decode, read_all, read_source
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.source.span import Source
    from moedsl.target import Target


def read_file(file: str) -> Source:
    """The text of ``file``, or of standard input for ``-``."""
    if file != "-":
        return read_source(file)
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
