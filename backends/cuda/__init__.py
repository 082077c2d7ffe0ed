"""Kernels on NVIDIA GPUs: gpu dialect, CUDA C, NVRTC, launch. Importing it imports no CUDA."""

from moedsl.backends.cuda.backend import BACKEND, CudaBackend

__all__ = ["BACKEND", "CudaBackend"]
