"""``moedsl fmt``: one way to lay a file out. Works on tokens, so that no comment is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.parser import CONTINUES, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.source.span import Source
    from moedsl.source.syntax import Token

_INDENT = "    "
_WIDTH = 90
"""Most characters of directives that share a line, the blanks around ``=`` counted."""
_KEYWORD_WIDTH = len("output")
_ALIGNED = {"PARAM": "param", "INDEX": "index", "INPUT": "tensor", "OUTPUT": "tensor"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "EQUAL", "PLUS_EQUAL", "COMMA", "LPAR", "LSQB"}


def format_source(source: Source) -> str:
    """``source`` laid out: four blanks inside blocks, names, directives and comments aligned.

    Formatting what is formatted changes nothing. Raises DiagnosticError on syntax errors.
    """
    file, errors = parse(source)
    if errors:
        raise DiagnosticError(errors)
    text: list[str] = []
    lines_that_fit = [part for line in _lines(source, file.tokens) for part in _fitting(line)]
    for _, lines in groupby(lines_that_fit, key=lambda line: line.block):
        text += _layout(list(lines))
    return "".join(f"{line}\n" for line in text)


@dataclass
class _Line:
    """One line of the result. ``before`` is the token that ends the line before it.

    ``further`` are the places in ``tokens`` where another directive starts.
    """

    depth: int
    block: int
    schedule: bool
    blank: bool
    continued: bool
    before: Token | None
    tokens: list[Token] = field(default_factory=list)
    further: set[int] = field(default_factory=set)
    comment: str = ""


def _lines(source: Source, tokens: Sequence[Token]) -> list[_Line]:
    """The tokens in lines: as they were, but one statement and one brace a line.

    Directives may share a line that is short.
    """
    lines: list[_Line] = []
    depth = brackets = block = 0
    schedule = False
    previous: Token | None = None
    word: Token | None = None
    for token in tokens:
        gap = source.text[previous.span.end if previous else 0 : token.span.start]
        if token.kind == "RBRACE":
            depth = 0
        elif token.kind in ("KERNEL", "SCHEDULE"):
            schedule = token.kind == "SCHEDULE"
        broken = previous is None or "\n" in gap
        if token.kind != "COMMENT":
            broken = broken or token.kind == "RBRACE"
            broken = broken or (word is not None and word.kind in ("LBRACE", "RBRACE"))
            further = ";" in gap and not broken
            broken = broken or (further and not schedule)
            if further and schedule:
                lines[-1].further.add(len(lines[-1].tokens))
        if broken:
            goes_on = brackets > 0 or (word is not None and word.kind in CONTINUES)
            lines.append(_Line(depth, block, schedule, _blank(gap, lines, token), goes_on, word))
        if token.kind == "COMMENT":
            lines[-1].comment = token.text
        else:
            lines[-1].tokens.append(token)
            word = token
        brackets += (token.kind in ("LPAR", "LSQB")) - (token.kind in ("RPAR", "RSQB"))
        if token.kind == "LBRACE":
            depth, block = 1, block + 1
        elif token.kind == "RBRACE":
            block += 1
        previous = token
    return lines


def _fitting(line: _Line) -> list[_Line]:
    """``line``, or each of its directives by itself if they are too long for one."""
    if sum(len(token.text) + 1 for token in line.tokens) <= _WIDTH:
        return [line]
    starts = [0, *sorted(line.further)]
    return [
        replace(
            line,
            blank=line.blank and not start,
            continued=line.continued and not start,
            tokens=line.tokens[start:end],
            further=set(),
            comment=line.comment if end is None else "",
        )
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


def _blank(gap: str, lines: Sequence[_Line], token: Token) -> bool:
    """Whether an empty line comes before the line of ``token``."""
    if not lines or token.kind == "RBRACE":
        return False
    last = lines[-1].tokens[-1].kind if lines[-1].tokens else ""
    return last == "RBRACE" or (gap.count("\n") > 1 and last != "LBRACE")


def _layout(lines: list[_Line]) -> list[str]:
    """The lines of one block, or those between two blocks."""
    codes = [""] * len(lines)
    directives = [line.tokens[0] for line in lines if line.schedule and _is_directive(line)]
    width = max((len(name.text) for name in directives), default=0)
    for _, run in groupby(enumerate(lines), key=_runs()):
        members = list(run)
        names = max(len(_name(line).text) for _, line in members) if _key(members[0][1]) else 0
        for position, line in members:
            codes[position] = _code(line, width if line.schedule else names)
    commented = [
        len(code)
        for code, line in zip(codes, lines, strict=True)
        if code and line.comment and line.depth
    ]
    margin = max(commented, default=0)
    result: list[str] = []
    for code, line in zip(codes, lines, strict=True):
        if line.blank:
            result.append("")
        if not code:
            result.append(_indent(line) + line.comment)
        elif line.comment:
            result.append(f"{code:<{margin if line.depth else 0}}  {line.comment}")
        else:
            result.append(code)
    return result


def _indent(line: _Line) -> str:
    return _INDENT * (line.depth + line.continued)


def _is_directive(line: _Line) -> bool:
    return bool(line.depth and line.tokens and not line.continued)


def _key(line: _Line) -> str:
    """Lines with the same key stand together with their names aligned; no key, no alignment."""
    if line.schedule or not _is_directive(line):
        return ""
    first = line.tokens[0]
    if first.kind == "NAME":
        return "define" if line.tokens[1].kind == "EQUAL" else ""
    return _ALIGNED.get(first.kind, "")


def _runs() -> Callable[[tuple[int, _Line]], tuple[int, str]]:
    """Numbers the paragraphs and names the kind of line, so that ``groupby`` finds runs."""
    paragraph = 0

    def key(item: tuple[int, _Line]) -> tuple[int, str]:
        nonlocal paragraph
        paragraph += item[1].blank
        return paragraph, _key(item[1])

    return key


def _name(line: _Line) -> Token:
    """The token whose right side is aligned: the name that the line defines."""
    return line.tokens[0 if line.tokens[0].kind == "NAME" else 1]


def _code(line: _Line, width: int) -> str:
    """The line without its comment; its aligned name is padded to ``width``."""
    if not line.tokens:
        return ""
    text = _indent(line)
    aligned = line.tokens[0] if line.schedule and _is_directive(line) else None
    if _key(line):
        aligned = _name(line)
    inside = line.depth > 0 and line.schedule
    older: Token | None = None
    left: Token | None = None
    for place, token in enumerate(line.tokens):
        if place in line.further:
            text = text.rstrip() + "; "
        elif left is not None and _spaced(older, left, token, inside):
            text += " "
        text += token.text
        if token is aligned:
            text += " " * (width - len(token.text))
        elif token.kind in _ALIGNED:
            text += " " * (_KEYWORD_WIDTH - len(token.text))
        older, left = left or line.before, token
    return text.rstrip()


def _spaced(older: Token | None, left: Token, right: Token, directive: bool) -> bool:
    """Whether a blank stands between ``left`` and ``right``; ``older`` comes before ``left``."""
    if left.kind in ("LPAR", "LSQB") or right.kind in ("RPAR", "RSQB", "COMMA"):
        return False
    if left.kind == "MINUS" and (older is None or older.kind in _OPERATORS):
        return False
    if right.kind in ("LPAR", "LSQB"):
        return left.kind not in ("NAME", "SUM", "RAGGED")
    if directive:
        tight = ("EQUAL", "COMMA", "COMPARE")
        return left.kind not in tight and right.kind not in tight
    return True
