"""One run of a kernel: on drawn or given data, in a place, verified and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moedsl.arguments import OFFSETS
from moedsl.backend import DeviceExecutable
from moedsl.cli.place import Gpu, Host
from moedsl.cli.run_data import fitting
from moedsl.inputs import Arguments, make_inputs
from moedsl.reference import check_outputs, sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moedsl.backend import Call, Executable
    from moedsl.cli.run_data import Data
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.tile import TileKernel
    from moedsl.meaning import Mode
    from moedsl.reference import Verdict
    from moedsl.subscript import Array

SAMPLED_ROWS = 64
"""Random rows that a sampled check looks at, besides the first and last of every tile."""

LONG_SECONDS = 15
"""A launch that took longer is not repeated for another test."""


@dataclass(frozen=True)
class Trial:
    """What came of it. ``trespasses`` say what was written that must not be."""

    seconds: float
    verdicts: tuple[Verdict, ...]
    trespasses: tuple[str, ...]
    outputs: Mapping[str, Array]

    @property
    def good(self) -> bool:
        """Whether nothing wrong was seen."""
        return not self.trespasses and all(verdict.passed for verdict in self.verdicts)


def try_kernel(
    kernel: MoeKernel,
    tile: TileKernel,
    executable: Executable,
    data: Data,
    check: str,
    step: Callable[[str], None],
) -> Trial:
    """Run ``executable`` once for each test, for one test only if that takes long; and time it.

    ``check`` is full, sample or none; ``step`` is told what is being done.
    """
    place = Gpu() if isinstance(executable, DeviceExecutable) else Host()
    seconds, outputs = 0.0, {}
    verdicts: list[Verdict] = []
    trespasses: list[str] = []
    for number, mode in enumerate(data.modes if check != "none" else data.modes[:1]):
        step(f"drawing data for the {mode} test")
        arguments = _arguments(kernel, data, mode, watch_inputs=check == "full")
        call = place.put(arguments)
        step("compiling" if number == 0 else "running")
        executable.prepare(call)
        step("running")
        began = time.perf_counter()
        executable.launch(call)
        place.fetch(arguments)
        wall = time.perf_counter() - began
        if trespass := arguments.trespass():
            trespasses.append(trespass)
        if check != "none":
            step(f"verifying ({mode} test)")
            verdicts.append(_verify(kernel, tile, arguments, mode, check, data.seed))
        if number == 0:
            outputs = {name: array.copy() for name, array in arguments.outputs.items()}
            step("timing")
            seconds = place.seconds(_launcher(executable, call), wall)
        if wall > LONG_SECONDS:
            break
    step("")
    return Trial(seconds, tuple(verdicts), tuple(trespasses), outputs)


def _launcher(executable: Executable, call: Call) -> Callable[[], None]:
    """The shortest way to launch ``call`` again."""
    if not isinstance(executable, DeviceExecutable):
        return lambda: executable.launch(call)
    launch, stream = executable.bind(call, (*call.arrays, OFFSETS)), call.stream or 0
    pointers = [view.pointer for view in (*call.arrays.values(), call.offs)]
    return lambda: launch(pointers, stream)


def _verify(
    kernel: MoeKernel, tile: TileKernel, arguments: Arguments, mode: Mode, check: str, seed: int
) -> Verdict:
    sample = None
    if check == "sample":
        rows = arguments.sizes[kernel.signature.rows]
        height = tile.schedule.tile.rows
        sample = sample_rows(kernel, arguments.ends, rows, height, SAMPLED_ROWS, seed)
    return check_outputs(
        kernel,
        arguments.inputs,
        arguments.outputs,
        arguments.initial_outputs,
        arguments.ends,
        mode,
        sample,
    )


def _arguments(kernel: MoeKernel, data: Data, mode: Mode, *, watch_inputs: bool) -> Arguments:
    arguments = make_inputs(
        kernel, data.rows, data.sizes, mode, data.seed, watch_inputs=watch_inputs
    )
    for name, array in data.given.items():
        guarded = arguments.tensors[name]
        guarded.array[...] = fitting(name, array, guarded.shape)
        guarded.arm()
    return arguments
