"""From a file to a source text."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.span import Source, Span

MOST_BYTES = 1 << 26
"""No file of a user's is that large; a device that never ends is."""


def read_all(opened: IO[bytes]) -> bytes:
    """What ``opened`` holds. Raises OSError, also for more than MOST_BYTES."""
    data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data


def read_source(path: str | Path) -> Source:
    """The text of the file at ``path``, which must be UTF-8; a byte order mark is dropped.

    Raises DiagnosticError: MOE0010 if it cannot be read, MOE0009 if it is not UTF-8.
    """
    try:
        with Path(path).open("rb") as opened:
            data = read_all(opened)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DiagnosticError([Diagnostic("MOE0010", f"cannot read `{path}`: {reason}")]) from error
    return decode(str(path), data)


def decode(name: str, data: bytes) -> Source:
    """The source called ``name`` whose bytes are ``data``.

    Raises DiagnosticError with MOE0009 if they are not UTF-8.
    """
    try:
        return Source(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        source = Source(name, data.decode("utf-8-sig", errors="replace"))
        start = len(data[: error.start].decode("utf-8-sig"))
        raise DiagnosticError(
            [
                Diagnostic(
                    "MOE0009",
                    "this file is not UTF-8 text",
                    source,
                    Span(start, start + 1),
                    label=f"the byte 0x{data[error.start]:02X} is not valid here",
                    help="save the file as UTF-8",
                )
            ]
        ) from error
