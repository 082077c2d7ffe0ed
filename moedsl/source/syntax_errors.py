"""The wording of syntax errors: what was expected where, what was found, what may be meant."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from moedsl.source.diagnostic import Diagnostic, Label
from moedsl.source.span import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from moedsl.source.span import Source
    from moedsl.source.syntax import Token

_STATEMENT_WORDS = ("param", "index", "input", "output", "compute")
_BLOCK_WORDS = ("kernel", "schedule")
_NAMES = {
    "NAME": "a name",
    "NUMBER": "a number",
    "COMPARE": "a comparison",
    "_END": "the end of the line",
    "$END": "the end of the file",
}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH"}
_CHARACTER_HELP = {
    "@": "write a matrix product as `sum[k] a[m, k] * b[k, n]`",
    "^": "write a power as a product",
    "%": "there is no remainder",
    '"': "the language has no strings",
    "'": "the language has no strings",
    "\N{NO-BREAK SPACE}": "this is a no-break space; use a plain one",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "save the file without a byte order mark",
}


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A help text naming the known word nearest to ``word``, or nothing."""
    import difflib

    close = difflib.get_close_matches(word[:64], sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def clip(text: str, width: int = 40) -> str:
    """``text`` short enough for a message."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def found(kind: str, text: str) -> str:
    """How a message names a token."""
    if kind == "_END" and text == "\n":
        return "the end of the line"
    return _NAMES["$END"] if kind == "$END" else f"`{clip(text)}`"


def expected(accepted: Collection[str], literals: dict[str, str]) -> str:
    """One phrase for a set of terminals."""
    if "PARAM" in accepted:
        return "a statement"
    if "KERNEL" in accepted:
        return "`kernel` or `schedule`"
    phrases = []
    rest = set(accepted)
    if {"NUMBER", "LPAR"} <= rest:
        phrases.append("an expression")
        rest -= {"NUMBER", "LPAR", "NAME", "MINUS", "SUM"}
    elif rest >= _OPERATORS:
        phrases.append("an operator")
        rest -= _OPERATORS
    if "_END" in rest:
        rest -= {"RBRACE"}
    phrases += [
        _NAMES[kind] if kind in _NAMES else f"`{literals.get(kind, kind)}`"
        for kind in sorted(rest - {"ERROR"}, key=lambda kind: (kind == "_END", kind))
    ]
    if len(phrases) < 2:
        return "".join(phrases) or "nothing more"
    return f"{', '.join(phrases[:-1])} or {phrases[-1]}"


def unexpected_token(
    source: Source,
    token: Token,
    wanted: str,
    statement: Sequence[Token],
    bracket: Token | None,
) -> Diagnostic:
    """``token`` cannot follow ``statement``, the tokens before it; ``bracket`` is still open."""
    labels = (Label(bracket.span, "opened here"),) if bracket else ()
    return Diagnostic(
        "MOE0001",
        f"expected {wanted}, found {found(token.kind, token.text)}",
        source,
        token.span,
        label=f"expected {wanted}",
        labels=labels,
        help=_hint(source, token, wanted, statement),
    )


def _hint(source: Source, token: Token, wanted: str, statement: Sequence[Token]) -> str:
    before = statement[-1] if statement else None
    if any(part.text == "sum" and part.kind == "NAME" for part in statement):
        return "put a sum behind an operator in parentheses: `2 * (sum[k] …)`"
    if token.text == "/" and "operator" not in wanted:
        return "a comment starts with `#`"
    if token.kind == "EQUAL" and before and before.kind == "EQUAL":
        return "a definition has a single `=`"
    if token.kind == "PLUS_EQUAL":
        return "only to an element of an output can be added: `h[m, n] += …`"
    if token.kind in _OPERATORS and "`+=`" in wanted:
        return "only `=` and `+=` can store"
    if token.kind == "EQUAL" and (operator := _joint(source, statement)):
        return f"a line that ends in `{operator}` goes on in the next one"
    if wanted.startswith("`kernel`"):
        return did_you_mean(token.text, _BLOCK_WORDS)
    if len(statement) == 1 and statement[0].kind == "NAME" and token.kind == "NAME":
        return did_you_mean(statement[0].text, _STATEMENT_WORDS)
    return ""


def _joint(source: Source, statement: Sequence[Token]) -> str:
    """The last word of the line before, if the statement came from there."""
    for left, right in reversed(list(pairwise(statement))):
        if "\n" in source.text[left.span.end : right.span.start]:
            return left.text
    return ""


def stray_character(source: Source, position: int) -> Diagnostic:
    """The character at ``position`` belongs to no token."""
    import unicodedata

    character = source.text[position]
    shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    return Diagnostic(
        "MOE0002",
        f"unexpected character {shown}",
        source,
        Span(position, position + 1),
        label="not part of the language",
        notes=(f"it is U+{ord(character):04X} {name}",) if name and ord(character) > 127 else (),
        help=_CHARACTER_HELP.get(character, ""),
    )


def unclosed_block(source: Source, opened: Span, here: Span) -> Diagnostic:
    """The brace at ``opened`` has no partner by ``here``."""
    return Diagnostic(
        "MOE0003",
        "this block is never closed",
        source,
        opened,
        label="opened here",
        labels=(Label(here, "still open here"),),
        help="add a `}` behind its last line",
    )


def bad_number(source: Source, span: Span, text: str) -> Diagnostic:
    """A word that starts with a digit and is no number."""
    help = "numbers look like 128, 0.5 or 1e-3"
    if "_" in text:
        help = "write the digits without `_`"
    elif text[:2].lower() in ("0x", "0b", "0o"):
        help = "write it in decimal"
    return Diagnostic(
        "MOE0004",
        f"`{clip(text)}` is not a number",
        source,
        span,
        label="not a number",
        help=help,
    )


def huge_number(source: Source, span: Span) -> Diagnostic:
    """A number beyond what any size or f32 value can be."""
    return Diagnostic(
        "MOE0005",
        "this number is too large",
        source,
        span,
        label="too large",
        notes=("sizes end at 2147483647, values at about 3.4e38",),
    )


def too_deep(source: Source, span: Span, limit: int) -> Diagnostic:
    """One bracket too many is open."""
    return Diagnostic(
        "MOE0006",
        f"brackets nest more than {limit} deep",
        source,
        span,
        label="one too many",
        help="name parts of the expression: `part = …`",
    )


def not_ascii(source: Source, span: Span, text: str) -> Diagnostic:
    """A name with letters outside ASCII."""
    return Diagnostic(
        "MOE0007",
        f"the name `{clip(text)}` has characters outside ASCII",
        source,
        span,
        label="not ASCII",
        help="use the letters a-z and A-Z, digits and `_`",
    )


def too_long(source: Source, span: Span, limit: int) -> Diagnostic:
    """A statement of too many tokens."""
    return Diagnostic(
        "MOE0008",
        f"this statement has more than {limit} words and signs",
        source,
        span,
        label="too long",
        help="name parts of the expression: `part = …`",
    )


def long_name(source: Source, span: Span, limit: int) -> Diagnostic:
    """A name of too many characters."""
    return Diagnostic(
        "MOE0013",
        f"this name has more than {limit} characters",
        source,
        span,
        label=f"{span.end - span.start} characters",
    )


def too_many(source: Source, limit: int) -> Diagnostic:
    """Reading stopped."""
    return Diagnostic(
        "MOE0012",
        f"more than {limit} syntax errors; the rest of the file was not read",
        source,
        help="correct the first ones and try again",
    )
