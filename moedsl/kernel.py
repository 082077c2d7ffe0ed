"""A compiled kernel: called with arrays of any library, it checks them and computes.

The first call with device arrays of some types, shapes, strides and alignments goes the long way:
checks, choice of a schedule, compilation. It leaves a plan for calls like it. Later ones find it by
a look at everything in which such calls may differ; of addresses that are new, only whether the
caller's outputs share memory is checked. Where the arrays are recognised by what their library has
for that, and lie where those of an earlier call lay, not even that look is needed. Host arrays and
debugging always take the long way.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from functools import partial
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
from moedsl.plan import Plan, Recent, Request, read_marks, telling
from moedsl.scalars import Scalars, number_keeper
from moedsl.source.diagnostic import DiagnosticError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from moedsl.checked import CheckedCall
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule, ScheduleRequest
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

MOST_PLANS = 4096
"""Plans kept for one kernel before some are forgotten."""


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
        self._outputs = tuple(tensor.name for tensor in kernel.signature.outputs)
        self._in_order: Callable[[Any], tuple[object, ...]] = itemgetter(*self._names)
        self._single = len(self._outputs) == 1
        self._tile_kernels: dict[tuple[str | None, int | None], TileKernel] = {}
        self._executables: dict[tuple[str, Schedule], Executable] = {}
        self._plans: dict[Hashable, Plan] = {}
        # By whether outputs are to be made, and by the positions of the numbers.
        recent = partial(Recent, telling(kernel.signature))
        self._recent: tuple[dict[tuple[int, ...], Recent], ...] = (
            defaultdict(recent),
            defaultdict(recent),
        )

    def __call__(
        self, *arguments: object, out: object = None, stream: object = None, **named: object
    ) -> Any:
        """Compute; see the class for arguments, result and errors."""
        # This is the short way: each line costs a share of the host's time for one call.
        inputs: Sequence[object]
        if arguments or len(named) != len(self._names):
            inputs = self._inputs(arguments, named)
        else:
            try:
                inputs = self._in_order(named)
            except KeyError:
                inputs = self._inputs(arguments, named)
        given = None if out is None else self._given(out)
        arrays, at, numbers = self._scalars.split(inputs) if self._scalars else (inputs, (), ())
        if given is not None:
            arrays = (*arrays, *given)
        recent = self._recent[given is None][at]
        read, plan = recent.last
        addresses = read(arrays)
        if addresses is None or addresses not in plan.known:
            found = recent.find(inputs, arrays)
            if found is None:
                request = Request(inputs, given, self._stream(stream, inputs), arrays, at)
                found = self._find(request)
                if found is None:
                    return self._first_call(request)
            plan, addresses = found
        handle = (plan.stream() if stream is None else stream_handle(stream)) or 0
        outputs = given
        if outputs is None:
            outputs = []
            for make in plan.makers:
                array = make()
                outputs.append(array)
                addresses += (plan.address(array),)
        if plan.keep is not None:
            addresses += tuple([plan.keep(number, handle) for number in numbers])
        plan.launch(addresses, handle)
        return outputs[0] if self._single else self._result(outputs)

    def warmup(
        self, *arguments: object, out: object = None, stream: object = None, **named: object
    ) -> None:
        """Do everything for calls like this one but compute: compile, load, allocate.

        Afterwards such calls may be captured into a CUDA graph. Takes and raises what a call does.
        """
        inputs = self._inputs(arguments, named)
        given = None if out is None else self._given(out)
        checked = self._check(inputs, given, self._stream(stream, inputs), debug=self._debug)
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
        if not named and len(arguments) == len(self._names):
            return arguments
        return arrange(self._reporter, arguments, named)

    def _given(self, out: object) -> list[object]:
        if self._single and not isinstance(out, dict):
            return [out]
        return outputs_given(self._reporter, out)

    def _stream(self, stream: object, inputs: Sequence[object]) -> int | None:
        if stream is not None:
            return stream_handle(stream)
        try:
            return library_of(inputs[-1]).stream(inputs[-1])()
        except ArrayError:
            return None

    def _check(
        self,
        inputs: Sequence[object],
        given: Sequence[object] | None,
        stream: int | None,
        *,
        debug: bool,
    ) -> CheckedCall:
        if self._scalars:
            inputs = self._scalars.place(inputs, stream)
        return check_call(self.kernel, inputs, given, stream, debug=debug)

    def _find(self, request: Request) -> tuple[Plan, tuple[int, ...]] | None:
        """The plan for a call and its arrays' addresses; None if no call like it has left one.

        Looks at everything that may differ between calls, addresses included.
        """
        try:
            addresses, marks = read_marks(request.arrays, request.stream)
        except ArrayError:
            return None
        plan = self._plans.get((request.numbers, marks))
        if plan is None:
            return None
        if addresses not in plan.known:
            if plan.crowded(addresses):
                self._check(request.inputs, request.given, request.stream, debug=False)
            plan.remember(addresses)
        self._recent[request.given is None][request.numbers].learn(plan, request)
        return plan, addresses

    def _first_call(self, request: Request) -> Any:
        """Check, prepare and launch a call, and leave a plan for those like it."""
        inputs, stream = request.inputs, request.stream
        checked = self._check(inputs, request.given, stream, debug=self._debug)
        executable = self._executable(checked)
        call = checked.call
        if not isinstance(executable, DeviceExecutable):
            executable.launch(call)
            return self._result(checked.outputs)
        numbers = [self._names[position] for position in request.numbers]
        arrays = [name for name in self._names if name not in numbers]
        order = [*arrays, *self._outputs, *numbers]
        views = [call.offs if name == OFFSETS else call.arrays[name] for name in order]
        launch = executable.bind(call, order)
        launch([view.pointer for view in views], stream or 0)
        if not self._debug:
            extents = tuple(view.extent for view in views[: len(request.arrays)])
            self._keep(self._plan(launch, extents, checked, request), request)
        return self._result(checked.outputs)

    def _keep(self, plan: Plan, request: Request) -> None:
        """Have the plan for calls like the one that it was made for, which was in order."""
        addresses, marks = read_marks(request.arrays, request.stream)
        plan.remember(addresses)
        if len(self._plans) >= MOST_PLANS:
            # Not the oldest, which calls that take turns at a few too many need next.
            for key in list(self._plans)[::8]:
                self._plans.pop(key, None)
            for recent in self._recent:
                recent.clear()
        self._plans[request.numbers, marks] = plan
        self._recent[request.given is None][request.numbers].learn(plan, request)

    def _plan(
        self,
        launch: Callable[[Sequence[int], int], None],
        extents: tuple[tuple[int, int], ...],
        checked: CheckedCall,
        request: Request,
    ) -> Plan:
        offs, device = request.inputs[-1], checked.call.offs.device
        assert device is not None
        return Plan(
            launch=launch,
            stream=library_of(offs).stream(offs),
            keep=number_keeper(device) if request.numbers else None,
            makers=checked.makers,
            address=library_of(model(self.kernel.signature, request.inputs)).address,
            extents=extents,
            outputs=len(request.given or ()),
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
        return outputs[0] if self._single else dict(zip(self._outputs, outputs, strict=True))


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
