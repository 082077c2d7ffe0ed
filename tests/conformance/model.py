"""Cases on the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.tensor_map import MAP_BYTES
from moedsl.backends.emulator.options import Options
from moedsl.backends.emulator.process import Buffer, Launch, Pointer, Use, run
from moedsl.backends.emulator.tensor_map import record

if TYPE_CHECKING:
    from tests.conformance.case import Case


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
