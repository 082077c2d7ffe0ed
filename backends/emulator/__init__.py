"""Emitted CUDA C on the CPU: every CUDA thread a fiber, every access checked.

``unit`` turns what the cuda backend emits into C++, ``toolchain`` compiles it, ``process`` runs one
launch in a process of its own, ``report`` says what was found.
"""

from moedsl.backends.emulator.backend import BACKEND, EmulatorBackend

__all__ = ["BACKEND", "EmulatorBackend"]
