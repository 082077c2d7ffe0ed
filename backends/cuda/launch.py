"""Launching: everything that shapes and strides decide is settled once, by :class:`BoundLaunch`.

A launch then only writes addresses into the argument struct and calls the driver.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from moedsl.arguments import OFFSETS
from moedsl.backends.cuda.abi import (
    IndexExtent,
    OffsetsPointer,
    TensorMapOf,
    TensorPointer,
    TensorStride,
    WorkspacePart,
    WorkspacePointer,
)
from moedsl.backends.cuda.driver import check, current, driver, gpu_count, is_current, load
from moedsl.backends.cuda.streams import LEGACY_STREAM, PER_THREAD_STREAM
from moedsl.backends.cuda.tensor_map import MAP_BYTES, TensorMap, encode, map_of
from moedsl.backends.cuda.workspace import Scratch, Workspaces
from moedsl.source.diagnostic import UnavailableError
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.backend import Call
    from moedsl.backends.cuda.abi import GeneratedKernel
    from moedsl.backends.cuda.driver import Gpu
    from moedsl.backends.cuda.nvrtc import Binary

_BLOCK_ALIGNMENT = 256
_MOST_ENCODED = 1024
_UNWRITTEN = Scratch()
_NO_ELEMENTS = 1 << 20
"""Address of arrays without any, of which libraries give none or one that a map cannot take."""


@dataclass(frozen=True)
class Resident:
    """A compiled kernel on one device.

    ``blocks`` CTAs of it, in whole clusters, fit there at the same time. ``lock`` guards the
    workspaces, and the argument structs of every launch on the device.
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
        blocks = resident_blocks(generated, kernel, device)
    if blocks == 0:
        raise UnavailableError(
            f"{generated.entry} with {generated.threads} threads and {generated.shared_bytes} "
            f"bytes of shared memory in clusters of {generated.cluster} does not fit on "
            f"{device.name}",
            help="use a smaller tile, fewer stages or no cluster",
        )
    return Resident(device, kernel, generated, blocks, Workspaces(device), Lock())


