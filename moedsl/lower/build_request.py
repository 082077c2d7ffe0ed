"""Schedule blocks → schedule requests: every rule about the names and values of directives.

Whether a schedule is possible on a target is another question, answered by
:mod:`moedsl.lower.check_schedule` once every decision is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, assert_never

from moedsl.ir.moe import Contract
from moedsl.ir.schedule import (
    Along,
    Comparison,
    Cooperation,
    EpilogueStore,
    ExpertOrder,
    Persistence,
    Requirement,
    ScheduleRequest,
)
from moedsl.source import syntax
from moedsl.source.diagnostic import Diagnostic, Label
from moedsl.source.reporter import Reporter
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moedsl.ir.moe import MoeKernel
    from moedsl.source.span import Source, Span

LARGEST = 2**31 - 1
Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True)
class Roles:
    """What a kernel calls its rows, columns and depths; ``ragged`` is the index that is fused."""

    rows: str
    columns: str
    depths: tuple[str, ...]
    ragged: str

    @staticmethod
    def of(kernel: MoeKernel) -> Roles:
        """The roles in ``kernel``."""
        signature = kernel.signature
        depths = dict.fromkeys(op.over for op in kernel.body if isinstance(op, Contract))
        return Roles(signature.rows, signature.columns, tuple(depths), signature.ragged)


def build_requests(
    file: syntax.File, kernels: Iterable[MoeKernel], source: Source
) -> tuple[tuple[ScheduleRequest, ...], list[Diagnostic]]:
    """The schedules of ``file`` for ``kernels``, and everything wrong in any schedule."""
    report = Reporter(source)
    roles = {kernel.signature.name: Roles.of(kernel) for kernel in kernels}
    declared = {
        block.name.text
        for block in file.blocks
        if isinstance(block, syntax.Kernel) and isinstance(block.name, syntax.Name)
    }
    requests: list[ScheduleRequest] = []
    for block in file.blocks:
        if not isinstance(block, syntax.Schedule):
            continue
        heading = block.heading
        reader = _Directives(report, None)
        if isinstance(heading, syntax.Heading):
            if heading.kernel.text not in declared and not file.broken:
                report.error(
                    "MOE0310",
                    f"there is no kernel called `{clip(heading.kernel.text)}` in this file",
                    heading.kernel.span,
                    "no such kernel",
                    help=did_you_mean(heading.kernel.text, declared),
                )
            reader = _Directives(report, roles.get(heading.kernel.text))
            when = _conditions(report, heading)
        reader.read(block)
        if not isinstance(heading, syntax.Heading) or heading.kernel.text not in roles:
            continue
        request = ScheduleRequest(
            name=heading.name.text,
            kernel=heading.kernel.text,
            on=heading.on.text if heading.on else None,
            when=when,
            given=reader.given,
            spans=reader.spans,
            span=heading.span,
            source=source,
        )
        _compare(report, requests, request, heading)
        requests.append(request)
    return tuple(requests), report.diagnostics


def _compare(
    report: Reporter,
    earlier: list[ScheduleRequest],
    request: ScheduleRequest,
    heading: syntax.Heading,
) -> None:
    """Whether another has this name, or leaves nothing to this one."""
    for other in earlier:
        if other.kernel != request.kernel:
            continue
        if other.name == request.name:
            report.error(
                "MOE0314",
                f"`{clip(request.kernel)}` has two schedules called `{clip(request.name)}`",
                heading.name.span,
                "defined again",
                labels=(Label(other.span, "first defined here"),),
            )
            return
        if other.on == request.on and not other.when:
            report.warning(
                "MOE0319",
                f"the schedule `{clip(request.name)}` is never chosen",
                heading.name.span,
                f"`{clip(other.name)}` before it takes every call",
                help="give the earlier one a condition, or put it last",
            )
            return


def _conditions(report: Reporter, heading: syntax.Heading) -> tuple[Comparison, ...]:
    if heading.on is not None and heading.on.text not in TARGETS:
        report.error(
            "MOE0311",
            f"there is no target `{clip(heading.on.text)}`",
            heading.on.span,
            "not a target",
            notes=(f"the targets are {', '.join(TARGETS)}",),
            help=did_you_mean(heading.on.text, TARGETS),
        )
    comparisons: list[Comparison] = []
    low, high = 0, LARGEST
    for bound in heading.when:
        value = bound.bound.value
        if bound.variable.text != "rows":
            report.error(
                "MOE0312",
                f"a schedule cannot depend on `{clip(bound.variable.text)}`",
                bound.variable.span,
                "expected `rows`",
                notes=("`rows` is the number of rows of all experts in a call",),
            )
            continue
        if not isinstance(value, int) or value > LARGEST:
            report.error(
                "MOE0307",
                f"rows are counted in whole numbers up to {LARGEST}",
                bound.bound.span,
                "expected such a number",
            )
            continue
        comparisons.append(Comparison(bound.operator, value))
        low = max(low, {">": value + 1, ">=": value, "==": value}.get(bound.operator, 0))
        high = min(high, {"<": value - 1, "<=": value, "==": value}.get(bound.operator, LARGEST))
    if low > high:
        report.error(
            "MOE0313",
            "no number of rows meets these conditions",
            heading.when[0].span.to(heading.when[-1].span),
            f"at least {low} and at most {high}",
        )
    return tuple(comparisons)


class _Directives:
    """Reads one schedule block into ``given`` and ``spans``, keyed by Schedule field."""

    def __init__(self, report: Reporter, roles: Roles | None) -> None:
        self.report, self.roles = report, roles
        self.given: dict[str, object] = {}
        self.spans: dict[str, Span] = {}
        self.readers: dict[str, Callable[[syntax.Directive], None]] = {
            "tile": self._tile,
            "tails": self._tails,
            "swap_ab": self._swap_ab,
            "stages": lambda d: self._single(d, "stages", 64),
            "warps": self._warps,
            "registers": self._registers,
            "cluster": self._cluster,
            "persistent": lambda d: self._choice(d, "persistent", Persistence),
            "order": lambda d: self._choice(d, "order", ExpertOrder),
            "raster": self._raster,
            "fuse": self._fuse,
            "split_k": lambda d: self._single(d, "split_k", 1024),
            "epilogue": self._epilogue,
            "require": self._require,
        }

    def read(self, schedule: syntax.Schedule) -> None:
        """Every directive; all but ``require`` stand once."""
        seen: dict[str, Span] = {}
        for directive in schedule.directives:
            if isinstance(directive, syntax.Broken):
                continue
            name = directive.name.text
            reader = self.readers.get(name)
            if reader is None:
                self.report.error(
                    "MOE0301",
                    f"there is no directive `{clip(name)}`",
                    directive.name.span,
                    "not a directive",
                    notes=(f"the directives are {', '.join(self.readers)}",),
                    help=did_you_mean(name, self.readers),
                )
            elif name in seen and name != "require":
                self.report.error(
                    "MOE0302",
                    f"`{name}` is given twice",
                    directive.name.span,
                    "given again",
                    labels=(Label(seen[name], "first given here"),),
                )
            else:
                seen[name] = directive.name.span
                reader(directive)

    # ---- one method a directive

    def _tile(self, directive: syntax.Directive) -> None:
        fields = self._dims("tile.rows", "tile.columns", "tile.depth")
        self._settings(directive, fields, 65536)

    def _tails(self, directive: syntax.Directive) -> None:
        keys = self._dims("tails")
        form = f"tails {next(iter(keys), 'm')}=64,32,16"
        (argument, *rest) = directive.arguments or (None,)
        if rest or not isinstance(argument, syntax.Setting):
            self._wrong_form(directive, form)
            return
        if not self._known_key(argument.key, keys):
            return
        heights = [self._amount(value, 65536) for value in argument.values]
        known = tuple(height for height in heights if height is not None)
        if len(known) < len(heights):
            return
        self._give("tails", known, argument.span)

    def _swap_ab(self, directive: syntax.Directive) -> None:
        if directive.arguments:
            self._wrong_form(directive, "swap_ab")
        else:
            self._give("swap_ab", True, directive.span)

    def _warps(self, directive: syntax.Directive) -> None:
        self._settings(
            directive,
            {"consumers": "consumers"},
            8,
            {word: ("cooperation", word) for word in Cooperation},
        )

    def _registers(self, directive: syntax.Directive) -> None:
        fields = {"producer": "producer_registers", "consumer": "consumer_registers"}
        self._settings(directive, fields, 255)

    def _cluster(self, directive: syntax.Directive) -> None:
        self._settings(directive, self._dims("cluster_rows", "cluster_columns"), 16)

    def _raster(self, directive: syntax.Directive) -> None:
        along = {
            key: (Along.ROWS if field == "rows" else Along.COLUMNS)
            for key, field in self._dims("rows", "columns").items()
        }
        settings = []
        for argument in directive.arguments:
            if not isinstance(argument, syntax.Setting) or argument.key.text != "along":
                settings.append(argument)
                continue
            value = argument.values[0]
            if len(argument.values) > 1 or not isinstance(value, syntax.Name):
                self._wrong_form(directive, f"along={next(iter(along), 'm')}")
            elif self.roles is None or value.text in along:
                self._give("raster.along", along.get(value.text, Along.ROWS), argument.span)
            else:
                self._unknown_word(value, along)
        self._settings(
            syntax.Directive(directive.name, tuple(settings), directive.span),
            {"group": "raster.group"},
            LARGEST,
            {"serpentine": ("raster.serpentine", True)},
            more=("along",),
            empty=bool(directive.arguments),
        )

    def _fuse(self, directive: syntax.Directive) -> None:
        ragged = self.roles.ragged if self.roles else None
        match directive.arguments:
            case (
                syntax.Argument(value=syntax.Name(text="experts")),
                syntax.Limit(key=key, operator="<=", bound=bound) as limit,
            ):
                if ragged is not None and key.text != ragged:
                    self._unknown_key(key, (ragged,))
                    return
                rows = self._amount(bound, LARGEST)
                if rows is not None:
                    self._give("fuse_rows", rows, limit.span)
            case _:
                self._wrong_form(directive, f"fuse experts {ragged or 'm'}<=16")

    def _epilogue(self, directive: syntax.Directive) -> None:
        rest: list[syntax.Argument | syntax.Setting | syntax.Limit] = []
        for argument in directive.arguments:
            if isinstance(argument, syntax.Setting) and argument.key.text == "store":
                (value, *others) = argument.values
                if others or not isinstance(value, syntax.Name):
                    self._wrong_form(directive, "epilogue store=staged")
                elif (word := self._word(value, EpilogueStore)) is not None:
                    self._give("epilogue_store", word, argument.span)
            else:
                rest.append(argument)
        self._settings(
            syntax.Directive(directive.name, tuple(rest), directive.span),
            {"columns": "epilogue_columns"},
            65536,
            more=("store",),
            empty=bool(directive.arguments),
        )

    def _require(self, directive: syntax.Directive) -> None:
        if not directive.arguments:
            self._wrong_form(directive, "require deterministic")
            return
        before = self.given.get("require", ())
        required = list(before) if isinstance(before, tuple) else []
        for argument in directive.arguments:
            if not isinstance(argument, syntax.Argument) or isinstance(
                argument.value, syntax.Number
            ):
                self._wrong_form(directive, "require deterministic")
                return
            word = self._word(argument.value, Requirement)
            if word is not None and word not in required:
                required.append(word)
        self.given["require"] = tuple(required)
        self.spans["require"] = self.spans.get("require", directive.span).to(directive.span)

    # ---- parts of directives

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

    def _wrong_form(self, directive: syntax.Directive, form: str) -> None:
        self.report.error(
            "MOE0303",
            f"this is not how `{directive.name.text}` is written",
            directive.span,
            f"expected `{form}`",
        )


def _one_of(words: Iterable[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1]))) if quoted else "nothing"
