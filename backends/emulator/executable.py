"""A tile kernel on the emulator: arrays to buffers, one launch, buffers to arrays."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from moedsl.arguments import OFFSETS
from moedsl.backends.cuda.abi import (
    OffsetsPointer,
    TensorMapOf,
    TensorPointer,
    WorkspacePart,
    WorkspacePointer,
)
from moedsl.backends.cuda.access import access_modes
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.launch import fill_arguments
from moedsl.backends.cuda.tensor_map import MAP_BYTES
from moedsl.backends.emulator.options import current_options
from moedsl.backends.emulator.process import Buffer, Grid, Launch, Pointer, Use, run
from moedsl.backends.emulator.report import EmulationError, Finding, KernelFaultError
from moedsl.backends.emulator.tensor_map import record
from moedsl.backends.emulator.toolchain import kernel_library, runtime_program
from moedsl.backends.emulator.unit import Unit
from moedsl.ir.core import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from moedsl.arrays import ArrayView
    from moedsl.backend import Call
    from moedsl.backends.cuda.abi import AccessModes, GeneratedKernel
    from moedsl.backends.emulator.options import Options
    from moedsl.ir.tile import TileKernel

_ADDRESS_CYCLE = 256
"""Buffers keep their address modulo this: what any access or descriptor asks of alignment."""


@dataclass(frozen=True)
class Variant:
    """A kernel generated for one set of access modes."""

    generated: GeneratedKernel
    unit: Unit


class EmulatorExecutable:
    """All variants of one tile kernel. Without ``options`` those of ``current_options`` hold."""

    def __init__(self, kernel: TileKernel, options: Options | None = None) -> None:
        self.kernel, self.options = kernel, options
        self._variants: dict[AccessModes, Variant] = {}

    def variant(self, modes: AccessModes) -> Variant:
        """The variant for ``modes``, generated if need be."""
        if modes not in self._variants:
            generated = generate(self.kernel, modes)
            unit = Unit(f"{generated.entry}.cu", generated.source, generated.entry)
            self._variants[modes] = Variant(generated, unit)
        return self._variants[modes]

    def _modes(self, call: Call) -> AccessModes:
        return access_modes(self.kernel.signature, call.arrays, self.kernel.schedule)

    def prepare(self, call: Call) -> None:
        """Compile for calls like this one."""
        runtime_program()
        kernel_library(self.variant(self._modes(call)).unit.host)

    def launch(self, call: Call) -> None:
        """Run; the arrays hold the results when this returns.

        Raises KernelFaultError for what the emulator finds; the arrays are then as before.
        """
        variant = self.variant(self._modes(call))
        generated = variant.generated
        options = self.options or current_options(repr(call.sizes).encode() + _memory(call.offs))
        cluster = generated.cluster
        clusters = options.multiprocessors * generated.min_blocks // cluster
        resident = max(clusters, 1) * cluster
        blocks = generated.grid.blocks(call.sizes, resident)
        if not blocks:
            return
        grid = Grid(
            blocks,
            generated.threads,
            generated.shared_bytes,
            resident,
            cluster,
            sharing=generated.min_blocks,
            overlaps=generated.overlaps,
        )
        arguments, pointers = self._arguments(generated, call)
        buffers = (*self._tensors(call), *_workspace(generated, call, blocks))
        launch = Launch(variant.unit, grid, arguments, pointers, buffers)
        try:
            run(launch, options)
            _check_state(buffers)
            self._store(call, {buffer.name: buffer for buffer in buffers})
        except EmulationError as error:
            raise KernelFaultError(error.finding, variant.unit, self.kernel.source) from None

    def _arguments(
        self, generated: GeneratedKernel, call: Call
    ) -> tuple[bytes, tuple[Pointer, ...]]:
        arguments = bytearray(generated.argument_bytes)
        varying = fill_arguments(arguments, generated, [*call.arrays, OFFSETS], call)
        for _, maps in varying.maps.values():
            for offset, description in maps:
                arguments[offset : offset + MAP_BYTES] = record(description)
        pointers = []
        for field in generated.arguments:
            match field.source:
                # A map of the emulator begins with the address.
                case TensorPointer(tensor) | TensorMapOf(tensor):
                    addend = -call.arrays[tensor].extent[0]
                    pointers.append(Pointer(field.offset, tensor, addend))
                case OffsetsPointer():
                    pointers.append(Pointer(field.offset, OFFSETS, -call.offs.extent[0]))
                case WorkspacePointer(part):
                    pointers.append(Pointer(field.offset, _part_name(part)))
                case _:
                    pass
        return bytes(arguments), tuple(pointers)

    def _tensors(self, call: Call) -> tuple[Buffer, ...]:
        uses = {tensor.name: _use(tensor.role) for tensor in self.kernel.signature.tensors}
        named = [(call.arrays[name], name, use) for name, use in uses.items()]
        return tuple(_buffer(*entry) for entry in (*named, (call.offs, OFFSETS, Use.INPUT)))

    def _store(self, call: Call, buffers: dict[str, Buffer]) -> None:
        """Take over the outputs' elements."""
        for tensor in self.kernel.signature.outputs:
            view = call.arrays[tensor.name]
            _elements(view, _memory(view))[...] = _elements(view, buffers[tensor.name].data)


def _use(role: Role) -> Use:
    match role:
        case Role.INPUT:
            return Use.INPUT
        case Role.OUTPUT:
            return Use.OUTPUT
        case Role.ACCUMULATED:
            return Use.ACCUMULATED
        case unreachable:
            assert_never(unreachable)


def _memory(view: ArrayView) -> Any:
    """All bytes from an array's first to its last element, where they lie."""
    low, high = view.extent
    return (ctypes.c_char * (high - low)).from_address(view.pointer + low) if high > low else b""


def _buffer(view: ArrayView, name: str, use: Use) -> Buffer:
    alignment = (view.pointer + view.extent[0]) % _ADDRESS_CYCLE
    data = bytearray(_memory(view))
    return Buffer(name, data, use, alignment, b"" if use is Use.INPUT else _gaps(view, len(data)))


def _gaps(view: ArrayView, size: int) -> bytes:
    """Marks of the bytes between the elements; empty if there are none."""
    marks = bytearray(b"\1") * size
    _elements(view, marks)[...] = 0
    return bytes(marks) if any(marks) else b""


def _elements(view: ArrayView, memory: Any) -> NDArray[Any]:
    """An array's elements, as plain bits, in ``memory``, which is laid out like its own."""
    size = view.dtype.bytes
    strides = tuple(stride * size for stride in view.strides)
    if 0 in view.shape:
        return np.empty(view.shape, f"u{size}")
    return np.ndarray(view.shape, f"u{size}", memory, -view.extent[0], strides)


def _part_name(part: WorkspacePart) -> str:
    return f"workspace.{part}"


def _workspace(generated: GeneratedKernel, call: Call, blocks: int) -> tuple[Buffer, ...]:
    tiles = generated.grid.most_tiles(call.sizes)
    return tuple(
        Buffer(
            _part_name(rule.part),
            bytearray(rule.bytes(tiles, blocks)),
            Use.STATE if rule.zeroed else Use.SCRATCH,
        )
        for rule in generated.workspace
    )


def _check_state(buffers: tuple[Buffer, ...]) -> None:
    """The next launch relies on it."""
    for buffer in buffers:
        if buffer.use is Use.STATE and any(buffer.data):
            raise EmulationError(
                Finding("state", f"the launch leaves `{buffer.name}` other than zero")
            )