def resident_blocks(generated: GeneratedKernel, kernel: Any, device: Gpu) -> int:
    """CTAs of a loaded kernel that fit on the current ``device`` at a time, in whole clusters."""
    cluster, most = generated.cluster, device.multiprocessors * generated.min_blocks
    if cluster == 1:
        fitting: int = kernel.occupancy.max_active_blocks_per_multiprocessor(
            generated.threads, generated.shared_bytes
        )
        return min(device.multiprocessors * fitting, most)
    cuda = driver()
    config = launch_config(cluster, generated.threads, generated.shared_bytes, cluster=cluster)
    function = cuda.CUfunction(int(kernel.handle))
    clusters: int = check(cuda.cuOccupancyMaxActiveClusters(function, config))
    return min(clusters, most // cluster) * cluster


def launch_config(
    blocks: int, threads: int, shared_bytes: int, *, cluster: int = 1, overlaps: bool = False
) -> Any:
    """The driver's form of a grid of ``blocks`` CTAs in clusters; its stream is still to be set.

    One that ``overlaps`` may start before the launch before it has ended.
    """
    cuda = driver()
    config = cuda.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = blocks, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
    config.sharedMemBytes = shared_bytes
    attributes, known = [], cuda.CUlaunchAttributeID
    if cluster > 1:
        attribute = cuda.CUlaunchAttribute()
        attribute.id = known.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        size = attribute.value.clusterDim
        size.x, size.y, size.z = cluster, 1, 1
        attributes.append(attribute)
    if overlaps:
        attribute = cuda.CUlaunchAttribute()
        attribute.id = known.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
        attribute.value.programmaticStreamSerializationAllowed = 1
        attributes.append(attribute)
    if attributes:
        config.attrs, config.numAttrs = attributes, len(attributes)
    return config


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


class MappedTensor:
    """The maps of one tensor in an argument struct, which its address alone changes.

    ``number`` is the tensor's among the launch's pointers, ``address`` what the struct holds now.
    """

    def __init__(self, number: int, maps: Sequence[tuple[int, TensorMap]], device: Gpu) -> None:
        self.number = number
        self.address: int | None = None
        self._places = [slice(offset, offset + MAP_BYTES) for offset, _ in maps]
        self._descriptions = [description for _, description in maps]
        self._device = device
        self._encoded: dict[int, list[bytes]] = {}

    def move(self, arguments: bytearray, address: int) -> None:
        """Have the struct's maps be those of the tensor at ``address``."""
        encoded = self._encoded.get(address)
        if encoded is None:
            encoded = self._encode(address)
        self.address = None
        for place, data in zip(self._places, encoded, strict=True):
            arguments[place] = data
        self.address = address

    def _encode(self, address: int) -> list[bytes]:
        with current(self._device):
            encoded = [encode(description, address) for description in self._descriptions]
        if len(self._encoded) == _MOST_ENCODED:
            # Not the oldest, which launches that take turns at a few too many need next.
            for some in list(self._encoded)[::8]:
                del self._encoded[some]
        self._encoded[address] = encoded
        return encoded


Lane: TypeAlias = "tuple[Any, Callable[[], tuple[Any]]]"
"""A stream as the driver's bindings have it, and the driver's launch on it."""


class BoundLaunch:
    """Launches of one kernel for arrays of fixed shapes and strides on one device.

    ``order`` names the arrays in the order in which launches take their addresses.
    """

    def __init__(self, resident: Resident, call: Call, order: Sequence[str]) -> None:
        generated = resident.generated
        self._resident = resident
        self._blocks = generated.grid.blocks(call.sizes, resident.blocks)
        tiles = generated.grid.most_tiles(call.sizes)
        self._layout = lay_out(generated, tiles, self._blocks)
        self._arguments = bytearray(generated.argument_bytes)
        bandwidth = resident.device.memory_bandwidth
        varying = fill_arguments(self._arguments, generated, order, call, bandwidth)
        self._pointers, self._workspace = varying.pointers, varying.workspace
        self._maps = self._mapped(varying, call) if self._blocks else []
        buffer = (ctypes.c_char * generated.argument_bytes).from_buffer(self._arguments)
        self._words = memoryview(self._arguments).cast("Q")
        self._parameters = (ctypes.c_void_p * 1)(ctypes.addressof(buffer))
        self._parameters_address = ctypes.addressof(self._parameters)
        self._driver = driver()
        self._lock = resident.lock
        self._held: Sequence[int] = ()
        self._written = _UNWRITTEN
        self._legacy: Scratch | None = None
        self._no_context = self._driver.CUresult.CUDA_ERROR_INVALID_CONTEXT
        legacy = self._lane(LEGACY_STREAM)
        self._lanes = {0: legacy, LEGACY_STREAM: legacy}
        self._sure: dict[int, Lane] = {}
        # With one GPU, a thread's context can only be missing, which the launch itself tells.
        if self._blocks and gpu_count() == 1:
            self._sure.update(self._lanes)

    def _mapped(self, varying: Varying, call: Call) -> list[MappedTensor]:
        """The tensors whose maps launches have to write; those of empty ones are written here."""
        mapped = []
        for number, (tensor, maps) in varying.maps.items():
            one = MappedTensor(number, maps, self._resident.device)
            if 0 in call.arrays[tensor].shape:
                one.move(self._arguments, _NO_ELEMENTS)
            else:
                mapped.append(one)
        return mapped

    def _lane(self, stream: int) -> Lane:
        """What launches on a stream take."""
        generated, cuda = self._resident.generated, self._driver
        handle = cuda.CUstream(stream)
        function = cuda.CUfunction(int(self._resident.kernel.handle))
        config = launch_config(
            self._blocks,
            generated.threads,
            generated.shared_bytes,
            cluster=generated.cluster,
            overlaps=generated.overlaps,
        )
        config.hStream = handle
        launch = partial(cuda.cuLaunchKernelEx, config, function, self._parameters_address, 0)
        return handle, launch

    def reserve(self, stream: int) -> None:
        """Have the workspace for launches on ``stream`` ready."""
        if self._workspace and self._blocks:
            with current(self._resident.device), self._lock:
                self._bring_scratch(stream, self._driver.CUstream(stream))

    def __call__(self, pointers: Sequence[int], stream: int) -> None:
        """Launch on the stream with this handle, for arrays at these addresses.

        Raises RuntimeError with the driver's reason, also one left behind by earlier work.
        """
        lane = self._sure.get(stream)
        if lane is None:
            lane = self._lanes.get(stream) or self._lanes.setdefault(stream, self._lane(stream))
            if not self._blocks:
                return
            if stream > PER_THREAD_STREAM:
                self._sure[stream] = lane
            # A default stream is that of whichever context is current.
            elif not is_current(self._resident.device):
                with current(self._resident.device):
                    check((self._submit(pointers, stream, lane),))
                return
        if status := self._submit(pointers, stream, lane):
            if status != self._no_context:
                check((status,))
            with current(self._resident.device):
                check((self._submit(pointers, stream, lane),))

    def _submit(self, pointers: Sequence[int], stream: int, lane: Lane) -> Any:
        """Write the addresses and launch; the driver's status."""
        with self._lock:
            if pointers != self._held:
                self._write(pointers)
            if self._workspace and (stream > LEGACY_STREAM or self._written is not self._legacy):
                self._bring_scratch(stream, lane[0])
            (status,) = lane[1]()
        return status

    def _write(self, pointers: Sequence[int]) -> None:
        """Have the struct hold these addresses. What is interrupted is written anew next time."""
        held, self._held = self._held, ()
        for word, number in self._pointers:
            if not held or held[number] != pointers[number]:
                self._words[word] = pointers[number]
        for mapped in self._maps:
            if mapped.address != pointers[mapped.number]:
                mapped.move(self._arguments, pointers[mapped.number])
        # A copy, for lists of pointers may change.
        self._held = tuple(pointers)

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
        self._written = _UNWRITTEN
        for word, part in self._workspace:
            base = scratch.free if part is WorkspacePart.PARTIALS else scratch.zeroed
            self._words[word] = base + layout.offsets[part]
        self._written = scratch


@dataclass(frozen=True, slots=True)
class Varying:
    """What launches write into an argument struct.

    ``pointers`` and ``workspace`` say which words (of 8 bytes) take which pointer and which part,
    ``maps`` at which bytes the maps of the tensor lie whose pointer has a number, and its name.
    """

    pointers: list[tuple[int, int]]
    workspace: list[tuple[int, WorkspacePart]]
    maps: dict[int, tuple[str, list[tuple[int, TensorMap]]]]


def fill_arguments(
    arguments: bytearray,
    generated: GeneratedKernel,
    order: Sequence[str],
    call: Call,
    memory_bandwidth: float = 0,
) -> Varying:
    """Write what stays the same, say what does not. ValueError for a map that cannot be.

    ``order`` names the arrays whose addresses launches take.
    """
    numbers = {name: number for number, name in enumerate(order)}
    varying = Varying([], [], {})
    for field in generated.arguments:
        word = field.offset // 8
        match field.source:
            case TensorPointer(tensor):
                varying.pointers.append((word, numbers[tensor]))
                continue
            case OffsetsPointer():
                varying.pointers.append((word, numbers[OFFSETS]))
                continue
            case WorkspacePointer(part):
                varying.workspace.append((word, part))
                continue
            case TensorMapOf(tensor) as source:
                _, maps = varying.maps.setdefault(numbers[tensor], (tensor, []))
                maps.append((field.offset, map_of(source, call.arrays[tensor], memory_bandwidth)))
                continue
            case TensorStride(tensor, dim):
                value = call.arrays[tensor].strides[dim]
            case IndexExtent(index):
                value = call.sizes[index]
            case unreachable:
                assert_never(unreachable)
        end = field.offset + field.bytes
        arguments[field.offset : end] = value.to_bytes(field.bytes, "little", signed=True)
    return varying
