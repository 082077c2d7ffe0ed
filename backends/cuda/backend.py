"""The ``cuda`` backend: tile kernels to CUDA C, CUBIN and launches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backend import Availability
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from moedsl.backends.cuda.executable import CudaExecutable
    from moedsl.ir.tile import TileKernel


class CudaBackend:
    """Runs on NVIDIA GPUs of compute capability 8.0 and newer; compiles anywhere."""

    name = "cuda"

    def availability(self) -> Availability:
        """Whether there is a driver with a GPU that is new enough, and NVRTC."""
        from moedsl.backends.cuda.driver import gpu, gpu_count
        from moedsl.backends.cuda.nvrtc import compiler_version

        try:
            count, device, compiler = gpu_count(), gpu(0), compiler_version()
        except UnavailableError as error:
            return Availability(False, error.message, error.help)
        except RuntimeError as error:
            return Availability(False, str(error), "see whether nvidia-smi works")
        capability = ".".join(map(str, device.capability))
        if device.target is None:
            return Availability(
                False,
                f"{device.name} has compute capability {capability}",
                "use a GPU of compute capability 8.0 or newer, or the interp backend",
            )
        more = f" and {count - 1} more" if count > 1 else ""
        detail = f"{device.name}{more}, compute capability {capability}, NVRTC {compiler}"
        return Availability(True, detail, target=device.target)

    def compile(self, kernel: TileKernel) -> CudaExecutable:
        """An executable for ``kernel``; nothing is compiled before it is asked for.

        Its methods raise UnavailableError without NVRTC, a driver or a fitting GPU.
        """
        from moedsl.backends.cuda.executable import CudaExecutable

        return CudaExecutable(kernel)


BACKEND = CudaBackend()
