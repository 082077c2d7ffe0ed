"""The archive written when moedsl itself fails: all that is needed to see the failure again.

It holds the command line, the input files it names, the texts that were read, the IR that passes
last left, the code that is emitted for it, versions and the traceback. Environment variables stay
out of it, since they may hold secrets.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
import tempfile
import traceback
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backend import Emitter, backends
from moedsl.cli.given import SOURCES
from moedsl.ir.text import print_module
from moedsl.ir.tile import TileKernel
from moedsl.lower.pipeline import RECENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PACKAGES = (
    "moedsl",
    "cuda-bindings",
    "cuda-core",
    "hypothesis",
    "lark",
    "ml_dtypes",
    "numpy",
    "nvidia-cuda-nvrtc",
)

LARGEST_INPUT = 4 << 20
"""Bytes of an input file above which it is named in the archive but not copied."""


MOST_SOURCES = 16
"""Texts in the archive, the last ones read."""


def write_archive(words: Sequence[str], error: BaseException) -> Path:
    """Write the archive for ``moedsl WORDS`` that ended with ``error``; its path."""
    with tempfile.NamedTemporaryFile(prefix="moedsl-", suffix=".zip", delete=False) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("command.txt", shlex.join(["moedsl", *words]) + "\n")
            archive.writestr("versions.json", json.dumps(versions(), indent=2) + "\n")
            archive.writestr("traceback.txt", "".join(traceback.format_exception(error)))
            for number, path in enumerate(_inputs(words)):
                archive.write(path, f"input/{number}-{path.name}")
            for name, text in _texts():
                archive.writestr(name, text)
        return Path(file.name)


def _texts() -> Iterator[tuple[str, str]]:
    """Names in the archive, and what moedsl had read and made of it."""
    for number, source in enumerate(SOURCES[-MOST_SOURCES:]):
        yield f"source/{number}-{Path(source.name).name}", source.text
    emitted: dict[str, str] = {}
    for number, (step, module) in enumerate(RECENT):
        yield f"ir/{number:02}-{step}.mir", _attempt(print_module, module)
        for kernel in module.kernels:
            if isinstance(kernel, TileKernel):
                emitted |= _emitted(kernel)
    yield from emitted.items()


def _emitted(kernel: TileKernel) -> Iterator[tuple[str, str]]:
    """The readable artefacts of ``kernel`` that can be made without a GPU or compiler."""
    for backend in backends().values():
        for level in ("gpu", "cuda"):
            if isinstance(backend, Emitter) and level in backend.artefacts:
                name = f"emitted/{kernel.signature.name}{backend.artefacts[level]}"
                yield name, _attempt(lambda e, k, v: str(e.emit(k, v)), backend, kernel, level)


def _attempt(make: Callable[..., str], *arguments: object) -> str:
    """What ``make`` gives; why there is nothing if it fails, perhaps by the defect at hand."""
    try:
        return make(*arguments)
    except Exception:  # the defect that is reported may be in what is asked here
        return traceback.format_exc()


def versions() -> dict[str, str]:
    """Versions of Python, the system and every package moedsl stands on."""
    found = {"python": sys.version, "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _inputs(words: Sequence[str]) -> list[Path]:
    paths = [Path(word.partition("#")[0]) for word in words]
    return [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST_INPUT]
