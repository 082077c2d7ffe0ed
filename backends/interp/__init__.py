"""The ``interp`` backend: NumPy and BLAS on the host, no compiler and no GPU needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backend import Availability

if TYPE_CHECKING:
    from moedsl.backends.interp.walk import InterpExecutable
    from moedsl.ir.tile import TileKernel


class InterpBackend:
    """Walks the work plan tile by tile, as a GPU would, one BLAS call for each tile and part."""

    name = "interp"

    def availability(self) -> Availability:
        """Always usable; says with which BLAS and how many cores."""
        import os

        import numpy as np

        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return Availability(True, f"NumPy {np.__version__} with {blas['name']}, {cores} cores")

    def compile(self, kernel: TileKernel) -> InterpExecutable:
        """An executable for host arrays; nothing can fail."""
        from moedsl.backends.interp.walk import InterpExecutable

        return InterpExecutable(kernel)


BACKEND = InterpBackend()
