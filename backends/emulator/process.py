"""One launch in a process of its own: buffers go there in a file, findings come back as text."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backends.emulator.options import VARIABLE
from moedsl.backends.emulator.report import EmulationError, Finding
from moedsl.backends.emulator.symbols import read_outcome
from moedsl.backends.emulator.toolchain import kernel_library, runtime_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from moedsl.backends.emulator.options import Options
    from moedsl.backends.emulator.unit import Unit

PAGE = 65536
"""Buffers start on pages of their own, whatever the machine's page size."""


class Use(StrEnum):
    """What a kernel may do with a buffer.

    OUTPUT is undefined before and takes each byte once, ACCUMULATED is read and takes each byte
    once besides atomics, SCRATCH is undefined and may be overwritten, STATE is defined and may be.
    """

    INPUT = "r"
    OUTPUT = "w1u"
    ACCUMULATED = "w1"
    SCRATCH = "wu"
    STATE = "w"


@dataclass(frozen=True, slots=True)
class Buffer:
    """``data`` are the bytes a kernel sees at an address that is ``alignment`` modulo 256.

    ``gaps``, as long as ``data`` or empty, is 1 where nobody may write: between an output's
    elements.
    """

    name: str
    data: bytearray
    use: Use
    alignment: int = 0
    gaps: bytes = b""

    @property
    def pages(self) -> int:
        """Bytes of the file that the buffer takes, its gaps behind it."""
        return -(-(self.alignment + len(self.data) + len(self.gaps)) // PAGE) * PAGE


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address to be written at byte ``at`` of the arguments: ``addend`` bytes into a buffer."""

    at: int
    buffer: str
    addend: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """CTAs to launch, how many of them exist at a time, their threads and shared memory.

    ``cluster`` consecutive CTAs are a cluster; ``blocks`` is a multiple of it. ``sharing`` CTAs
    share the registers of an SM. If the launch ``overlaps``, threads must wait for the one before.
    """

    blocks: int
    threads: int
    shared_bytes: int = 0
    resident: int = 4
    cluster: int = 1
    sharing: int = 1
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with all it needs for one launch."""

    unit: Unit
    grid: Grid
    arguments: bytes
    pointers: tuple[Pointer, ...]
    buffers: tuple[Buffer, ...]


def run(launch: Launch, options: Options) -> Mapping[str, int]:
    """Run and write the results into the launch's buffers; returns the emulator's counters.

    Raises EmulationError for what it found, UnavailableError without a C++ compiler.
    """
    program, library = runtime_program(), kernel_library(launch.unit.host)
    with tempfile.TemporaryFile() as memory:
        offsets = _store(memory, launch.buffers)
        request = _request(launch, options, offsets, library, memory.fileno())

        def attempt(more: str = "") -> Finding | Mapping[str, int]:
            text = _communicate(program, request + more, memory.fileno())
            return read_outcome(text, library, launch.unit)

        outcome = attempt()
        if isinstance(outcome, Finding):
            if outcome.watch:
                _store(memory, launch.buffers)
                again = attempt(f"watch {outcome.watch}\n")
                outcome = again if isinstance(again, Finding) else outcome
            raise EmulationError(replace(outcome, replay=f"{VARIABLE}={options}"), launch.unit)
        _fetch(memory, offsets, launch.buffers)
    return outcome


def _store(memory: IO[bytes], buffers: Sequence[Buffer]) -> list[int]:
    """Write the buffers; returns the offset of each one's first page."""
    memory.seek(0)
    offsets, end = [], 0
    for buffer in buffers:
        offsets.append(end)
        memory.seek(end + buffer.alignment)
        memory.write(buffer.data)
        memory.write(buffer.gaps)
        end += buffer.pages
    memory.truncate(max(end, PAGE))
    memory.flush()
    return offsets


def _fetch(memory: IO[bytes], offsets: Sequence[int], buffers: Sequence[Buffer]) -> None:
    for offset, buffer in zip(offsets, buffers, strict=True):
        if buffer.use is not Use.INPUT:
            memory.seek(offset + buffer.alignment)
            buffer.data[:] = memory.read(len(buffer.data))


def _request(
    launch: Launch, options: Options, offsets: Sequence[int], library: Path, memory: int
) -> str:
    grid, policy = launch.grid, options.policy
    numbers = {buffer.name: number for number, buffer in enumerate(launch.buffers)}
    blocks = f"{grid.blocks} {grid.resident} {grid.threads}"
    lines = [
        f"kernel {library}",
        f"launch {blocks} {grid.shared_bytes} {grid.cluster} {grid.sharing} {int(grid.overlaps)}",
        f"policy {policy.order} {policy.arrival} {policy.seed}",
        f"races {int(options.races)}",
        f"timeout {options.timeout}",
        f"memory {memory}",
        *(
            f"buffer {b.name} {offset} {b.alignment} {len(b.data)} {b.use} {len(b.gaps)}"
            for b, offset in zip(launch.buffers, offsets, strict=True)
        ),
        f"arguments {launch.arguments.hex()}",
        *(f"pointer {p.at} {numbers[p.buffer]} {p.addend}" for p in launch.pointers),
    ]
    return "\n".join(lines) + "\n"


def _communicate(program: Path, request: str, memory: int) -> str:
    """What the launch's process says; a process that says nothing is a finding, too."""
    done = subprocess.run(
        [program], input=request.encode(), capture_output=True, pass_fds=[memory], check=False
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode in (0, 1) and text:
        return text
    return f"finding crash\nline 0\nmessage the launch's process ended with {done.returncode}\n"
