"""What a launch ended with, told in terms of the emitted kernel and of the ``.moe`` file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.span import Span

if TYPE_CHECKING:
    from moedsl.backends.emulator.unit import Unit
    from moedsl.source.span import Source


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of the emitted unit that was being executed; ``function`` is its C++ name."""

    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one place: who waits there, who wrote before. Innermost frame first."""

    text: str
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a launch. ``kind`` is stable: ``race``, ``deadlock``, ``bounds``, ….

    ``line`` is the line of the emitted unit where it shows, 0 if it is about no line;
    ``frames`` are the calls that lead there, the kernel's own line last. ``watch`` is what a second
    run is to look at to find the other side of it, and ``replay`` how a user repeats the launch.
    """

    kind: str
    message: str
    line: int = 0
    frames: tuple[Frame, ...] = ()
    notes: tuple[Note, ...] = ()
    watch: str = ""
    replay: str = ""


class EmulationError(RuntimeError):
    """A launch was stopped, or left its buffers wrong. ``finding`` says why, ``unit`` where."""

    def __init__(self, finding: Finding, unit: Unit | None = None) -> None:
        self.finding, self.unit = finding, unit
        super().__init__("\n".join(_lines(finding, unit)))


def _lines(finding: Finding, unit: Unit | None) -> list[str]:
    lines = [f"{finding.kind}: {finding.message}"]
    frames = finding.frames or ((Frame(finding.line, ""),) if finding.line else ())
    lines += [f"  at {_place(frame, unit)}" for frame in frames]
    for note in finding.notes:
        lines.append(f"  {note.text}")
        lines += [f"    at {_place(frame, unit)}" for frame in note.frames]
    if finding.replay:
        lines.append(f"  replay: {finding.replay}")
    return lines


def _place(frame: Frame, unit: Unit | None) -> str:
    if unit is None:
        return f"line {frame.line}"
    origin = unit.origin(frame.line)
    where = f"{unit.name}:{frame.line}" + (f" ({origin[0]}:{origin[1]})" if origin else "")
    return f"{where}: {unit.text_of(frame.line)}"


class KernelFaultError(DiagnosticError):
    """What the emulator found in a compiled kernel, pointing at the ``.moe`` line it came from."""

    def __init__(self, finding: Finding, unit: Unit, source: Source | None) -> None:
        self.finding, self.unit = finding, unit
        _, *notes = _lines(replace(finding, replay=""), unit)
        diagnostic = Diagnostic(
            code="MOE0590",
            message=f"the emulator stopped the kernel: {finding.message} ({finding.kind})",
            source=source,
            span=_span(finding, unit, source),
            notes=tuple(note.strip() for note in notes),
            help=f"the same run again: {finding.replay}" if finding.replay else "",
        )
        super().__init__([diagnostic])


def _span(finding: Finding, unit: Unit, source: Source | None) -> Span | None:
    """The line of the user's file nearest to the finding, if the file is known."""
    lines = [*(frame.line for frame in finding.frames), finding.line]
    origins = [origin for line in lines if (origin := unit.origin(line))]
    if source is None or not origins:
        return None
    number = origins[0][1]
    start = sum(len(line) + 1 for line in source.text.split("\n")[: number - 1])
    return Span(start, start + len(source.line(number)))
