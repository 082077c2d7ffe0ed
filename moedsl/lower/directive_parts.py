"""What directives are made of: amounts, words and settings, and what is wrong with them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, assert_never

from moedsl.source import syntax
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.lower.roles import Roles
    from moedsl.source.reporter import Reporter
    from moedsl.source.span import Span

Word = TypeVar("Word", bound=StrEnum)


class DirectiveParts:
    """Reads amounts, words and settings into ``given`` and ``spans``, keyed by Schedule field."""

    def __init__(self, report: Reporter, roles: Roles | None) -> None:
        self.report, self.roles = report, roles
        self.given: dict[str, object] = {}
        self.spans: dict[str, Span] = {}

    def _dims(self, *fields: str) -> dict[str, str]:
        """The kernel's index names for the fields of rows, columns and depth, in this order."""
        if self.roles is None:
            return {}
        names = ((self.roles.rows,), (self.roles.columns,), self.roles.depths)
        return {name: field for field, own in zip(fields, names, strict=False) for name in own}

    def _settings(
        self,
        directive: syntax.Directive,
        fields: dict[str, str],
        most: int,
        words: dict[str, tuple[str, object]] | None = None,
        more: tuple[str, ...] = (),
        empty: bool = False,
    ) -> None:
        """``key=number`` for each key of ``fields``, and bare ``words``, in any order."""
        words = words or {}
        form = f"{directive.name.text} " + " ".join(f"{key}=…" for key in (*fields, *more))
        if not directive.arguments and not empty:
            self._wrong_form(directive, form)
        for argument in directive.arguments:
            match argument:
                case syntax.Setting(key=key, values=values):
                    if not self._known_key(key, fields, more):
                        continue
                    if len(values) > 1:
                        self._wrong_form(directive, form)
                        continue
                    amount = self._amount(values[0], most)
                    if amount is not None and key.text in fields:
                        self._give(fields[key.text], amount, argument.span)
                case syntax.Argument(value=syntax.Name() as word) if words:
                    if word.text in words:
                        self._give(*words[word.text], argument.span)
                    else:
                        self._unknown_word(word, words)
                case syntax.Argument() | syntax.Limit():
                    self._wrong_form(directive, form)
                    return
                case _:
                    assert_never(argument)

    def _single(self, directive: syntax.Directive, field: str, most: int) -> None:
        match directive.arguments:
            case (syntax.Argument(value=value),):
                amount = self._amount(value, most)
                if amount is not None:
                    self._give(field, amount, directive.span)
            case _:
                self._wrong_form(directive, f"{directive.name.text} 4")

    def _choice(self, directive: syntax.Directive, field: str, words: type[StrEnum]) -> None:
        match directive.arguments:
            case (syntax.Argument(value=syntax.Name() as name),):
                word = self._word(name, words)
                if word is not None:
                    self._give(field, word, directive.span)
            case _:
                self._wrong_form(directive, f"{directive.name.text} {'|'.join(words)}")

    def _word(self, name: syntax.Name, words: type[Word]) -> Word | None:
        if name.text in tuple(words):
            return words(name.text)
        self._unknown_word(name, tuple(words))
        return None

    def _amount(self, value: syntax.Name | syntax.Number, most: int) -> int | None:
        if isinstance(value, syntax.Name) or isinstance(value.value, float):
            self.report.error(
                "MOE0306",
                "a whole number is needed here",
                value.span,
                "expected a whole number",
            )
            return None
        if not 1 <= value.value <= most:
            self.report.error(
                "MOE0307",
                f"{clip(str(value.value))} is out of range",
                value.span,
                f"expected 1 to {most}",
            )
            return None
        return value.value

    def _known_key(
        self, key: syntax.Name, fields: Iterable[str], more: tuple[str, ...] = ()
    ) -> bool:
        known = (*fields, *more)
        if key.text in known:
            return True
        if known:
            self._unknown_key(key, known)
        return False

    def _give(self, field: str, value: object, span: Span) -> None:
        if field in self.spans:
            self.report.error(
                "MOE0305",
                "this is given twice",
                span,
                "given again",
                labels=(Label(self.spans[field], "first given here"),),
            )
            return
        self.given[field], self.spans[field] = value, span

    def _unknown_key(self, key: syntax.Name, known: tuple[str, ...]) -> None:
        self.report.error(
            "MOE0304",
            f"`{clip(key.text)}` cannot be set here",
            key.span,
            f"expected {_one_of(known)}",
            help=did_you_mean(key.text, known),
        )

    def _unknown_word(self, word: syntax.Name, known: Iterable[str]) -> None:
        known = tuple(known)
        self.report.error(
            "MOE0308",
            f"`{clip(word.text)}` means nothing here",
            word.span,
            f"expected {_one_of(known)}",
            help=did_you_mean(word.text, known),
        )

    def _wrong_form(self, directive: syntax.Directive, form: str, help: str = "") -> None:
        self.report.error(
            "MOE0303",
            f"this is not how `{directive.name.text}` is written",
            directive.span,
            f"expected `{form}`",
            help=help,
        )


def _one_of(words: Iterable[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1]))) if quoted else "nothing"
