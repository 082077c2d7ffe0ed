"""A compiled kernel: called with arrays of any library, it checks them and computes.

The first call with arrays of some shapes, strides and alignments goes the long way: checks, choice
of a schedule, compilation. It leaves a plan, and later calls like it only look the plan up.
"""

from __future__ import annotations

import os
import warnings
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from moedsl.arguments import OFFSETS, Reporter, argument_names, arrange, model, outputs_given
from moedsl.arrays import ArrayError
from moedsl.backend import (
    DEVICE_BACKEND,
    HOST_BACKEND,
    DeviceExecutable,
    Emitter,
    Executable,
    PerformanceWarning,
    find_backend,
    target_here,
)
from moedsl.checked import check_call
from moedsl.dispatch import applicable, pick, typical_rows
from moedsl.libraries import library_of
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.plan import Plan, read_marks
from moedsl.scalars import Scalars
from moedsl.source.diagnostic import DiagnosticError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from moedsl.checked import CheckedCall
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule, ScheduleRequest
    from moedsl.ir.tile import TileKernel
    from moedsl.libraries import Library
    from moedsl.target import Target

MOST_PLANS = 4096
"""Plans kept for one kernel before they are forgotten and made anew."""


class CompiledKernel:
    """A kernel for one target. Safe to call from several threads and on several streams.

    Arguments are the inputs, by name or in the order of their declaration, and ``offs``, i32[E],
    the cumulative ends of the experts' rows. All lie on one device: NumPy arrays, torch CPU
    tensors on the host; torch, CuPy, JAX or other arrays with DLPack on a GPU. A scalar may also be
    a number, which a captured graph keeps; each different one stays in the GPU's memory, so pass
    what changes with every call as an array. ``out`` is the output (several: a mapping by name);
    without it, outputs are made by the library of the first input that has dimensions. Fresh
    outputs hold zeros where the kernel accumulates or scatters, and undefined values
    in rows that no expert owns. ``stream`` is a CUDA stream, by handle or any library's object;
    without it, the one on which the library of ``offs`` now works. Memory of the arguments must
    live until the stream has passed the launch.

    Returns the output, or several by name. Raises DiagnosticError with MOE05xx for arguments that
    do not fit, UnavailableError where this machine cannot run the kernel.
    """

    def __init__(
        self,
        kernel: MoeKernel,
        requests: Sequence[ScheduleRequest],
        *,
        schedule: Schedule | None = None,
        target: Target | None = None,
        backend: str | None = None,
        debug: bool = False,
    ) -> None:
        self.kernel = kernel
        self.target = target or target_here()
        self._requests = applicable(requests, self.target)
        self._fixed = schedule
        self._backend = backend
        self._debug = debug or os.environ.get("MOEDSL_DEBUG", "0") not in ("", "0")
        self._reporter = Reporter(kernel.signature, kernel.source)
        scalars = any(not tensor.dims for tensor in kernel.signature.inputs)
        self._scalars = Scalars(self._reporter) if scalars else None
        self._names = argument_names(kernel.signature)
        self._in_order: Callable[[Any], tuple[object, ...]] = itemgetter(*self._names)
        self._single = len(kernel.signature.outputs) == 1
        self._tile_kernels: dict[tuple[str | None, int | None], TileKernel] = {}
        self._executables: dict[tuple[str, Schedule], Executable] = {}
        self._plans: dict[Hashable, Plan] = {}

    def __call__(
        self, *arguments: object, out: object = None, stream: object = None, **named: object
    ) -> Any:
        """Compute; see the class for arguments, result and errors."""
        inputs = self._inputs(arguments, named)
        given = self._given(out)
        handle = self._stream(stream, inputs)
        if self._scalars:
            inputs = self._scalars.place(inputs, handle)
        try:
            addresses, key = read_marks(inputs if given is None else [*inputs, *given], handle)
        except ArrayError:
            return self._first_call(inputs, given, handle, None)
        plan = self._plans.get(key)
        if plan is None:
            return self._first_call(inputs, given, handle, key)
        outputs: Sequence[Any]
        if given is None:
            outputs = [make() for make in plan.makers]
            for array in outputs:
                addresses.append(plan.library.address(array))
        else:
            outputs = given
            if plan.crowded(addresses, len(outputs)):
                check_call(self.kernel, inputs, given, handle, debug=False)
        plan.launch(plan.arrange(addresses), handle or 0)
        return outputs[0] if self._single else self._result(outputs)

    def warmup(
        self, *arguments: object, out: object = None, stream: object = None, **named: object
    ) -> None:
        """Do everything for calls like this one but compute: compile, load, allocate.

        Afterwards such calls may be captured into a CUDA graph. Takes and raises what a call does.
        """
        inputs = self._inputs(arguments, named)
        given = self._given(out)
        handle = self._stream(stream, inputs)
        if self._scalars:
            inputs = self._scalars.place(inputs, handle)
        checked = check_call(self.kernel, inputs, given, handle, debug=self._debug)
        self._executable(checked).prepare(checked.call)

    def tile_kernel(self, rows: int | None = None) -> TileKernel:
        """The kernel with the schedule that calls with ``rows`` rows in all take.

        For None, a schedule that holds for any number of rows if there is one.
        """
        signature = self.kernel.signature
        request = None if self._fixed else pick(self._requests, rows)
        typical = None if rows is None else typical_rows(rows, signature.expert_count)
        key = None if request is None else request.name, typical
        if key not in self._tile_kernels:
            others = tuple(other for other in self._requests if other is not request)
            options = Options(
                target=self.target,
                requests={signature.name: request} if request else {},
                others={signature.name: others},
                schedule=self._fixed,
                rows=typical,
                report=lambda finding: warnings.warn(str(finding), PerformanceWarning, 2),
            )
            self._tile_kernels[key] = lower_kernel(self.kernel, options)
        return self._tile_kernels[key]

    @property
    def schedule(self) -> Schedule:
        """The complete schedule; see :meth:`tile_kernel` for which, if there are several."""
        return self.tile_kernel().schedule

    @property
    def source(self) -> str:
        """The CUDA C of :meth:`tile_kernel`."""
        return str(_emitter().emit(self.tile_kernel(), "cuda"))

    @property
    def manifest(self) -> Mapping[str, object]:
        """What another program must know to launch :meth:`tile_kernel`, and what it costs."""
        return _emitter().manifest(self.tile_kernel())

    def _inputs(self, arguments: Sequence[object], named: Mapping[str, object]) -> Sequence[object]:
        if not arguments and len(named) == len(self._names):
            try:
                return self._in_order(named)
            except KeyError:
                pass
        return arrange(self._reporter, arguments, named)

    def _given(self, out: object) -> list[object] | None:
        if out is None:
            return None
        if self._single and not isinstance(out, dict):
            return [out]
        return outputs_given(self._reporter, out)

    def _stream(self, stream: object, inputs: Sequence[object]) -> int | None:
        if stream is not None:
            return stream_handle(stream)
        try:
            return library_of(inputs[-1]).stream(inputs[-1])
        except ArrayError:
            return None

    def _first_call(
        self,
        inputs: Sequence[object],
        given: Sequence[object] | None,
        stream: int | None,
        key: Hashable | None,
    ) -> Any:
        """Check, prepare and launch a call, and leave a plan for those with the same key."""
        checked = check_call(self.kernel, inputs, given, stream, debug=self._debug)
        executable = self._executable(checked)
        call = checked.call
        if not isinstance(executable, DeviceExecutable):
            executable.launch(call)
            return self._result(checked.outputs)
        launch = executable.bind(call)
        tensors = self.kernel.signature.tensors
        launch(
            [*(call.arrays[t.name].pointer for t in tensors), call.offs.pointer], call.stream or 0
        )
        if key is not None and not self._debug:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            library = library_of(model(self.kernel.signature, inputs))
            self._plans[key] = self._plan(launch, checked, library)
        return self._result(checked.outputs)

    def _plan(
        self,
        launch: Callable[[Sequence[int], int], None],
        checked: CheckedCall,
        library: Library,
    ) -> Plan:
        signature, call = self.kernel.signature, checked.call
        names = [*self._names, *(t.name for t in signature.outputs)]
        views = [call.arrays.get(name, call.offs) for name in names]
        return Plan(
            launch=launch,
            arrange=itemgetter(*map(names.index, (*(t.name for t in signature.tensors), OFFSETS))),
            makers=checked.makers,
            library=library,
            extents=tuple(view.extent for view in views),
        )

    def _executable(self, checked: CheckedCall) -> Executable:
        """The executable for a call, compiled once for each backend and schedule."""
        on_device = checked.call.offs.device is not None
        name = self._backend or (DEVICE_BACKEND if on_device else HOST_BACKEND)
        kernel = self.tile_kernel(checked.call.sizes[self.kernel.signature.ragged])
        key = name, kernel.schedule
        executable = self._executables.get(key)
        if executable is None:
            compiled = find_backend(name).compile(kernel)
            executable = self._executables.setdefault(key, compiled)
        if isinstance(executable, DeviceExecutable) is not on_device:
            place = "on a device" if on_device else "on the host"
            raise DiagnosticError(
                [
                    self._reporter.report(
                        "MOE0508",
                        f"the arrays lie {place}, where backend '{name}' cannot compute",
                        help="leave backend= out, and the arrays decide",
                    )
                ]
            )
        return executable

    def _result(self, outputs: Sequence[Any]) -> Any:
        if len(outputs) == 1:
            return outputs[0]
        return dict(zip((t.name for t in self.kernel.signature.outputs), outputs, strict=True))


def stream_handle(stream: object) -> int:
    """The handle of a CUDA stream of any library; TypeError if the object is none."""
    if isinstance(stream, int):
        return stream
    if protocol := getattr(stream, "__cuda_stream__", None):
        return int(protocol()[1])
    for attribute in ("cuda_stream", "ptr"):
        handle = getattr(stream, attribute, None)
        if isinstance(handle, int):
            return handle
    raise TypeError(f"stream must be a CUDA stream or its handle, not {stream!r}")


def _emitter() -> Emitter:
    backend = find_backend(DEVICE_BACKEND)
    assert isinstance(backend, Emitter)
    return backend
