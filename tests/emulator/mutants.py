"""What can be wrong with one place of an emitted kernel."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from moedsl.backends.emulator.unit import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.backends.emulator.unit import Unit

_CALL = r"\b(?:moe::)?(?:{0})(?:<[^>]*>)?\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\);"
"""A statement that calls one of some functions; its arguments have calls in calls."""
_WAITS = (
    "copy_wait|barrier_wait|barrier_wait_cluster|group_wait|bulk_wait|bulk_wait_read|flag_wait"
    "|wait_for_previous_launch"
)
_COMMITS = "copy_commit|group_commit|bulk_commit"
_ARRIVALS = "barrier_arrive|barrier_arrive_expect|peer_arrive|peer_arrive_release|named_arrive"
_FENCES = "fence_device|fence_async|fence_async_global|fence_barrier_init|group_fence"
_BARRIERS = "sync_cta|sync_warp|sync_cluster|named_sync"
_ORDER = f"{_WAITS}|{_COMMITS}|{_ARRIVALS}|{_FENCES}|{_BARRIERS}"

SUBSTITUTIONS: tuple[tuple[str, str, str], ...] = (
    ("drop the wait", _CALL.format(_WAITS), ""),
    ("wait for one fewer", r"copy_wait<kStages - 2>", "copy_wait<kStages - 1>"),
    ("wait for one fewer", r"copy_wait<(\w+)>", r"copy_wait<\1 + 1>"),
    ("wait for one fewer", r"((?:group|bulk)_wait(?:_read)?)<0>", r"\1<1>"),
    ("wait for one fewer", r"((?:group|bulk)_wait(?:_read)?)<1>", r"\1<2>"),
    ("drop the commit", _CALL.format(_COMMITS), ""),
    ("drop the arrival", _CALL.format(_ARRIVALS), ""),
    ("drop the barrier", _CALL.format("sync_cta|sync_cluster|named_sync"), ""),
    ("drop the warp's barrier", _CALL.format("sync_warp"), ""),
    ("drop the fence", _CALL.format(_FENCES), ""),
    ("more bytes", r"((?:arrive_expect|barrier_expect)\([^,]+, [^;]+)\);", r"\1 + 16);"),
    ("fewer bytes", r"((?:arrive_expect|barrier_expect)\([^,]+, [^;]+)\);", r"\1 - 16);"),
    ("one arrival more", r"(barrier_init\([^,]+, [^;]+)\);", r"\1 + 1);"),
    ("one arrival fewer", r"(barrier_init\([^,]+, [^;]+)\);", r"\1 - 1);"),
    ("wrong phase", r"\bparity \^ 1\b", "parity"),
    ("wrong phase", r"\bparity\);", "parity ^ 1);"),
    ("phase not advanced", r"[\w.]*\bparity \^= 1;", ";"),
    ("wrong stage", r"stage \+ 1 == kStages \? 0", "stage == kStages ? 0"),
    ("wrong stage", r"([\w.]*\bstage) \* ", r"(\1 ^ 1) * "),
    ("stage not advanced", r"stage = stage \+ 1 == kStages \? 0 : stage \+ 1", "stage = stage"),
    ("stage not advanced", r"\+\+([\w.]*\bstage)\b", r"\1"),
    ("wrong swizzle", r"\bswizzle_128\b", "swizzle_64"),
    ("wrong swizzle", r"\bswizzle_64\b", "swizzle_128"),
    ("other direction", r"\bby_depth\b", "by_outer"),
    ("other direction", r"\bby_outer\b", "by_depth"),
    ("wrong numbered barrier", r"(named_(?:sync|arrive)\()", r"\g<1>1 + "),
    ("other threads at the barrier", r"(named_(?:sync|arrive)\([^;]*, [^;]*)\);", r"\1 + 32);"),
    ("swapped operands", r"\((sum\w*), (\w+), (\w+), ", r"(\1, \3, \2, "),
    ("swapped operands", r"\{\{([^,{}]+), ([^,{}]+)\}\}", r"{{\2, \1}}"),
    ("other tensor", r"\ba\.left\b", "a.right"),
    ("all for one", r"\belect\(\)", "true"),
    ("bound one too wide", r" < ", " <= "),
    ("bound one too narrow", r" <= ", " < "),
    ("bound turned", r" > ", " >= "),
    ("bound moved", r" >= ", " > "),
    ("condition turned", r" == ", " != "),
    ("both for either", r" && ", " || "),
    ("either for both", r" \|\| ", " && "),
    ("sum for difference", r" - ", " + "),
    ("difference for sum", r" \+ ", " - "),
    ("no factor", r" \* (?=\d+\b)", " + "),
    ("number one more", r"(?<=[ (])([1-9]\d*)(?=[,;)\] ])", "{+1}"),
    ("zero becomes one", r"(?<=[=(, ])0(?=[;),])", "1"),
    ("swizzle bit", r" \^ ", " | "),
    ("remainder dropped", r" % ", " / "),
    ("mask", r" & ", " | "),
    ("negated", r"\bif \((?!constexpr)", "if (!"),
)
_FUNCTION = re.compile(r"(?:static |\s)*MOE_(?:DEVICE|KERNEL\([^)]*\)) .*?(\w+)\(")
_ALONE = re.compile(rf"\s*(?:if \(\w+\) )?{_CALL.format(_ORDER)}$")
_CALLS = re.compile(r"\s*(?!\s|const|advance)[^/}].*\w[(<].*;$")
"""Statements that call something: what only computes can stand before or behind it."""


@dataclass(frozen=True)
class Mutant:
    """Line ``line`` of a unit, and those behind it that ``before`` has, become ``after``.

    ``function`` is the last whose definition began before.
    """

    line: int
    function: str
    operator: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """What is changed, in one line, whatever stands before its function."""
        return f"{self.function}: {_flat(self.before)} → {_flat(self.after) or 'nothing'}"

    def applied(self, unit: Unit) -> Unit:
        """The damaged unit, of as many lines."""
        lines, after = list(unit.lines), self.after.split("\n")
        lines[self.line - 1 : self.line - 1 + len(after)] = after
        return replace(unit, emitted="\n".join(lines) + "\n")


def _flat(text: str) -> str:
    return " ⏎ ".join(line.strip() for line in text.split("\n"))


def mutants_of(unit: Unit) -> Iterator[Mutant]:
    """Every mutant of what is compiled for both machines: the portable prelude and the kernel."""
    primitive, function = False, ""
    for number, line in enumerate(unit.lines, 1):
        if section := re.match(r"// (?:prelude/(\w+)\.cuh|kernel)$", line):
            primitive = section[1] in PRIMITIVES
        if begun := _FUNCTION.match(line):
            function = begun[1]
        if primitive or line.startswith(("#", "template")) or "static_assert" in line:
            continue
        yield from _changed(number, function, line)
        yield from _moved(number, function, line, *unit.lines[number : number + 1])


def _changed(number: int, function: str, line: str) -> Iterator[Mutant]:
    code, _, _ = line.partition("//")
    for operator, pattern, substitute in SUBSTITUTIONS:
        for found in re.finditer(pattern, code):
            plain = substitute != "{+1}"
            new = found.expand(substitute) if plain else str(int(found[1]) + 1)
            after = line[: found.start()] + new + line[found.end() :]
            yield Mutant(number, function, operator, line, after)


def _moved(number: int, function: str, line: str, following: str = "") -> Iterator[Mutant]:
    """What orders others changes places with its neighbour."""
    if not (_CALLS.match(line) and _CALLS.match(following)):
        return
    if _ALONE.match(line) or _ALONE.match(following):
        before, after = f"{line}\n{following}", f"{following}\n{line}"
        yield Mutant(number, function, "moved", before, after)


def choose(unit: Unit, count: int, seed: int) -> list[Mutant]:
    """``count`` mutants of a unit, of all operators alike.

    Their names decide: a change of the emitted text leaves the other mutants of a draw in it.
    """

    def place(mutant: Mutant) -> bytes:
        return blake2b(f"{seed} {mutant.name}".encode()).digest()

    turns: Counter[str] = Counter()
    ranked = []
    for mutant in sorted(mutants_of(unit), key=place):
        turns[mutant.operator] += 1
        ranked.append((turns[mutant.operator], mutant))
    ranked.sort(key=lambda entry: entry[0])
    return [mutant for _, mutant in ranked[:count]]
