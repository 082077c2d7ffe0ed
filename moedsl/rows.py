"""Row distributions: how many rows each expert gets, from a word of the user's.

``1842,2341,…`` are the rows themselves. ``even:N`` gives each expert N/E rows, the first ones one
more where it does not divide. ``uniform:N`` sends each of N rows to an expert at random
(multinomial). ``zipf:N:S`` the same with weights 1/rank^S, the ranks shuffled. ``onehot:N`` gives
all to one expert. Anything else is a file: the same rows as a JSON list or separated by commas or
blanks, or ``FILE#case`` for the ``rows`` of one entry of a JSON object.
"""

from __future__ import annotations

import json
import math
import random
import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.read import read_all
from moedsl.source.span import Source, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS = 2**31 - 1
"""``offs`` is i32."""
_HELP = (
    "give rows as '12,0,7', as 'even:N', 'uniform:N', 'zipf:N:S' or 'onehot:N', or a file with them"
)
_LONELY_COMMA = re.compile(r"^\s*,|,(?=\s*(?:,|$))")


def offs_from_rows(rows: Sequence[int]) -> list[int]:
    """The cumulative ends of ``rows``: where each expert's rows end."""
    return list(accumulate(rows))


def parse_rows(text: str, experts: int, seed: int = 0) -> list[int]:
    """Rows per expert; the same for the same ``text``, ``experts`` (≥ 1) and ``seed``.

    Raises DiagnosticError: MOE0620 no such file or case, MOE0621 not a number of rows, MOE0622
    not ``experts`` of them, MOE0623 a wrong distribution, MOE0624 more rows than ``offs`` counts.
    """
    words = _Words(Source("rows", text), experts)
    kind, colon, rest = text.partition(":")
    if re.fullmatch(r"[\s\d,+-]+", text):
        rows = words.numbers(text, 0)
    elif colon and kind in _DISTRIBUTIONS:
        return words.distribution(kind, rest.split(":"), random.Random(f"{text} {experts} {seed}"))
    else:
        rows = words.file(text)
    return words.checked(rows)


