"""Kernels that nobody compiled, and calls of them, for tests of launches."""

from __future__ import annotations

import struct
from dataclasses import replace
from threading import Lock
from types import SimpleNamespace
from typing import Any

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backend import Call
from moedsl.backends.cuda.abi import (
    ArgumentField,
    GeneratedKernel,
    GridRule,
    IndexExtent,
    OffsetsPointer,
    TensorMapOf,
    TensorPointer,
    TensorStride,
    WorkspacePart,
    WorkspacePointer,
    WorkspaceRule,
)
from moedsl.backends.cuda.launch import Resident
from moedsl.backends.cuda.workspace import Workspaces
from moedsl.ir.core import DType
from moedsl.lower.build_tile import build_tile
from moedsl.target import TARGETS
from tests.api.kernels import forward, schedule
from tests.cuda_runtime.fake_driver import DEVICE

KERNEL = build_tile(forward(experts=3), schedule(), TARGETS["sm_90a"])
ORDER = "x", "w", "y", "offs"
FIELDS = (
    ArgumentField("x", TensorPointer("x"), 0),
    ArgumentField("x_stride", TensorStride("x", 0), 8),
    ArgumentField("m", IndexExtent("m"), 16, bytes=4),
    ArgumentField("n", IndexExtent("n"), 20, bytes=4),
    ArgumentField("y", TensorPointer("y"), 24),
    ArgumentField("offs", OffsetsPointer(), 32),
    ArgumentField("counter", WorkspacePointer(WorkspacePart.COUNTER), 40),
    ArgumentField("partials", WorkspacePointer(WorkspacePart.PARTIALS), 48),
)
GENERATED = GeneratedKernel(
    source="",
    entry="forward",
    threads=128,
    shared_bytes=50_000,
    min_blocks=2,
    arguments=FIELDS,
    argument_bytes=56,
    grid=GridRule(True, True, 3, "m", "n", 64, 64),
    workspace=(
        WorkspaceRule(WorkspacePart.COUNTER, fixed=4),
        WorkspaceRule(WorkspacePart.PARTIALS, per_tile=1000),
    ),
)
NO_WORKSPACE = replace(GENERATED, arguments=FIELDS[:6], workspace=())
MAPS = replace(
    NO_WORKSPACE,
    arguments=(
        ArgumentField("tall", TensorMapOf("x", (64, 64), few_rows=True), 0, bytes=128),
        ArgumentField("w", TensorMapOf("w", (1, 32, 64), few_rows=True), 128, bytes=128),
        ArgumentField("flat", TensorMapOf("x", (16, 64), clip=0), 256, bytes=128),
        ArgumentField("offs", OffsetsPointer(), 384),
    ),
    argument_bytes=448,
)
CLUSTERS = replace(
    NO_WORKSPACE, cluster=2, grid=GridRule(True, True, 3, "m", "n", 64, 64, cluster=2)
)


def view(shape: tuple[int, ...], pointer: int, dtype: DType = DType.BF16) -> ArrayView:
    return ArrayView(pointer, shape, packed_strides(shape), dtype, 0, None)


def call(rows: int = 100, stream: int = 5, x: int = 1 << 20) -> Call:
    arrays = {
        "x": view((rows, 64), x),
        "w": view((3, 64, 64), 1 << 21),
        "y": view((rows, 64), 1 << 22),
    }
    sizes = {"e": 3, "m": rows, "n": 64, "k": 64}
    return Call(arrays, view((3,), 1 << 23, DType.I32), sizes, stream)


def resident(generated: GeneratedKernel = GENERATED) -> Resident:
    handle: Any = SimpleNamespace(handle=77)
    return Resident(DEVICE, handle, generated, 20, Workspaces(DEVICE), Lock())


def maps_of(packed: bytes) -> list[tuple[int, int]]:
    """Address and rows of the box of each map in a struct of MAPS."""
    words = struct.unpack("<56Q", packed)
    assert all(words[i : i + 16] == words[i : i + 2] * 8 for i in (0, 16, 32))
    return [(words[i], words[i + 1]) for i in (0, 16, 32)]
