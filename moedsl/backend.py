"""What a backend is, and which ones are installed (entry points ``moedsl.backends``)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.arrays import ArrayView
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target


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


class Backend(Protocol):
    """Turns tile kernels into executables."""

    name: str

    def availability(self) -> Availability:
        """Whether kernels can run on this machine; cheap, never raises."""

    def compile(self, kernel: TileKernel) -> Executable:
        """An executable for ``kernel``; raises DiagnosticError or UnavailableError."""


@cache
def backends() -> Mapping[str, Backend]:
    """Every installed backend by name."""
    return {entry.name: entry.load() for entry in entry_points(group="moedsl.backends")}
