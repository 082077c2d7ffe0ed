"""Host time of one call less the driver's: ``python -m tests.api.host_time``. Needs torch, no GPU.

Torch's CPU tensors say that they lie on a GPU, whose driver does nothing. What is missing from the
time of a call on a GPU is the driver's launch and torch's allocator there.
"""

from __future__ import annotations

import os
import timeit
from dataclasses import replace
from functools import partial
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import moedsl
from moedsl import libraries, torch_shortcuts
from moedsl.backends.cuda import executable, launch, workspace
from moedsl.backends.cuda.notes import Notes
from moedsl.backends.cuda.nvrtc import Binary
from moedsl.ir.schedule import Persistence
from moedsl.kernel import CompiledKernel
from moedsl.target import TARGETS
from tests.api.kernels import forward, schedule
from tests.api.test_plans import SCALED
from tests.cuda_runtime.fake_driver import FakeDriver, install

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, BATCHES = 5000, 21


class IdleDriver(FakeDriver):
    """It has one GPU and launches nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.gpus = 1
        self.cuLaunchKernelEx = lambda *_: (0,)
        # At once, for the fake makes the names of its methods up.
        self.cuStreamIsCapturing, self.cuStreamGetId = self.stream_is_capturing, self.stream_get_id


def pretend(torch: Any, stream: int) -> None:
    """Have torch's CPU tensors lie on a GPU, and nothing compiled."""
    idle = IdleDriver()
    library = type(libraries.library_of(torch.zeros(1)))
    guards = torch._C._dynamo.guards

    def compile_cubin(*_: Any) -> Binary:
        return Binary(b"", Notes(), "", cached=True)

    def make_resident(generated: Any, binary: Binary, device: Any) -> launch.Resident:
        kernel, spaces = SimpleNamespace(handle=1), workspace.Workspaces(device)
        return launch.Resident(device, kernel, generated, 132, spaces, Lock())

    def view(self: Any, array: Any, stream: int | None) -> Any:
        return replace(libraries.host_view(self.fetch(array), writable=True), device=0)

    def empty(torch: Any, shape: Any, strides: Any, dtype: Any, device: Any) -> Any:
        return partial(guards._empty_strided_cpu, shape, strides, dtype)

    patch = pytest.MonkeyPatch()
    install(patch, idle)
    patch.setattr(executable, "compile_cubin", compile_cubin)
    patch.setattr(executable, "make_resident", make_resident)
    patch.setattr(library, "view", view)
    patch.setattr(library, "stream", lambda self, array: partial(int, stream))
    patch.setattr(torch_shortcuts, "empty", empty)


def report(name: str, act: Callable[[], Any], calls: int = 1) -> None:
    """Print the least and the median over batches of the microseconds of each of ``act``'s calls.

    They are timed once ``act`` has been through all that it does for the first time.
    """
    for _ in range(2):
        act()
    turns = CALLS // calls
    times = sorted(timeit.timeit(act, number=turns) / turns / calls for _ in range(BATCHES))
    print(f"{name:32} min {times[0] * 1e6:6.2f}  median {times[BATCHES // 2] * 1e6:6.2f} µs")


def changing_rows(kernel: CompiledKernel, w: Any, offs: Any) -> None:
    """Time calls that take turns at several numbers of rows."""
    import torch

    for counts in (1, 2, 4, 16, 64):
        calls = [torch.zeros(8 + more, 64, dtype=torch.bfloat16) for more in range(counts)]
        pairs = [(x, torch.zeros_like(x)) for x in calls]

        def turns(pairs: list[tuple[Any, Any]] = pairs) -> None:
            for x, out in pairs:
                kernel(x=x, w=w, offs=offs, out=out)

        report(f"{counts} numbers of rows", turns, counts)


def changing_kinds(kernel: CompiledKernel, x: Any, w: Any, offs: Any, out: Any) -> None:
    """Time calls that take turns at what torch tells apart and kernels do not."""
    import torch

    weights = [w, torch.nn.Parameter(w)]

    def turns() -> None:
        for one in weights:
            kernel(x=x, w=one, offs=offs, out=out)

    report("tensor and parameter", turns, len(weights))


def main() -> None:
    """Time the ways to call."""
    import torch

    pretend(torch, int(os.environ.get("STREAM", "0")))
    x, w = torch.zeros(8, 64, dtype=torch.bfloat16), torch.zeros(3, 64, 64, dtype=torch.bfloat16)
    offs, y = torch.tensor([2, 5, 8], dtype=torch.int32), torch.zeros_like(x)
    moved = [(x.clone(), torch.zeros_like(x)) for _ in range(8)]
    named = {"x": x, "w": w, "offs": offs}
    for persistent, split_k in ((Persistence.STATIC, 1), (Persistence.DYNAMIC, 2)):
        chosen = schedule(persistent=persistent, split_k=split_k)
        kernel = CompiledKernel(forward(3), (), schedule=chosen, target=TARGETS["sm_90a"])
        name = f"{persistent.value}, split_k {split_k}"
        report(f"{name}, out", partial(kernel, **named, out=y))
        report(f"{name}, fresh", partial(kernel, **named))
        report(f"{name}, in order", partial(kernel, x, w, offs, out=y))

        def layers(kernel: CompiledKernel = kernel) -> None:
            for one, out in moved:
                kernel(x=one, w=w, offs=offs, out=out)

        report(f"{name}, 8 layers", layers, len(moved))
    changing_rows(kernel, w, offs)
    changing_kinds(kernel, x, w, offs, y)
    kernel = moedsl.load(SCALED).kernel().compile(target="sm_90a")
    report("a number and a tensor", partial(kernel, **named, a=2.0, b=torch.tensor(1.0), out=y))


if __name__ == "__main__":
    main()
