"""A tile kernel on GPUs: compiled once for each set of access modes, resident once a device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from moedsl.arguments import OFFSETS
from moedsl.backend import PerformanceWarning
from moedsl.backends.cuda.access import (
    access_modes,
    every_vector,
    vector_obstacle,
    whole_rows,
)
from moedsl.backends.cuda.driver import current, gpu, is_capturing
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.launch import BoundLaunch, make_resident
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.lower.resources.specialised import STORED_BYTES
from moedsl.source.diagnostic import Diagnostic, Severity, UnavailableError
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.backend import Call
    from moedsl.backends.cuda.abi import AccessModes, GeneratedKernel
    from moedsl.backends.cuda.driver import Gpu
    from moedsl.backends.cuda.launch import Resident
    from moedsl.backends.cuda.nvrtc import Binary
    from moedsl.ir.tile import TileKernel

SPILLED = "MOE0442"
SERIALIZED = "MOE0443"


@dataclass(frozen=True)
class Variant:
    """A kernel compiled for one set of access modes."""

    modes: AccessModes
    generated: GeneratedKernel
    binary: Binary


class CudaExecutable:
    """All variants of one tile kernel. Safe to use from several threads."""

    def __init__(self, kernel: TileKernel) -> None:
        self.kernel = kernel
        self._lock = Lock()
        self._variants: dict[AccessModes, Variant] = {}
        self._residents: dict[tuple[AccessModes, int], Resident] = {}
        self._warned: set[str] = set()

    def variant(self, modes: AccessModes | None = None) -> Variant:
        """The variant for ``modes`` (None: vector access everywhere), compiled if need be.

        Needs no GPU. Raises UnavailableError without NVRTC.
        """
        modes = modes or every_vector(self.kernel.signature)
        slow: list[Diagnostic] = []
        with self._lock:
            if modes not in self._variants:
                generated = generate(self.kernel, modes)
                binary = compile_cubin(generated.source, generated.entry, self.kernel.target)
                self._variants[modes] = Variant(modes, generated, binary)
                slow = self._slow(binary)
            variant = self._variants[modes]
        for finding in slow:
            warnings.warn(f"{finding}; {finding.help}", PerformanceWarning, stacklevel=3)
        return variant

    def _slow(self, binary: Binary) -> list[Diagnostic]:
        """What ptxas says of a kernel that makes it slow."""
        found: list[Diagnostic] = []
        notes, help = binary.notes, "use a smaller tile or more consumers"
        name = f"'{self.kernel.signature.name}' on {self.kernel.target}"
        if notes.spills:
            message = (
                f"{name} spills registers: {notes.spill_stores} bytes are written to local memory, "
                f"{notes.spill_loads} read"
            )
            found.append(Diagnostic(SPILLED, message, severity=Severity.WARNING, help=help))
        if notes.serialized:
            message = f"{name} multiplies one product after another: {notes.serialized[0]}"
            found.append(Diagnostic(SERIALIZED, message, severity=Severity.WARNING, help=help))
        return found

    def _modes(self, call: Call) -> AccessModes:
        return access_modes(self.kernel.signature, call.arrays, self.kernel.schedule)

    def prepare(self, call: Call) -> None:
        """Compile, load and allocate for calls like this one."""
        self.bind(call, (*call.arrays, OFFSETS))

    def launch(self, call: Call) -> None:
        """Launch on the call's stream; None means the default stream."""
        launch = self.bind(call, (*call.arrays, OFFSETS))
        views = *call.arrays.values(), call.offs
        launch([view.pointer for view in views], call.stream or 0)

    def bind(self, call: Call, order: Sequence[str]) -> Callable[[Sequence[int], int], None]:
        """A launch for all calls whose arrays differ from these in address only, not modulo 16.

        Raises UnavailableError where the kernel cannot run on the arrays' device, or is not ready
        and the call's stream is being captured.
        """
        assert call.offs.device is not None
        device, stream = gpu(call.offs.device), call.stream or 0
        modes = self._modes(call)
        self._warn(modes, call)
        with current(device):
            capturing = is_capturing(stream)
        resident = self._resident(modes, device, capturing=capturing)
        bound = BoundLaunch(resident, call, order)
        if not capturing:
            bound.reserve(stream)
        # A method is called sooner than an object that has it.
        return bound.__call__

    def _resident(self, modes: AccessModes, device: Gpu, *, capturing: bool) -> Resident:
        key = modes, device.ordinal
        if key not in self._residents:
            if capturing:
                raise UnavailableError(
                    f"'{self.kernel.signature.name}' is not ready for these arrays and cannot "
                    "become so while their stream is being captured into a graph",
                    help="before the capture, call warmup(...) with arrays like these",
                )
            self._check_device(device)
            variant = self.variant(modes)
            with self._lock:
                if key not in self._residents:
                    self._residents[key] = make_resident(variant.generated, variant.binary, device)
        return self._residents[key]

    def _check_device(self, device: Gpu) -> None:
        target, here = TARGETS[self.kernel.target], device.target
        major = target.capability // 10
        if here is None or not here.schedule_covers(target.sm) or device.capability[0] != major:
            raise UnavailableError(
                f"a kernel compiled for {target.sm} does not run on {device.name} "
                f"(compute capability {'.'.join(map(str, device.capability))})",
                help=f"compile(target={here.sm!r})" if here else "use a GPU of sm_80 or newer",
            )

    def _warn(self, modes: AccessModes, call: Call) -> None:
        slow = "is accessed one element at a time, which is slow"
        if self.kernel.schedule.specialised:
            slow = "cannot be taken by the copy engine, and the kernel is slower without"
        obstacles = self._obstacles(modes, call)
        for name in sorted(obstacles.keys() - self._warned):
            self._warned.add(name)
            warnings.warn(f"'{name}' {slow}: {obstacles[name]}", PerformanceWarning, stacklevel=2)

    def _obstacles(self, modes: AccessModes, call: Call) -> dict[str, str]:
        """What is wrong with a call's tensors, by name, and what can be done."""
        signature, found = self.kernel.signature, {}
        for name in every_vector(signature).vector:
            tensor, view = signature.tensor(name), call.arrays[name]
            if name not in modes.vector:
                why = vector_obstacle(view, tensor.dims, (signature.ragged,))
                found[name] = f"{why}; allocate it with padded rows, or copy it"
            elif not modes.whole and tensor in signature.outputs and not whole_rows(view):
                found[name] = (
                    f"its rows of {view.shape[-1]} elements do not end with whole 16 bytes; "
                    f"make {tensor.dims[-1]} a multiple of {STORED_BYTES // tensor.dtype.bytes}"
                )
        return found
