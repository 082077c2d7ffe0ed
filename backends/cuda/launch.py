"""Launching: everything that shapes and strides decide is settled once, by :class:`BoundLaunch`.

A launch then only writes addresses into the argument struct and calls the driver.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, assert_never

from moedsl.backends.cuda.abi import (
    IndexExtent,
    OffsetsPointer,
    TensorPointer,
    TensorStride,
    WorkspacePart,
    WorkspacePointer,
)
from moedsl.backends.cuda.driver import check, current, driver, gpu_count, is_current, load
from moedsl.backends.cuda.streams import LEGACY_STREAM, PER_THREAD_STREAM
from moedsl.backends.cuda.workspace import Workspaces
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.backend import Call
    from moedsl.backends.cuda.abi import GeneratedKernel
    from moedsl.backends.cuda.driver import Gpu
    from moedsl.backends.cuda.nvrtc import Binary
    from moedsl.backends.cuda.workspace import Scratch
    from moedsl.ir.moe import Signature

_BLOCK_ALIGNMENT = 256


@dataclass(frozen=True)
class Resident:
    """A compiled kernel on one device. ``blocks`` CTAs of it fit there at the same time.

    ``lock`` guards the workspaces, and the argument structs of every launch on the device.
    """

    device: Gpu
    kernel: Any
    generated: GeneratedKernel
    blocks: int
    workspaces: Workspaces
    lock: Lock


def make_resident(generated: GeneratedKernel, binary: Binary, device: Gpu) -> Resident:
    """Load a kernel onto ``device`` and grant it its shared memory."""
    cuda = driver()
    attribute = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    with current(device):
        kernel = load(binary, generated.entry)
        # The function's handle is what loads the code onto this device now rather than later.
        check(cuda.cuKernelGetFunction(kernel.handle))
        check(
            cuda.cuKernelSetAttribute(
                attribute, generated.shared_bytes, kernel.handle, device.ordinal
            )
        )
        fitting = kernel.occupancy.max_active_blocks_per_multiprocessor(
            generated.threads, generated.shared_bytes
        )
    if fitting == 0:
        raise RuntimeError(
            f"{generated.entry} with {generated.threads} threads and {generated.shared_bytes} "
            f"bytes of shared memory does not fit on {device.name}"
        )
    blocks = device.multiprocessors * min(fitting, generated.min_blocks)
    return Resident(device, kernel, generated, blocks, Workspaces(device), Lock())


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a workspace lie: offset by part, in the zeroed or in the free block."""

    offsets: dict[WorkspacePart, int]
    zeroed_bytes: int
    free_bytes: int


def lay_out(generated: GeneratedKernel, tiles: int, blocks: int) -> Layout:
    """Workspace of a launch of ``blocks`` CTAs over at most ``tiles`` tiles."""
    offsets: dict[WorkspacePart, int] = {}
    zeroed = free = 0
    for rule in generated.workspace:
        size = ceil_div(rule.bytes(tiles, blocks), _BLOCK_ALIGNMENT) * _BLOCK_ALIGNMENT
        if rule.zeroed:
            offsets[rule.part] = zeroed
            zeroed += size
        else:
            offsets[rule.part] = free
            free += size
    return Layout(offsets, zeroed, free)


