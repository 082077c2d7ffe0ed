"""Cases on the emulator."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from moedsl.backends.cuda.tensor_map import MAP_BYTES, TensorFill
from moedsl.backends.emulator.options import Options
from moedsl.backends.emulator.process import Buffer, Launch, Pointer, Use, run

if TYPE_CHECKING:
    from moedsl.backends.cuda.tensor_map import TensorMap
    from tests.conformance.case import Case


def record(description: TensorMap) -> bytes:
    """The emulator's form of a tensor map (EmuTensorMap of its ABI), the address still 0."""

    def padded(values: tuple[int, ...], count: int, absent: int) -> list[int]:
        return [*values, *(absent,) * (count - len(values))]

    data = struct.pack(
        "<Q4Q5I5H5B4B",
        0,
        *padded(description.strides, 4, 0),
        *padded(description.shape, 5, 1),
        *padded(description.box, 5, 1),
        *padded(description.all_steps, 5, 1),
        description.rank,
        description.dtype.bytes,
        int(description.swizzle),
        description.fill is TensorFill.NAN,
    )
    return data.ljust(MAP_BYTES, b"\0")


def launch_of(case: Case, number: int) -> Launch:
    """One launch of a case, ready to run."""
    arrays = case.arrays(number)
    arguments = bytearray(case.argument_bytes)
    pointers = [Pointer(at, name) for name, at in case.pointer_offsets().items()]
    for i, (tensor, description) in enumerate(case.maps.values()):
        arguments[MAP_BYTES * i : MAP_BYTES * (i + 1)] = record(description)
        pointers.append(Pointer(MAP_BYTES * i, tensor))
    buffers = tuple(
        Buffer(name, bytearray(a.tobytes()), case.use if name in case.outputs else Use.INPUT)
        for name, a in arrays.items()
    )
    return Launch(case.unit, case.grid, bytes(arguments), tuple(pointers), buffers)


def run_model(case: Case, number: int, options: Options | None = None) -> list[bytes]:
    """The outputs of one launch; EmulationError for what the emulator finds."""
    launch = launch_of(case, number)
    run(launch, options or Options(races=False, timeout=120))
    return [bytes(b.data) for b in launch.buffers if b.name in case.outputs]
