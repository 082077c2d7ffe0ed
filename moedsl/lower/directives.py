"""The directives of a schedule: one method for each, every rule about its names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Persistence,
    Requirement,
)
from moedsl.lower.directive_parts import DirectiveParts
from moedsl.source import syntax
from moedsl.source.diagnostic import Label
from moedsl.source.reporter import Reporter
from moedsl.source.syntax_errors import clip, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.lower.roles import Roles
    from moedsl.source.span import Span

LARGEST = 2**31 - 1


class Directives(DirectiveParts):
    """Reads one schedule block."""

    def __init__(self, report: Reporter, roles: Roles | None) -> None:
        super().__init__(report, roles)
        self.readers: dict[str, Callable[[syntax.Directive], None]] = {
            "tile": self._tile,
            "tails": self._tails,
            "swap_ab": self._swap_ab,
            "stages": lambda d: self._single(d, "stages", 64),
            "warps": self._warps,
            "registers": self._registers,
            "cluster": self._cluster,
            "cache": self._cache,
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
        form = f"{next(iter(keys), 'm')}=64,32,16"
        if _is_off(directive):
            self._give("tails", (), directive.span)
            self._give("balanced", False, directive.span)
            return
        match directive.arguments:
            case (syntax.Setting() as setting,):
                word = None
            case (syntax.Argument(value=syntax.Name() as word), syntax.Setting() as setting):
                if word.text != "balanced":
                    self._unknown_word(word, ("balanced",))
                    return
            case (syntax.Argument(value=syntax.Name(text="balanced")), *_):
                help = "list the heights that tiles may have besides the full one"
                self._wrong_form(directive, f"tails balanced {form}", help)
                return
            case _:
                self._wrong_form(directive, f"tails {form}")
                return
        if not self._known_key(setting.key, keys):
            return
        heights = [self._amount(value, 65536) for value in setting.values]
        known = tuple(height for height in heights if height is not None)
        if len(known) < len(heights):
            return
        self._give("tails", known, setting.span)
        self._give("balanced", word is not None, word.span if word else directive.span)

    def _swap_ab(self, directive: syntax.Directive) -> None:
        if _is_off(directive) or not directive.arguments:
            self._give("swap_ab", not directive.arguments, directive.span)
        else:
            self._wrong_form(directive, "swap_ab")

    def _warps(self, directive: syntax.Directive) -> None:
        self._settings(
            directive,
            {"consumers": "consumers"},
            8,
            {word: ("cooperation", word) for word in Cooperation},
        )

    def _registers(self, directive: syntax.Directive) -> None:
        fields = {"producer": "producer_registers", "consumer": "consumer_registers"}
        if _is_off(directive):
            for field in fields.values():
                self._give(field, 0, directive.span)
            return
        self._settings(directive, fields, 255)

    def _cluster(self, directive: syntax.Directive) -> None:
        self._settings(directive, self._dims("cluster_rows", "cluster_columns"), 16)

    def _cache(self, directive: syntax.Directive) -> None:
        fields = self._dims("row_eviction", "column_eviction")
        form = f"cache {' '.join(f'{key}={Eviction.LAST}' for key in fields)}"
        if not directive.arguments:
            self._wrong_form(directive, form)
        for argument in directive.arguments:
            match argument:
                case syntax.Setting(key=key) if not self._known_key(key, fields):
                    continue
                case syntax.Setting(key=key, values=(syntax.Name() as value,)):
                    if (word := self._word(value, Eviction)) is not None:
                        self._give(fields[key.text], word, argument.span)
                case _:
                    self._wrong_form(directive, form)
                    return

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
        if _is_off(directive):
            self._give("fuse_rows", 0, directive.span)
            return
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
        match directive.arguments:
            case (syntax.Setting(key=key), *_) if not self._known_key(key, ("store",)):
                return
            case (syntax.Setting(values=(syntax.Name() as value,)) as setting,):
                if (word := self._word(value, EpilogueStore)) is not None:
                    self._give("epilogue_store", word, setting.span)
            case _:
                self._wrong_form(directive, "epilogue store=staged")

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


def _is_off(directive: syntax.Directive) -> bool:
    """``off`` alone: what the directive is for is not done."""
    match directive.arguments:
        case (syntax.Argument(value=syntax.Name(text="off")),):
            return True
        case _:
            return False
