"""CUDA C to machine code through NVRTC. Needs no GPU and no driver."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from moedsl.backends.cuda.cache import cache_folder, kernel_cache
from moedsl.backends.cuda.notes import Notes, read_notes
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS = ("--std=c++20", "--ptxas-options=-v")
_DISTRIBUTION = "nvidia-cuda-nvrtc"


@dataclass(frozen=True, slots=True)
class Binary:
    """A compiled kernel. ``key`` names it in the cache; ``cached`` says it came from there."""

    cubin: bytes
    notes: Notes
    key: str
    cached: bool


class EmissionError(RuntimeError):
    """NVRTC refused code that moedsl emitted: a bug in moedsl. ``path`` holds the code."""

    def __init__(self, log: str, path: Path) -> None:
        self.log, self.path = log, path
        super().__init__(f"NVRTC refused the emitted CUDA C, kept in {path}:\n{log}")


def compile_cubin(source: str, kernel: str, arch: str) -> Binary:
    """The cubin of one self-contained unit for ``arch`` (``sm_90a``), if possible from the cache.

    ``kernel`` names the unit in logs and in ``moedsl cache ls``. Raises UnavailableError without
    NVRTC, EmissionError if the code does not compile.
    """
    key = cache_key(source, arch)
    store = kernel_cache(cache_folder())
    with suppress(OSError):
        if found := store.find(key):
            return Binary(*found, key=key, cached=True)
    cubin, log = _compile(source, kernel, key, [f"--gpu-architecture={arch}", *_OPTIONS], "CUBIN")
    notes = read_notes(log)
    with suppress(OSError):
        store.store(key, kernel, arch, source, (cubin, notes))
    return Binary(cubin, notes, key=key, cached=False)


def compile_ptx(source: str, kernel: str, arch: str) -> str:
    """The PTX of one unit, for reading; never cached. Raises as :func:`compile_cubin`."""
    virtual = arch.replace("sm_", "compute_")
    options = [f"--gpu-architecture={virtual}", *(o for o in _OPTIONS if "ptxas" not in o)]
    ptx, _ = _compile(source, kernel, cache_key(source, arch), options, "PTX")
    return ptx.rstrip(b"\0").decode()


def cache_key(source: str, arch: str) -> str:
    """Digest of all that decides a cubin: source, compiler, options, architecture."""
    parts = (compiler_version(), arch, *_OPTIONS, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def compiler_version() -> str:
    """Version of NVRTC, from its package if it has one: a cache hit need not load the library.

    Raises UnavailableError if there is neither.
    """
    with suppress(PackageNotFoundError):
        return version(_DISTRIBUTION)
    _, major, minor = nvrtc().nvrtcVersion()
    return f"{major}.{minor}"


@cache
def nvrtc() -> Any:
    """The bindings of NVRTC with the library loaded; UnavailableError if there is none."""
    help = f"install it with: pip install {_DISTRIBUTION} cuda-bindings"
    try:
        from cuda.bindings import nvrtc as bindings

        bindings.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise UnavailableError(
            f"NVRTC, the CUDA compiler library, is missing: {error}", help
        ) from error
    return bindings


def _compile(
    source: str, kernel: str, key: str, options: Sequence[str], result: str
) -> tuple[bytes, str]:
    """``result`` is CUBIN or PTX. Returns it and the log."""
    bindings = nvrtc()
    name = f"{kernel}.cu".encode()
    program = _check(bindings.nvrtcCreateProgram(source.encode(), name, 0, [], []))
    try:
        (status,) = bindings.nvrtcCompileProgram(
            program, len(options), [option.encode() for option in options]
        )
        # What NVRTC writes to must be nobody else's: one byte as `bytes` is the interpreter's own.
        log = bytearray(_check(bindings.nvrtcGetProgramLogSize(program)))
        _check(bindings.nvrtcGetProgramLog(program, log))
        text = log.rstrip(b"\0 ").decode(errors="replace")
        if status != bindings.nvrtcResult.NVRTC_SUCCESS:
            raise EmissionError(text or status.name, _keep(key, source))
        code = bytearray(_check(getattr(bindings, f"nvrtcGet{result}Size")(program)))
        _check(getattr(bindings, f"nvrtcGet{result}")(program, code))
        return bytes(code), text
    finally:
        bindings.nvrtcDestroyProgram(program)


def _check(answer: tuple[Any, ...]) -> Any:
    """The value of an NVRTC call; RuntimeError if it failed."""
    status, *values = answer
    if int(status) != 0:
        raise RuntimeError(f"NVRTC failed: {status.name}")
    return values[0] if values else None


def _keep(key: str, source: str) -> Path:
    try:
        return kernel_cache(cache_folder()).keep_source(key, source)
    except OSError:
        with NamedTemporaryFile("w", suffix=".cu", prefix="moedsl-", delete=False) as file:
            file.write(source)
        return Path(file.name)