class _Words:
    """The rows' text, with how to complain about it."""

    def __init__(self, source: Source, experts: int) -> None:
        self.source, self.experts = source, experts

    def fail(self, code: str, message: str, span: Span | None = None, label: str = "") -> NoReturn:
        span = span or Span(0, len(self.source.text))
        raise DiagnosticError([Diagnostic(code, message, self.source, span, label, help=_HELP)])

    def numbers(self, text: str, start: int | None) -> list[int]:
        """Numbers between commas or blanks. ``start`` is where ``text`` stands in the source."""

        def place(found: re.Match[str]) -> Span | None:
            return None if start is None else Span(start + found.start(), start + found.end())

        if lonely := _LONELY_COMMA.search(text):
            message = "a number is missing beside a comma"
            self.fail("MOE0621", message, place(lonely), "expected one")
        return [self.count(match[0], place(match)) for match in re.finditer(r"[^\s,]+", text)]

    def count(self, word: str, span: Span | None) -> int:
        """A number of rows."""
        if not re.fullmatch(r"\+?\d{1,18}", word):
            self.fail("MOE0621", f"'{word}' is not a number of rows", span, "expected 0 or more")
        return int(word)

    def checked(self, rows: list[int]) -> list[int]:
        """``rows`` if there is one for each expert and ``offs`` can count them."""
        if len(rows) != self.experts:
            self.fail(
                "MOE0622",
                f"{len(rows)} row counts for {self.experts} experts",
                label=f"expected {self.experts} numbers",
            )
        if sum(rows) > MOST_ROWS:
            self.fail("MOE0624", f"{sum(rows)} rows are more than offs, an i32, can count")
        return rows

    def distribution(self, kind: str, parts: list[str], rng: random.Random) -> list[int]:
        """The rows of ``kind:parts``."""
        takes = _DISTRIBUTIONS[kind]
        if len(parts) != len(takes):
            form = ":".join((kind, *takes))
            self.fail("MOE0623", f"'{kind}' takes {len(takes)} numbers", label=f"expected {form}")
        first = len(kind) + 1
        total = self.count(parts[0], Span(first, first + len(parts[0])))
        if total > MOST_ROWS:
            self.fail("MOE0624", f"{total} rows are more than offs, an i32, can count")
        match kind:
            case "even":
                each, more = divmod(total, self.experts)
                return [each + (expert < more) for expert in range(self.experts)]
            case "onehot":
                chosen = rng.randrange(self.experts)
                return [total if expert == chosen else 0 for expert in range(self.experts)]
            case "uniform":
                return _multinomial(total, [1.0] * self.experts, rng)
            case _:
                weights = [rank ** -self.exponent(parts[1]) for rank in range(1, self.experts + 1)]
                rng.shuffle(weights)
                return _multinomial(total, weights, rng)

    def exponent(self, word: str) -> float:
        """The exponent of a Zipf distribution: the last part of the text."""
        try:
            exponent = float(word)
        except ValueError:
            exponent = math.nan
        if not 0 <= exponent <= 100:
            end = len(self.source.text)
            self.fail(
                "MOE0623",
                f"'{word}' is not an exponent",
                Span(end - len(word), end),
                "expected a number from 0 to 100",
            )
        return exponent

    def file(self, text: str) -> list[int]:
        """The rows in a file, or in one case of it."""
        name, hash_, case = text.partition("#")
        try:
            content = _content(name) if name else None
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            self.fail("MOE0620", f"cannot read rows from '{name}': {reason}")
        if content is None:
            self.fail("MOE0620", "no rows are given")
        try:
            value = json.loads(content)
        except (json.JSONDecodeError, RecursionError):
            return self.numbers(content, None)
        if hash_:
            value = self.case(value, name, case)
        if isinstance(value, dict) and "rows" in value:
            value = value["rows"]
        if isinstance(value, int):
            value = [value]
        if not isinstance(value, list):
            self.fail("MOE0620", f"'{text}' holds no list of rows", label="expected FILE#case")
        return [self.count(str(row), None) for row in value]

    def case(self, value: Any, name: str, case: str) -> Any:
        """Entry ``case`` of a JSON object."""
        if not isinstance(value, dict) or case not in value:
            cases = ", ".join(map(str, value)) if isinstance(value, dict) else "none"
            span = Span(len(name) + 1, len(name) + 1 + len(case))
            self.fail("MOE0620", f"'{name}' has no case '{case}'", span, f"it has: {cases}")
        return value[case]


_DISTRIBUTIONS = {"even": ("N",), "uniform": ("N",), "onehot": ("N",), "zipf": ("N", "S")}


def _content(name: str) -> str:
    """The text of a file."""
    with Path(name).open("rb") as opened:
        return read_all(opened).decode()


def _multinomial(total: int, weights: list[float], rng: random.Random) -> list[int]:
    """``total`` draws with odds ``weights``, as successive binomials: fast for any total."""
    rows, left, mass = [], total, math.fsum(weights)
    for weight in weights[:-1]:
        odds = min(1.0, weight / mass) if mass > 0 else 0.0
        drawn = _binomial(left, odds, rng)
        rows.append(drawn)
        left, mass = left - drawn, mass - weight
    return [*rows, left]


def _binomial(count: int, odds: float, rng: random.Random) -> int:
    """Draws of ``count`` that succeed with ``odds``; by halves of the uniform order statistics.

    The median-like order statistic of n uniforms is Beta(i, n + 1 - i); whichever side of it
    ``odds`` lies on, half of the draws are decided at once (L. Devroye, "Non-Uniform Random
    Variate Generation", 1986, section X.4.3).
    """
    hits = 0
    while count > 16 and 0 < odds < 1:
        middle = count // 2 + 1
        value = rng.betavariate(middle, count + 1 - middle)
        if value <= odds:
            hits, count = hits + middle, count - middle
            odds = (odds - value) / (1 - value)
        else:
            count, odds = middle - 1, odds / value
    return hits + sum(rng.random() < odds for _ in range(count))
