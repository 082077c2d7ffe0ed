"""What a backend is, and which ones are installed (entry points ``moedsl.backends``)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.target import DEFAULT_TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from moedsl.arrays import ArrayView
    from moedsl.ir.tile import TileKernel
    from moedsl.lower.pipeline import Pass
    from moedsl.target import Target

HOST_BACKEND = "interp"
"""What computes with arrays in host memory, unless told otherwise."""

DEVICE_BACKEND = "cuda"
"""What computes with arrays on a GPU."""


class PerformanceWarning(UserWarning):
    """A call computes what was asked, but slower than the same call could be."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can run here: on what or why not (``detail``), how to get it (``help``)."""

    usable: bool
    detail: str
    help: str = ""
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call, validated.

    ``arrays`` holds every tensor of the signature by name, ``offs`` the i32[E] cumulative ends,
    ``sizes`` the extent of every index that is not ragged and, under the ragged index's name, the
    total number of rows. ``stream`` is the caller's CUDA stream handle, None on the host.
    """

    arrays: Mapping[str, ArrayView]
    offs: ArrayView
    sizes: Mapping[str, int]
    stream: int | None = None


class Executable(Protocol):
    """A kernel made ready by a backend."""

    def prepare(self, call: Call) -> None:
        """Do everything ``launch`` needs for calls like this one (compile, load, allocate)."""

    def launch(self, call: Call) -> None:
        """Compute. Asynchronous on the call's stream where the backend has streams."""


@runtime_checkable
class DeviceExecutable(Executable, Protocol):
    """An executable for device arrays, with a short way for calls that differ little."""

    def bind(self, call: Call, order: Sequence[str]) -> Callable[[Sequence[int], int], None]:
        """``prepare``, and a launch for all calls like this one in all but addresses.

        Addresses must be the same modulo 16. The launch takes those of the arrays called as in
        ``order``, which names every tensor of the signature and offs, and a stream handle.
        """


class Backend(Protocol):
    """Turns tile kernels into executables."""

    name: str

    def availability(self) -> Availability:
        """Whether kernels can run on this machine; cheap, never raises."""

    def compile(self, kernel: TileKernel) -> Executable:
        """An executable for ``kernel``; raises DiagnosticError or UnavailableError."""


@runtime_checkable
class Emitter(Protocol):
    """A backend whose intermediate results can be looked at, without running anything."""

    artefacts: Mapping[str, str]
    """What ``emit`` can make and the ends of their files' names, in the order of lowering."""

    def emit(self, kernel: TileKernel, artefact: str) -> str | bytes:
        """One of ``artefacts``; raises DiagnosticError or UnavailableError."""

    def manifest(self, kernel: TileKernel) -> Mapping[str, object]:
        """What another program must know to launch the kernel, and what it costs.

        Plain values and containers of them, as in JSON. Raises as ``emit``.
        """


@runtime_checkable
class Lowering(Protocol):
    """A backend with passes of its own, which go on from tile IR."""

    @property
    def passes(self) -> Sequence[Pass]:
        """Its passes, in order."""


@runtime_checkable
class NumberKeeper(Protocol):
    """A backend that puts numbers beside arrays on a device."""

    def number_keeper(self, device: int) -> Callable[[bytes, int], int]:
        """What keeps numbers on the device with CUDA ordinal ``device``.

        It takes a number's bytes and a stream handle, and gives the address at which those bytes
        lie, 16-byte aligned, for work on that stream from now on, as long as the process lives. It
        waits for nothing.
        """


class CacheEntry(Protocol):
    """One compiled kernel: ``bytes`` is its size, ``made`` seconds since the epoch."""

    @property
    def key(self) -> str:
        """Digest of all that decides it."""

    @property
    def kernel(self) -> str:
        """The kernel's name."""

    @property
    def arch(self) -> str:
        """What it runs on."""

    @property
    def bytes(self) -> int:
        """Size of the machine code."""

    @property
    def made(self) -> float:
        """When it was compiled."""


class Cache(Protocol):
    """Compiled kernels kept between processes in ``folder``. Methods may raise OSError."""

    folder: Path

    def entries(self) -> Sequence[CacheEntry]:
        """What is there, newest first."""

    def prune(self, days: float) -> Sequence[CacheEntry]:
        """Remove what is older than ``days`` days; returns what was removed."""

    def clear(self) -> int:
        """Remove everything; returns how many kernels there were."""


@runtime_checkable
class Caching(Protocol):
    """A backend that keeps what it compiled."""

    def cache(self) -> Cache:
        """The cache in use."""


def all_passes() -> tuple[Pass, ...]:
    """The compiler's passes and, behind them, those of every installed backend."""
    from moedsl.lower.pipeline import PASSES

    lowering = [b for b in backends().values() if isinstance(b, Lowering)]
    return (*PASSES, *(step for backend in lowering for step in backend.passes))


@cache
def backends() -> Mapping[str, Backend]:
    """Every installed backend by name."""
    from importlib.metadata import entry_points

    return {entry.name: entry.load() for entry in entry_points(group="moedsl.backends")}


def find_backend(name: str) -> Backend:
    """The backend called ``name``; DiagnosticError (MOE0611) if there is none."""
    installed = backends()
    if name in installed:
        return installed[name]
    from difflib import get_close_matches

    close = get_close_matches(name, installed, 1)
    message = f"there is no backend '{name}'" + (f"; did you mean '{close[0]}'?" if close else "")
    notes = (f"installed: {', '.join(sorted(installed)) or 'none'}",)
    raise DiagnosticError([Diagnostic("MOE0611", message, notes=notes)])


def target_here() -> Target:
    """The architecture of this machine's GPU; sm_90a where there is none."""
    found = (backend.availability().target for backend in backends().values())
    return next((target for target in found if target), DEFAULT_TARGET)
