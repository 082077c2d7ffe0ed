"""Diagnostics as text: for people, for logs, for programs."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Literal, assert_never

from moedsl.source.diagnostic import Label, Severity
from moedsl.source.span import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moedsl.source.diagnostic import Diagnostic
    from moedsl.source.span import Source

Format = Literal["human", "short", "json", "sarif"]

_WIDTH = 100
"""Most characters of a source line that are shown."""
_BEFORE = 40
"""Characters shown before the label where a line is longer."""
_TAB = "    "
_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36"}
_SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(diagnostics: Iterable[Diagnostic], format: Format, *, color: bool = False) -> str:
    """All ``diagnostics`` in one format, ending in a newline if there is anything to say.

    ``human`` shows the source with carets, ``short`` is one line each
    (``file:line:col: error: … [MOE0123]``), ``json`` and ``sarif`` (2.1.0) are documents. Only
    ``human`` knows ``color``.
    """
    found = list(diagnostics)
    match format:
        case "human":
            return "\n".join(_human(diagnostic, _Style(color)) for diagnostic in found)
        case "short":
            return "".join(f"{diagnostic}\n" for diagnostic in found)
        case "json":
            return _dump({"diagnostics": [as_document(diagnostic) for diagnostic in found]})
        case "sarif":
            return _dump(_sarif(found))
        case _:
            assert_never(format)


def as_document(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as JSON can hold it. Lines and columns count from 1, offsets from 0, all in
    characters; ends lie behind the last character.
    """
    source = diagnostic.source
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "file": source.name if source else None,
        "span": _place(source, diagnostic.span),
        "label": diagnostic.label,
        "labels": [
            {"span": _place(source, label.span), "text": label.text} for label in diagnostic.labels
        ],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
    }


def _place(source: Source | None, span: Span | None) -> dict[str, dict[str, int]] | None:
    if source is None or span is None:
        return None
    return {"start": _position(source, span.start), "end": _position(source, span.end)}


def _position(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    return {"offset": offset, "line": line, "column": column}


def _dump(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# ---- human


class _Style:
    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, codes: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and text else text


def _human(diagnostic: Diagnostic, style: _Style) -> str:
    severity = _COLORS[diagnostic.severity]
    head = style(f"{diagnostic.severity}[{diagnostic.code}]", f"1;{severity}")
    lines = [head + style(f": {diagnostic.message}", "1")]
    source, span = diagnostic.source, diagnostic.span
    margin = 1
    if source is not None and span is not None:
        labels = [Label(span, diagnostic.label), *diagnostic.labels]
        numbers = [source.position(label.span.start)[0] for label in labels]
        margin = len(str(max(numbers)))
        line, column = source.position(span.start)
        arrow = style(f"{' ' * margin}-->", "1;34")
        lines.append(f"{arrow} {source.name}:{line}:{column}")
        lines += _snippet(source, labels, numbers, margin, severity, style)
    elif source is not None:
        lines.append(f"{style(' -->', '1;34')} {source.name}")
    equal = style(f"{' ' * margin} =", "1;34")
    lines += [f"{equal} {style('note', '1')}: {note}" for note in diagnostic.notes]
    if diagnostic.help:
        lines.append(f"{equal} {style('help', '1;32')}: {diagnostic.help}")
    return "\n".join(lines) + "\n"


def _snippet(
    source: Source,
    labels: Sequence[Label],
    numbers: Sequence[int],
    margin: int,
    severity: str,
    style: _Style,
) -> list[str]:
    """The labelled lines in order, each with its labels below; the first label is primary."""
    empty = style(f"{' ' * margin} |", "1;34")
    lines = [empty]
    previous = None
    for number in sorted(set(numbers)):
        if previous is not None and number > previous + 1:
            lines.append(style("...", "1;34"))
        previous = number
        own = [
            (position == 0, label)
            for position, label in enumerate(labels)
            if numbers[position] == number
        ]
        window = _Window(source, number, own[0][1].span)
        bar = style(f"{number:>{margin}} |", "1;34")
        lines.append(f"{bar} {window.text}".rstrip())
        for primary, label in own:
            marks, where = window.marks(label.span, "^" if primary else "-")
            paint = f"1;{severity}" if primary else "1;34"
            lines.append(f"{empty} {where}{style(f'{marks} {label.text}'.rstrip(), paint)}")
    lines.append(empty)
    return lines


class _Window:
    """The part of a line that is shown: all of it, or what lies around a span."""

    def __init__(self, source: Source, number: int, span: Span) -> None:
        text = source.line(number)
        line, column = source.position(span.start)
        assert line == number
        self.origin = span.start - column + 1
        self.first, last = 0, len(text)
        if len(text) > _WIDTH:
            self.first = max(0, min(column - 1 - _BEFORE, len(text) - _WIDTH))
            last = min(len(text), self.first + _WIDTH)
        self.cells = [_cell(character) for character in text[self.first : last]]
        self.before = "…" if self.first else ""
        self.text = self.before + "".join(self.cells) + ("…" if last < len(text) else "")

    def marks(self, span: Span, mark: str) -> tuple[str, str]:
        """The underline of ``span``, at least one mark, and the blanks before it."""
        size = len(self.cells)
        start = min(max(span.start - self.origin - self.first, 0), size)
        end = min(max(span.end - self.origin - self.first, start), size)
        blanks = len(self.before) + _width(self.cells[:start])
        return mark * max(1, _width(self.cells[start:end])), " " * blanks


def _cell(character: str) -> str:
    """What a character is shown as: tabs as blanks, what cannot be shown as a dot."""
    if character == "\t":
        return _TAB
    return character if character.isprintable() else "·"


def _width(cells: Iterable[str]) -> int:
    """Columns on a terminal."""
    return sum(_columns(character) for cell in cells for character in cell)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# ---- SARIF


def _sarif(diagnostics: Sequence[Diagnostic]) -> dict[str, object]:
    from moedsl.source.codes import CODES

    rules = [
        {"id": code, "shortDescription": {"text": CODES[code].title if code in CODES else code}}
        for code in sorted({diagnostic.code for diagnostic in diagnostics})
    ]
    run = {
        "tool": {"driver": {"name": "moedsl", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(diagnostic) for diagnostic in diagnostics],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(diagnostic: Diagnostic) -> dict[str, object]:
    parts = [diagnostic.message, *diagnostic.notes]
    if diagnostic.help:
        parts.append(f"help: {diagnostic.help}")
    result: dict[str, object] = {
        "ruleId": diagnostic.code,
        "level": _SARIF_LEVELS[diagnostic.severity],
        "message": {"text": "\n".join(parts)},
    }
    source = diagnostic.source
    if source is None:
        return result
    result["locations"] = [_sarif_location(source, diagnostic.span, diagnostic.label)]
    if diagnostic.labels:
        result["relatedLocations"] = [
            _sarif_location(source, label.span, label.text) for label in diagnostic.labels
        ]
    return result


def _sarif_location(source: Source, span: Span | None, text: str) -> dict[str, object]:
    from urllib.parse import quote

    uri = quote(source.name.replace("\\", "/"), safe="/:")
    physical: dict[str, object] = {"artifactLocation": {"uri": uri}}
    if span is not None:
        (line, column), (end_line, end) = source.position(span.start), source.position(span.end)
        physical["region"] = {
            "startLine": line,
            "startColumn": column,
            "endLine": end_line,
            "endColumn": end,
        }
    location: dict[str, object] = {"physicalLocation": physical}
    if text:
        location["message"] = {"text": text}
    return location
