"""``moedsl doctor``: what this machine has, what it lacks and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backend import Caching, backends
from moedsl.cli.console import Column

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moedsl.cli.console import Console

DRIVER_HELP = "install NVIDIA's driver, 580 or newer; without a GPU use --backend interp"


class State(StrEnum):
    """OK: there; LACKING: not there, something cannot be done; BROKEN: the main job fails."""

    OK = "ok"
    LACKING = "lacking"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. ``help`` says how to get what is not there."""

    what: str
    state: State
    detail: str
    help: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Look at everything; 0 if kernels can run on the ``interp`` backend, else 3."""
    findings = list(examine())
    good = all(finding.state is not State.BROKEN for finding in findings)
    console.result(ready=good, findings=[asdict(finding) for finding in findings])
    console.table(
        [Column("", words=True), Column("", words=True), Column("", words=True)],
        [(f.state, f.what, f.detail) for f in findings],
    )
    missing = [f for f in findings if f.help]
    if missing:
        console.write("")
        console.facts((f.what, f.help) for f in missing)
    console.write("")
    console.verdict(good, "ready" if good else "not ready: see what is broken above")
    return 0 if good else 3


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which they matter."""
    yield Finding("moedsl", State.OK, f"{version('moedsl')}, Python {platform.python_version()}")
    yield from _backends()
    yield _driver()
    yield from _gpus()
    yield _nvrtc()
    for package in ("cuda-core", "cuda-bindings"):
        yield _package(package)
    yield from _caches()
    yield _compiler()
    yield _disassembler()


def _backends() -> Iterator[Finding]:
    found = backends()
    for name, backend in found.items():
        availability = backend.availability()
        lacking = State.BROKEN if name == "interp" else State.LACKING
        state = State.OK if availability.usable else lacking
        yield Finding(f"backend {name}", state, availability.detail, availability.help)
    if "interp" not in found:
        yield Finding("backend interp", State.BROKEN, "not installed", "reinstall moedsl")


def _driver() -> Finding:
    try:
        from cuda.bindings import driver

        status, number = driver.cuDriverGetVersion()
    except (ImportError, RuntimeError) as error:
        return Finding("driver", State.LACKING, _first_line(error), DRIVER_HELP)
    if int(status) != 0:
        return Finding("driver", State.LACKING, status.name, DRIVER_HELP)
    cuda = f"CUDA {number // 1000}.{number % 1000 // 10}"
    return Finding("driver", State.OK, ", ".join([*_driver_branch(), cuda]))


def _driver_branch() -> list[str]:
    """The version users know the driver by (580.65.06), if it can be had."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return []
    return [word for word in text.split() if word.count(".") >= 1 and word[0].isdigit()][:1]


def _gpus() -> Iterator[Finding]:
    try:
        from cuda.core import Device

        devices = Device.get_all_devices()
    except (ImportError, RuntimeError):
        devices = ()
    for device in devices:
        capability = device.compute_capability
        facts = (
            device.name,
            f"compute capability {capability.major}.{capability.minor}",
            f"{device.properties.multiprocessor_count} SMs",
        )
        old = (capability.major, capability.minor) < (8, 0)
        yield Finding(
            f"GPU {device.device_id}",
            State.LACKING if old else State.OK,
            ", ".join(facts),
            "the cuda backend needs compute capability 8.0 or newer" if old else "",
        )
    if not devices:
        yield Finding("GPU", State.LACKING, "none", "kernels run on the interp backend")


def _nvrtc() -> Finding:
    try:
        from cuda.bindings import nvrtc

        _, major, minor = nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        help = "pip install nvidia-cuda-nvrtc cuda-bindings"
        return Finding("NVRTC", State.LACKING, _first_line(error), help)
    return Finding("NVRTC", State.OK, f"{major}.{minor}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, State.OK, version(name))
    except PackageNotFoundError:
        return Finding(name, State.LACKING, "not installed", f"pip install {name}")


def _caches() -> Iterator[Finding]:
    for name, backend in backends().items():
        if not isinstance(backend, Caching):
            continue
        cache = backend.cache()
        what = f"cache {name}"
        place = cache.folder
        while not place.exists():
            place = place.parent
        if place.is_dir() and os.access(place, os.W_OK):
            entries = cache.entries()
            size = sum(entry.bytes for entry in entries)
            detail = f"{cache.folder}, {len(entries)} kernels, {size / 1e6:.1f} MB"
            yield Finding(what, State.OK, detail)
        else:
            help = "make it writable, or name another folder in MOEDSL_CACHE_DIR"
            yield Finding(what, State.LACKING, f"{cache.folder} cannot be written", help)


def _compiler() -> Finding:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            answer = subprocess.run(
                [path, "--version"], capture_output=True, text=True, check=False, timeout=30
            )
            return Finding("C++ compiler", State.OK, f"{path}, {answer.stdout.splitlines()[0]}")
    help = "install g++ or clang++; only work on the device code without a GPU needs it"
    return Finding("C++ compiler", State.LACKING, "none found", help)


def _disassembler() -> Finding:
    from cuda.pathfinder import find_nvidia_binary_utility

    tools = map(find_nvidia_binary_utility, ("nvdisasm", "cuobjdump"))
    found = [path for path in tools if path]
    if found:
        return Finding("disassembler", State.OK, ", ".join(found))
    help = "pip install 'moedsl[sass]'; only compile --emit sass needs it"
    return Finding("disassembler", State.LACKING, "neither nvdisasm nor cuobjdump", help)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
