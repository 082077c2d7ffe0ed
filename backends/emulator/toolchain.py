"""The system's C++ compiler: the runtime is built once, every kernel once for its text.

What was built lies in ``emulator/`` of moedsl's cache folder, under the digest of everything that
decided it, and is published by an atomic rename. A folder that cannot be written costs a
temporary one that lives as long as the process.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from moedsl.backends.cuda.cache import cache_folder
from moedsl.source.diagnostic import UnavailableError

RUNTIME = Path(__file__).parent / "runtime"
PRELUDE = Path(__file__).parent / "prelude"

_COMMON = ("-std=c++20", "-fno-omit-frame-pointer", "-g1")
_RUNTIME_FLAGS = (*_COMMON, "-O3", "-rdynamic", "-Wall", "-Wextra")
_UNDEFINED = "-fsanitize=bounds,shift,signed-integer-overflow,integer-divide-by-zero"
_STRICT = _UNDEFINED.replace("bounds", "bounds-strict")  # also where an array ends its struct
# The CUDA compiler knows all of the language's pragmas; a host compiler need not warn of them.
# Contraction would round once where the kernel's text rounds twice.
_KERNEL_FLAGS = (*_COMMON, "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off")
# A kernel takes nothing from C++'s library: not to link it spares a tenth to a third of the time.
_LEAN = () if sys.platform == "darwin" else ("-nostdlib",)
_WELCOME_FLAGS = (
    ("-ftrivial-auto-var-init=pattern",),
    (_STRICT, "-fsanitize-undefined-trap-on-error"),
    (_UNDEFINED, "-fsanitize-undefined-trap-on-error"),
    (_UNDEFINED, "-fsanitize-trap=all"),
)
"""For kernels, where the compiler has them: poisoned registers, traps where C has no meaning."""
_INSTALL = "install g++ or clang, or the Python package 'ziglang'"


class KernelRefusedError(RuntimeError):
    """The host compiler refused an emitted kernel: a bug in moedsl. ``path`` holds the unit."""

    def __init__(self, log: str, path: Path) -> None:
        self.log, self.path = log, path
        super().__init__(f"the host compiler refused the emitted kernel, kept in {path}:\n{log}")


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler: the command that runs it, and what distinguishes this build of it."""

    command: tuple[str, ...]
    identity: str

    def __str__(self) -> str:
        return " ".join(self.command)


@cache
def find_compiler() -> Compiler:
    """``$CXX``, else the first of c++, g++, clang++ on the path, else ziglang's.

    Raises UnavailableError if there is none.
    """
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if path := shutil.which(name):
            real = Path(path).resolve()
            status = real.stat()
            return Compiler((path,), f"{real} {status.st_size} {status.st_mtime_ns}")
    if spec := find_spec("ziglang"):
        return Compiler((sys.executable, "-m", "ziglang", "c++"), f"ziglang {spec.origin}")
    raise UnavailableError("the emulator needs a C++ compiler and found none", help=_INSTALL)


@cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="moedsl-emulator-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _folder(root: Path) -> Path:
    folder = root / "emulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK) else _temporary_folder()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _accepted(compiler: Compiler) -> tuple[str, ...]:
    """The welcome flags that this compiler knows."""
    accepted: list[str] = []
    for flags in _WELCOME_FLAGS:
        command = [*compiler.command, "-x", "c++", "-fsyntax-only", "-Werror", *flags, os.devnull]
        known = subprocess.run(command, capture_output=True, check=False).returncode == 0
        if known and not set(flags) & set(accepted):
            accepted += flags
    return tuple(accepted)


def _compile(
    compiler: Compiler, flags: tuple[str, ...], sources: list[Path], target: Path
) -> str | None:
    """Build ``target`` whole or not at all; the compiler's log if it refuses."""
    if sys.platform == "darwin" and "-shared" in flags:
        flags = (*flags, "-Wl,-undefined,dynamic_lookup")
    libraries = () if sys.platform == "darwin" else ("-lm", "-ldl")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        built = Path(scratch) / "built"
        command = [*compiler.command, *flags, "-o", str(built), *map(str, sources), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr
        built.replace(target)
    return None


@cache
def runtime_program() -> Path:
    """The program that runs launches, built if need be (some seconds).

    Raises UnavailableError without a compiler, or with one that cannot build it.
    """
    compiler = find_compiler()
    sources = sorted(RUNTIME.glob("*.cpp"))
    texts = [path.read_text() for path in sorted(RUNTIME.iterdir()) if path.is_file()]
    key = _digest(compiler.identity, *_RUNTIME_FLAGS, *texts)
    folder = _folder(cache_folder())
    program = folder / f"runtime-{key}"
    if not program.is_file():
        # Whoever comes second waits: two builds at once would take twice as long.
        with (folder / "runtime.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.is_file():
                _build_runtime(compiler, sources, program)
    return program


def _build_runtime(compiler: Compiler, sources: list[Path], program: Path) -> None:
    """Compile the runtime as one unit: most of the time goes into headers that all parts share."""
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        unit = Path(scratch) / "runtime.cpp"
        unit.write_text("".join(f'#include "{source}"\n' for source in sources))
        log = _compile(compiler, _RUNTIME_FLAGS, [unit], program)
    if log is not None:
        lines = log.strip().splitlines()
        raise UnavailableError(
            f"{compiler} cannot build the emulator's runtime: {lines[-1] if lines else ''}",
            help=_INSTALL,
        )


@cache
def _prelude_digest() -> str:
    headers = [*sorted(PRELUDE.glob("*.h")), RUNTIME / "abi.h"]
    return _digest(*(path.read_text() for path in headers))


def kernel_library(unit: str) -> Path:
    """The shared library of one unit of C++, from the cache or compiled; the text lies beside it.

    Raises KernelRefusedError if the compiler refuses it, UnavailableError if there is none.
    """
    compiler = find_compiler()
    key = _digest(compiler.identity, *_KERNEL_FLAGS, *_LEAN, _STRICT, _prelude_digest(), unit)
    folder = _folder(cache_folder())
    library = folder / f"{key}.so"
    if not library.is_file():
        source = folder / f"{key}.cpp"
        source.write_text(unit)
        flags = (*_KERNEL_FLAGS, *_LEAN, *_accepted(compiler), f"-I{PRELUDE}")
        log = _compile(compiler, flags, [source], library)
        if log is not None:
            raise KernelRefusedError(log, source)
    return library
