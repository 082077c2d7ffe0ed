"""All cases, and the three ways of running them: compile, record, compare."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.conformance import (
    clips,
    copies,
    fragments,
    portable,
    products,
    roundings,
    synchronisation,
)
from tests.conformance.case import digest
from tests.conformance.device import DeviceKernel, cubin_of
from tests.conformance.model import run_model
from tests.hopper import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.case import Case

RECORDED = [Path(__file__).parent / name for name in ("h200.json", "h100.json")]
"""Digests of what an H200 and an H100 gave: {case: [one of every launch]}. No case is in both."""

_SECONDS = 25
_RAW_BYTES = 2**17


@cache
def all_cases() -> dict[str, Case]:
    """Every case by its name."""
    parts = (portable, synchronisation, copies, products, kernels, clips, roundings, fragments)
    return {case.name: case for part in parts for case in part.cases()}


@cache
def recorded() -> dict[str, list[str]]:
    """What the hardware gave."""
    loaded: dict[str, list[str]] = {}
    for path in RECORDED:
        loaded |= json.loads(path.read_text())
    return loaded


def main(arguments: Sequence[str]) -> int:
    """The command line; 1 if something differs."""
    options = _parse(arguments)
    chosen = [
        case
        for name, case in all_cases().items()
        if (name in options.only if options.child else any(o in name for o in options.only))
    ]
    if options.compile:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda case: cubin_of(case, options.compile), chosen))
        return 0
    if options.child:
        print(json.dumps(_run_on_device(chosen, options)))
        return 0
    device = _in_children(chosen, options) if options.device or options.record else {}
    if options.record:
        options.record.write_text(json.dumps(device, indent=0))
        return 0
    return _compare(chosen, device or recorded())


def _parse(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser("tests.conformance")
    parser.add_argument("--device", action="store_true")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--compile", type=Path)
    parser.add_argument("--cubins", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.only = options.only or [""]
    return options


def _run_on_device(chosen: Sequence[Case], options: Any) -> dict[str, list[str]]:
    """Digests by case, as far as the device goes: after a fault nothing runs in this process."""
    digests: dict[str, list[str]] = {}
    raw: dict[str, Any] = {}
    for case in chosen:
        digests[case.name] = results = []
        try:
            kernel = DeviceKernel(case, options.cubins)
            for number in range(case.launches):
                outputs = kernel.run(number)
                results.append(digest(outputs))
                if number == 0:
                    first = np.frombuffer(b"".join(outputs), np.uint8)
                    raw[case.name] = first[:_RAW_BYTES]
        except RuntimeError as error:
            results.append(str(error))
            break
    if options.raw:
        np.savez_compressed(options.raw, **raw)
    return digests


def _in_children(chosen: Sequence[Case], options: Any) -> dict[str, list[str]]:
    """Every primitive in a process of its own, which may hang or lose its context."""
    primitives = sorted({case.primitive for case in chosen})

    def run(primitive: str) -> dict[str, list[str]]:
        left = [c.name for c in chosen if c.primitive == primitive]
        results: dict[str, list[str]] = {}
        for attempt in range(len(left)):
            if not left:
                break
            results |= _child(left, attempt, options)
            left = [name for name in left if name not in results]
        return results

    with ThreadPoolExecutor(options.jobs) as pool:
        parts = list(pool.map(run, primitives))
    return {name: results for part in parts for name, results in part.items()}


def _child(names: Sequence[str], attempt: int, options: Any) -> dict[str, list[str]]:
    """What one process gets done of these cases; at least the first."""
    command = [sys.executable, "-m", "tests.conformance", "--child"]
    command += chain.from_iterable(("--only", name) for name in names)
    if options.cubins:
        command += ["--cubins", str(options.cubins)]
    if options.raw:
        primitive = all_cases()[names[0]].primitive
        command += ["--raw", str(options.raw / f"{primitive}-{attempt}.npz")]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {name: [f"no answer after {_SECONDS} s"] for name in names}
    if done.returncode:
        return {name: [done.stderr[-500:]] for name in names}
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def _compare(chosen: Sequence[Case], hardware: dict[str, list[str]]) -> int:
    equal: dict[str, int] = {}
    modelled: list[str] = []
    bad = 0
    for case in chosen:
        if case.name not in hardware:
            modelled.append(case.name)
            continue
        expected = hardware[case.name]
        given = [digest(run_model(case, number)) for number in range(case.launches)]
        if given == expected:
            vectors = case.vectors * case.launches
            equal[case.primitive] = equal.get(case.primitive, 0) + vectors
        else:
            bad += 1
            print(f"{case.name}: model {given}, hardware {expected}")
    for primitive, vectors in sorted(equal.items()):
        print(f"{primitive}: {vectors} vectors equal")
    for name in modelled:
        print(f"{name}: modelled")
    return 1 if bad else 0
