"""One primitive's test: a tiny kernel, random inputs, and as many launches as it takes."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.backends.cuda.emission.wgmma import wgmma_text
from moedsl.backends.cuda.emit import prelude_text
from moedsl.backends.cuda.tensor_map import MAP_BYTES
from moedsl.backends.emulator.process import Grid, Use
from moedsl.backends.emulator.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from moedsl.backends.cuda.emission.wgmma import WgmmaShape
    from moedsl.backends.cuda.tensor_map import TensorMap

    Arrays = Mapping[str, NDArray[Any]]

PARTS = (
    *("words", "memory", "async", "convert", "mma", "hopper_barrier", "hopper_cluster"),
    *("hopper_bulk", "hopper_tensor", "hopper_warp", "hopper_flags", "hopper_launch"),
    "hopper_wgmma",
)
UNWRITTEN = 0xA5
"""What every byte of an output is before a launch."""

_C_TYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "int32": "int", "float32": "float"}
_WAIT_LIMIT = 50_000_000
"""Tries after which a kernel on the device gives up waiting."""


class Random:
    """Reproducible numbers: only a generator's raw bits, the same with every version of NumPy."""

    def __init__(self, name: str, number: int) -> None:
        self._bits = np.random.PCG64([zlib.crc32(name.encode()), number])

    def words(self, *shape: int) -> NDArray[np.uint32]:
        """Any 32-bit words."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (np.asarray(raw, np.uint64) >> np.uint64(32)).astype(np.uint32).reshape(shape)

    def integers(self, low: int, high: int, *shape: int) -> NDArray[np.int32]:
        """Integers from ``low`` to ``high``, both included."""
        return (self.words(*shape) % np.uint32(high - low + 1)).astype(np.int32) + np.int32(low)

    def order(self, count: int) -> NDArray[np.int32]:
        """0 to ``count`` - 1 in random order."""
        return np.argsort(self.words(count), kind="stable").astype(np.int32)


@dataclass(frozen=True)
class Case:
    """``body`` is a kernel over ``arguments``: the maps, the inputs and the outputs, in order.

    ``inputs`` makes a launch's inputs, of the same shapes every time; ``maps`` describe inputs or
    outputs by name. ``parts`` are those of the prelude that it needs besides PARTS. ``use`` is what
    the kernel may do with its outputs. Every launch tries ``vectors`` random operands, the whole
    case ``launches`` times as many.
    """

    name: str
    body: str
    grid: Grid
    vectors: int
    inputs: Callable[[Random], Arrays]
    outputs: Mapping[str, tuple[tuple[int, ...], str]]
    launches: int = 1
    maps: Mapping[str, tuple[str, TensorMap]] = field(default_factory=dict)
    shapes: tuple[WgmmaShape, ...] = ()
    parts: tuple[str, ...] = ()
    use: Use = Use.OUTPUT

    @property
    def primitive(self) -> str:
        """What it tests: the name up to the first space."""
        return self.name.split(" ")[0]

    def arrays(self, launch: int) -> dict[str, NDArray[Any]]:
        """Inputs and outputs before a launch; the outputs are poisoned, or zero if accumulated."""
        arrays = {k: np.ascontiguousarray(v) for k, v in self.inputs(self.random(launch)).items()}
        poison = 0 if self.use is Use.STATE else UNWRITTEN
        for name, (shape, dtype) in self.outputs.items():
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            arrays[name] = np.full(count, poison, np.uint8).view(dtype).reshape(shape)
        return arrays

    def random(self, launch: int) -> Random:
        """The numbers of a launch."""
        return Random(self.name, launch)

    @cached_property
    def unit(self) -> Unit:
        """The unit as the cuda backend would emit it."""
        sections = _sections(PARTS)
        if self.shapes:
            sections.append(wgmma_text(self.shapes))
        sections += _sections(self.parts)
        text = "\n".join(
            [*sections, "// kernel", "using namespace moe;", self._struct(), self.body]
        )
        return Unit(f"{self.name}.cu", text, "kernel")

    @property
    def device_source(self) -> str:
        """The unit with waits that give up: a wrong kernel must not hang the device."""
        return f"#define MOE_WAIT_LIMIT {_WAIT_LIMIT}\n{self.unit.emitted}"

    def _struct(self) -> str:
        arrays = self.arrays(0)
        fields = [f"    TensorMap {name};" for name in self.maps]
        for name, array in arrays.items():
            const = "" if name in self.outputs else "const "
            fields.append(f"    {const}{_C_TYPES[str(array.dtype)]}* {name};")
        return "\n".join(["using u8 = unsigned char;", "struct Arguments {", *fields, "};"])

    @property
    def argument_bytes(self) -> int:
        """Size of the argument struct, padded to its alignment."""
        bytes = MAP_BYTES * len(self.maps) + 8 * len(self.arrays(0))
        alignment = 64 if self.maps else 8
        return -(-bytes // alignment) * alignment

    def pointer_offsets(self) -> dict[str, int]:
        """Where the address of each array lies in the struct."""
        start = MAP_BYTES * len(self.maps)
        return {name: start + 8 * i for i, name in enumerate(self.arrays(0))}


def _sections(parts: tuple[str, ...]) -> list[str]:
    return [f"// prelude/{name}.cuh\n{prelude_text(name)}" for name in parts]


def digest(outputs: Sequence[bytes]) -> str:
    """What identifies the results of a launch."""
    return hashlib.sha256(b"".join(outputs)).hexdigest()[:16]
