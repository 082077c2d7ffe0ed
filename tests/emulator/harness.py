"""Hand-written kernels and how to launch them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.backends.cuda.emit import prelude_text
from moedsl.backends.emulator.options import STANDARD_POLICIES, Options, Policy
from moedsl.backends.emulator.process import Buffer, Grid, Launch, Pointer, Use, run
from moedsl.backends.emulator.report import EmulationError, Finding
from moedsl.backends.emulator.unit import Unit
from moedsl.ir.core import DType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from moedsl.inputs import Arguments

    Arrays = Mapping[str, tuple[NDArray[Any], Use]]

POLICIES = STANDARD_POLICIES


def unit_of(body: str, prelude: Sequence[str] = ()) -> Unit:
    """A unit as the cuda backend emits it: sections of the prelude, then the kernel."""
    parts = [f"// prelude/{name}.cuh\n{prelude_text(name)}" for name in prelude]
    text = "\n".join([*parts, "// kernel", "using namespace moe;", body])
    return Unit("kernel.cu", text, "kernel")


def poison_maps(arguments: Arguments) -> None:
    """Where no expert owns a row, let its map lead nowhere: nobody may look at it."""
    signature = arguments.kernel.signature
    for tensor in signature.inputs:
        if tensor.dtype is DType.I32 and tensor.dims == (signature.ragged,):
            guarded = arguments.tensors[tensor.name]
            guarded.array[sum(arguments.rows) :] = np.iinfo(np.int32).min
            guarded.arm()


def poison_gaps(arguments: Arguments) -> None:
    """Let NaN stand around the rows of inputs: multiplied by zero it is NaN still."""
    for tensor in arguments.kernel.signature.inputs:
        if tensor.dtype is not DType.I32:
            guarded = arguments.tensors[tensor.name]
            elements = guarded.array.copy()
            guarded.memory[:] = 0xFF
            guarded.array[...] = elements
            guarded.arm()


def launch_of(unit: Unit, grid: Grid, arrays: Arrays) -> Launch:
    """A launch whose arguments are the addresses of ``arrays``, in their order."""
    return Launch(
        unit,
        grid,
        bytes(8 * len(arrays)),
        tuple(Pointer(8 * i, name) for i, name in enumerate(arrays)),
        tuple(Buffer(name, bytearray(a.tobytes()), use) for name, (a, use) in arrays.items()),
    )


def result(launch: Launch, name: str, like: NDArray[Any]) -> NDArray[Any]:
    """What stands in a buffer after the launch."""
    (data,) = (b.data for b in launch.buffers if b.name == name)
    return np.frombuffer(bytes(data), like.dtype).reshape(like.shape)


def find(launch: Launch, policy: Policy, *, races: bool = False, timeout: float = 5.0) -> Finding:
    """The finding of a launch that must have one."""
    try:
        run(launch, Options(policy, races=races, timeout=timeout))
    except EmulationError as error:
        return error.finding
    raise AssertionError("nothing was found")


def assert_told(finding: Finding, says: str, line: int | None) -> None:
    """A finding and its notes say so, and point at ``line`` of the unit, if one is given."""
    told = [finding.message, *(note.text for note in finding.notes)]
    assert says in "\n".join(told)
    if line is not None:
        lines = {frame.line for frame in finding.frames}
        lines |= {frame.line for note in finding.notes for frame in note.frames}
        assert line in lines, finding


def marked_line(unit: Unit, mark: str = "BUG") -> int:
    """The line of the unit that carries the comment ``mark``."""
    (line,) = (i for i, text in enumerate(unit.lines, 1) if text.endswith(f"// {mark}"))
    return line
