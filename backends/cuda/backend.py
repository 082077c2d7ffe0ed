"""The ``cuda`` backend: tile kernels to CUDA C, CUBIN and launches."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from moedsl.backend import Availability
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moedsl.backends.cuda.cache import KernelCache
    from moedsl.backends.cuda.executable import CudaExecutable
    from moedsl.ir.tile import TileKernel
    from moedsl.lower.pipeline import Pass


class CudaBackend:
    """Runs on NVIDIA GPUs of compute capability 8.0 and newer; compiles anywhere."""

    name = "cuda"
    artefacts: Mapping[str, str] = MappingProxyType(
        {"gpu": ".gpu", "cuda": ".cu", "ptx": ".ptx", "cubin": ".cubin", "sass": ".sass"}
    )

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

    @property
    def passes(self) -> Sequence[Pass]:
        """The passes from tile to gpu IR."""
        from moedsl.backends.cuda.lower import PASSES

        return PASSES

    def compile(self, kernel: TileKernel) -> CudaExecutable:
        """An executable for ``kernel``; nothing is compiled before it is asked for.

        Its methods raise UnavailableError without NVRTC, a driver or a fitting GPU.
        """
        from moedsl.backends.cuda.executable import CudaExecutable

        return CudaExecutable(kernel)

    def emit(self, kernel: TileKernel, artefact: str) -> str | bytes:
        """One of ``artefacts``, for arrays that allow vector access. Needs no GPU.

        Raises UnavailableError without NVRTC (``ptx`` and on) or nvdisasm (``sass``).
        """
        from moedsl.backends.cuda.access import every_vector
        from moedsl.backends.cuda.emit import generate
        from moedsl.backends.cuda.lower import lower_to_gpu
        from moedsl.backends.cuda.nvrtc import compile_ptx
        from moedsl.backends.cuda.sass import disassemble
        from moedsl.ir.module import Module
        from moedsl.ir.text import print_module

        modes = every_vector(kernel.signature)
        match artefact:
            case "gpu":
                return print_module(Module("gpu", (lower_to_gpu(kernel, modes),), kernel.source))
            case "cuda":
                return generate(kernel, modes).source
            case "ptx":
                generated = generate(kernel, modes)
                return compile_ptx(generated.source, generated.entry, kernel.target)
            case "cubin":
                return self.compile(kernel).variant(modes).binary.cubin
            case "sass":
                return disassemble(self.compile(kernel).variant(modes).binary.cubin)
            case _:
                raise ValueError(f"the cuda backend makes {', '.join(self.artefacts)}")

    def manifest(self, kernel: TileKernel) -> Mapping[str, object]:
        """ABI, grid rule, workspace and cost of the kernel, for arrays that allow vector access."""
        from moedsl.backends.cuda.manifest import manifest

        return manifest(kernel, self.compile(kernel).variant())

    def number_keeper(self, device: int) -> Callable[[bytes, int], int]:
        """What keeps numbers on a device, see NumberKeeper."""
        from moedsl.backends.cuda.numbers import numbers_on

        return numbers_on(device).at

    def cache(self) -> KernelCache:
        """The cubins of this user."""
        from moedsl.backends.cuda.cache import cache_folder, kernel_cache

        return kernel_cache(cache_folder())


BACKEND = CudaBackend()