class BoundLaunch:
    """Launches of one kernel for arrays of fixed shapes and strides on one device."""

    def __init__(self, resident: Resident, signature: Signature, call: Call) -> None:
        generated = resident.generated
        self._resident = resident
        self._blocks = generated.grid.blocks(call.sizes, resident.blocks)
        tiles = generated.grid.most_tiles(call.sizes)
        self._layout = lay_out(generated, tiles, self._blocks)
        self._arguments = bytearray(generated.argument_bytes)
        self._pointers, self._workspace = fill_arguments(
            self._arguments, generated, signature, call
        )
        buffer = (ctypes.c_char * generated.argument_bytes).from_buffer(self._arguments)
        self._words = memoryview(self._arguments).cast("Q")
        self._parameters = (ctypes.c_void_p * 1)(ctypes.addressof(buffer))
        self._parameters_address = ctypes.addressof(self._parameters)
        self._driver = driver()
        self._launch = partial(
            self._driver.cuLaunchKernel,
            self._driver.CUfunction(int(resident.kernel.handle)),
            *(self._blocks, 1, 1),
            *(generated.threads, 1, 1),
            generated.shared_bytes,
        )
        self._streams: dict[int, Any] = {0: self._driver.CUstream(LEGACY_STREAM)}
        self._written: Scratch | None = None
        self._legacy: Scratch | None = None
        self._no_context = self._driver.CUresult.CUDA_ERROR_INVALID_CONTEXT
        # With one GPU, a thread's context can only be missing, which the launch itself tells.
        self._alone = gpu_count() == 1

    def reserve(self, stream: int) -> None:
        """Have the workspace for launches on ``stream`` ready."""
        if self._workspace and self._blocks:
            with current(self._resident.device), self._resident.lock:
                self._bring_scratch(stream, self._driver.CUstream(stream))

    def __call__(self, pointers: Sequence[int], stream: int) -> None:
        """Launch on the stream with this handle: addresses of the signature's tensors, then offs.

        Raises RuntimeError with the driver's reason, also one left behind by earlier work.
        """
        if not self._blocks:
            return
        # A default stream is that of whichever context is current.
        if (
            stream > PER_THREAD_STREAM
            or (self._alone and stream < PER_THREAD_STREAM)
            or is_current(self._resident.device)
        ):
            status = self._submit(pointers, stream)
            if not status:
                return
            if status != self._no_context:
                check((status,))
        with current(self._resident.device):
            check((self._submit(pointers, stream),))

    def _submit(self, pointers: Sequence[int], stream: int) -> Any:
        """Write the addresses and launch; the driver's status."""
        words = self._words
        handle = self._streams.get(stream)
        if handle is None:
            handle = self._streams[stream] = self._driver.CUstream(stream)
        with self._resident.lock:
            for word, number in self._pointers:
                words[word] = pointers[number]
            if self._workspace:
                self._bring_scratch(stream, handle)
            (status,) = self._launch(handle, self._parameters_address, 0)
        return status

    def _bring_scratch(self, stream: int, handle: Any) -> None:
        """Write the addresses of the stream's scratch, where they are not written yet."""
        workspaces, layout = self._resident.workspaces, self._layout
        if stream > LEGACY_STREAM:
            scratch = workspaces.at(handle, layout.zeroed_bytes, layout.free_bytes)
        else:
            scratch = self._legacy or workspaces.at_legacy(layout.zeroed_bytes, layout.free_bytes)
            self._legacy = scratch
        if scratch is self._written:
            return
        self._written = scratch
        for word, part in self._workspace:
            base = scratch.free if part is WorkspacePart.PARTIALS else scratch.zeroed
            self._words[word] = base + layout.offsets[part]


def fill_arguments(
    arguments: bytearray, generated: GeneratedKernel, signature: Signature, call: Call
) -> tuple[list[tuple[int, int]], list[tuple[int, WorkspacePart]]]:
    """Write what stays the same; say which words take which pointer and which workspace part."""
    numbers = {tensor.name: number for number, tensor in enumerate(signature.tensors)}
    pointers: list[tuple[int, int]] = []
    workspace: list[tuple[int, WorkspacePart]] = []
    for field in generated.arguments:
        word = field.offset // 8
        match field.source:
            case TensorPointer(tensor):
                pointers.append((word, numbers[tensor]))
                continue
            case OffsetsPointer():
                pointers.append((word, len(numbers)))
                continue
            case WorkspacePointer(part):
                workspace.append((word, part))
                continue
            case TensorStride(tensor, dim):
                value = call.arrays[tensor].strides[dim]
            case IndexExtent(index):
                value = call.sizes[index]
            case unreachable:
                assert_never(unreachable)
        end = field.offset + field.bytes
        arguments[field.offset : end] = value.to_bytes(field.bytes, "little", signed=True)
    return pointers, workspace
