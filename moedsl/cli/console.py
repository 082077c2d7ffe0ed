"""Where output goes: results to stdout, the rest to stderr; with ``--json`` one document.

Rich is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from moedsl.source.diagnostic import Diagnostic, UnavailableError
    from moedsl.source.render import Format


@dataclass(frozen=True, slots=True)
class Column:
    """A table column; numbers stand to the right, words to the left."""

    title: str
    words: bool = False


def coloured(stream: TextIO, color: str) -> bool:
    """Whether to style what goes to ``stream``: ``color`` is always, never or auto.

    ``auto`` styles on a terminal unless NO_COLOR is set and not empty (no-color.org).
    """
    if color != "auto":
        return color == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Console:
    """The only writer of a command. With ``as_json`` text methods are silent on stdout."""

    def __init__(
        self, *, as_json: bool = False, diagnostic_format: Format | None = None, color: str = "auto"
    ) -> None:
        self.as_json, self.color = as_json, color
        self._format = diagnostic_format
        self._document: dict[str, object] = {}
        self._diagnostics: list[Diagnostic] = []

    def result(self, **entries: object) -> None:
        """Entries of the JSON document; nothing without ``--json``."""
        self._document.update(entries)

    def write(self, text: str) -> None:
        """One or more lines of the result, as text."""
        if not self.as_json:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """An aligned list of names and what they are."""
        pairs = [(name, text) for name, text in pairs if text]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, text in pairs:
            self.write(f"{self._style(f'{name:<{width}}', 'bold')}  {text}")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """A table with a header line; columns as wide as they must be."""
        if self.as_json:
            return
        if coloured(sys.stdout, self.color):
            _rich_table(columns, rows, sys.stdout)
            return
        lines = [[column.title for column in columns], *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            cells = (
                cell.ljust(width) if column.words else cell.rjust(width)
                for cell, width, column in zip(line, widths, columns, strict=True)
            )
            self.write("  ".join(cells).rstrip())

    def verdict(self, good: bool, text: str) -> None:
        """The last line of a result: green if ``good``, red if not."""
        self.write(self._style(text, "green" if good else "red"))

    def note(self, text: str) -> None:
        """A line about what happens, on stderr."""
        sys.stderr.write(text + "\n")

    def step(self, text: str) -> None:
        """Say what is being done, in one line that the next call replaces; "" takes it away."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()

    def report(self, diagnostics: Iterable[Diagnostic], *, as_result: bool = False) -> None:
        """Print findings on stderr, or on stdout if they are what was asked for."""
        found = list(diagnostics)
        self._diagnostics += found
        if self.as_json or not (found or as_result):
            return
        from moedsl.source.render import render

        stream = sys.stdout if as_result else sys.stderr
        style: Format = self._format or ("human" if stream.isatty() else "short")
        if text := render(found, style, color=coloured(stream, self.color)):
            stream.write(text if text.endswith("\n") else text + "\n")

    def unavailable(self, error: UnavailableError) -> None:
        """Say what this machine lacks and how to get it."""
        self.result(unavailable={"message": error.message, "help": error.help})
        self.note(f"moedsl: {error.message}" + (f"\n  help: {error.help}" if error.help else ""))

    def crashed(self, error: Exception, archive: Path) -> None:
        """Say that moedsl itself is wrong, and where all about it was written."""
        self.result(internal_error={"message": repr(error), "archive": str(archive)})
        self.note(
            f"moedsl: internal error: {type(error).__name__}: {error}\n"
            f"  This is a defect of moedsl. The input, the command line, the IR, versions and the "
            f"traceback\n  are in {archive}; please attach it to a report."
        )

    def close(self, **entries: object) -> None:
        """With ``--json`` print the document, ``entries`` first, findings last."""
        if not self.as_json:
            return
        from moedsl.source.render import as_document

        document: Mapping[str, object] = {
            **entries,
            **self._document,
            "diagnostics": [as_document(d) for d in self._diagnostics],
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def _style(self, text: str, style: str) -> str:
        codes = {"bold": 1, "red": 31, "green": 32}
        on = coloured(sys.stdout, self.color)
        return f"\x1b[{codes[style]}m{text}\x1b[0m" if on else text


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as RichConsole
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="left" if column.words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    RichConsole(file=stream, force_terminal=True, highlight=False).print(table)
