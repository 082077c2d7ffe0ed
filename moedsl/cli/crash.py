"""The archive written when moedsl itself fails: all that is needed to see the failure again.

It holds the command line, the input files it names, versions and the traceback. Environment
variables stay out of it, since they may hold secrets.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def write_archive(words: Sequence[str], error: BaseException) -> Path:
    """Write the archive for ``moedsl WORDS`` that ended with ``error``; its path."""
    with tempfile.NamedTemporaryFile(prefix="moedsl-", suffix=".zip", delete=False) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("command.txt", shlex.join(["moedsl", *words]) + "\n")
            archive.writestr("versions.json", json.dumps(versions(), indent=2) + "\n")
            archive.writestr("traceback.txt", "".join(traceback.format_exception(error)))
            for number, path in enumerate(_inputs(words)):
                archive.write(path, f"input/{number}-{path.name}")
        return Path(file.name)


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
