"""The ``emulator`` backend: the cuda backend's code, compiled for and run on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backend import Availability
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from moedsl.backends.emulator.executable import EmulatorExecutable
    from moedsl.ir.tile import TileKernel


class EmulatorBackend:
    """Runs and checks kernels of every target on host arrays. Slow: meant for small sizes."""

    name = "emulator"

    def availability(self) -> Availability:
        """Whether there is a C++ compiler, and which."""
        from moedsl.backends.emulator.toolchain import find_compiler

        try:
            return Availability(True, f"{find_compiler()}")
        except UnavailableError as error:
            return Availability(False, error.message, error.help)

    def compile(self, kernel: TileKernel) -> EmulatorExecutable:
        """An executable for ``kernel``; nothing is compiled before it is asked for.

        Its methods raise UnavailableError without a C++ compiler, KernelFaultError for what the
        emulator finds.
        """
        from moedsl.backends.emulator.executable import EmulatorExecutable

        return EmulatorExecutable(kernel)


BACKEND = EmulatorBackend()
