"""Calling a compiled kernel: arguments, plans, schedules, streams; against fakes of the device."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moedsl import backend as backend_module
from moedsl import kernel as kernel_module
from moedsl.backend import Call
from moedsl.dispatch import applicable, pick, typical_rows
from moedsl.ir.core import DType
from moedsl.ir.schedule import Comparison, ScheduleRequest
from moedsl.kernel import CompiledKernel, stream_handle
from moedsl.source.diagnostic import DiagnosticError
from moedsl.target import TARGETS
from tests.api.fakes import FakeDevice, Tensor, tensor
from tests.api.kernels import forward, schedule


class HostExecutable:
    """Counts calls and fills the output with the number of rows."""

    def prepare(self, call: Call) -> None:
        raise AssertionError("nothing to prepare")

    def launch(self, call: Call) -> None:
        output: Any = call.arrays["y"].owner
        output[...] = call.sizes["m"]


class FakeHost(FakeDevice):
    def compile(self, kernel: Any) -> Any:
        return HostExecutable()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    device = FakeDevice()
    registry = {"interp": FakeHost("interp"), "cuda": device}
    monkeypatch.setattr(backend_module, "backends", lambda: registry)
    return device


def compiled(**options: Any) -> CompiledKernel:
    return CompiledKernel(forward(experts=3), (), schedule=schedule(), **options)


def arguments(rows: int = 10, at: int = 1 << 20) -> dict[str, Tensor]:
    return {
        "x": tensor((rows, 64), pointer=at),
        "w": tensor((3, 64, 64), pointer=at + (1 << 22)),
        "offs": tensor((3,), "int32", at + (2 << 22)),
    }


def test_calls_alike_share_a_plan(device: FakeDevice, made: list[Tensor]) -> None:
    call = compiled()
    first = call(**arguments())
    second = call(**arguments(at=1 << 25))
    (executable,) = device.executables
    assert len(executable.bound) == 1
    assert [first, second] == made and first is not second
    assert first.shape == (10, 64) and first.dtype == "torch.bfloat16"
    at = [1 << 20, 1 << 25]
    assert executable.launched == [
        ([p, p + (1 << 22), out.data_ptr(), p + (2 << 22)], 7)
        for p, out in zip(at, made, strict=True)
    ]


def test_other_shapes_and_alignments_make_other_plans(device: FakeDevice) -> None:
    call = compiled()
    for named in (arguments(), arguments(rows=11), arguments(at=(1 << 20) + 2)):
        call(**named)
        call(**named)
    (executable,) = device.executables
    assert len(executable.bound) == 3
    assert len(executable.launched) == 6


def test_plans_are_bounded(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "MOST_PLANS", 2)
    call = compiled()
    for rows in (1, 2, 3, 3, 1):
        call(**arguments(rows))
    assert [c.sizes["m"] for c in device.executables[0].bound] == [1, 2, 3, 1]


def test_positional_arguments_and_out(device: FakeDevice) -> None:
    call = compiled()
    y = tensor((10, 64), pointer=1 << 26)
    x, w, offs = arguments().values()
    assert call(x, w, offs, out=y) is y
    assert call(x, w, offs=offs, out={"y": y}) is y
    (executable,) = device.executables
    assert executable.launched[0] == executable.launched[1]
    assert executable.launched[0][0][2] == 1 << 26
    assert len(executable.bound) == 1


@pytest.mark.parametrize(
    ("positional", "named", "text"),
    [
        ((), {"x": 0}, "argument 'w' is missing"),
        ((1, 2, 3, 4), {}, "4 positional arguments, expected at most 3: x, w, offs"),
        ((1, 2, 3), {"x": 0}, "argument 'x' is given twice"),
        ((1, 2, 3), {"ofs": 0}, "'forward' takes no argument 'ofs'"),
        ((1, 2, 3), {"y": 0}, "'forward' takes no argument 'y'"),
        ((1, 2, 3), {"out": {"z": 0}}, "output 'y' is missing in out="),
        (([], 2, 3), {}, "'x' is no array but of type list"),
    ],
)
def test_wrong_use(
    device: FakeDevice, positional: tuple[Any, ...], named: dict[str, Any], text: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiled()(*positional, **named)
    assert text in str(caught.value)


def test_help_for_wrong_names(device: FakeDevice) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiled()(1, 2, offz=3)
    assert caught.value.diagnostics[0].help == "did you mean 'offs'?"
    with pytest.raises(DiagnosticError) as caught:
        compiled()(1, 2, 3, y=4)
    assert "out=" in caught.value.diagnostics[0].help


def test_overlap_is_looked_for_in_every_call(device: FakeDevice) -> None:
    call = compiled()
    named = arguments()
    call(**named, out=tensor((10, 64), pointer=1 << 26))
    inside = tensor((10, 64), pointer=(1 << 20) + 64)
    with pytest.raises(DiagnosticError, match="'y' shares memory with 'x'"):
        call(**named, out=inside)
    x = tensor((10, 64), pointer=1 << 20, strides=(128, 1))
    beside = tensor((10, 64), pointer=(1 << 20) + 128, strides=(128, 1))
    for _ in range(2):
        call(**{**named, "x": x}, out=beside)
    assert len(device.executables[0].launched) == 3


def test_streams(device: FakeDevice) -> None:
    class Cuda:
        def __cuda_stream__(self) -> tuple[int, int]:
            return 0, 77

    call = compiled()
    for stream in (None, 5, 5, Cuda()):
        call(**arguments(), stream=stream)
    assert [stream for _, stream in device.executables[0].launched] == [7, 5, 5, 77]
    with pytest.raises(TypeError, match="CUDA stream"):
        stream_handle("main")


def test_warmup_prepares_and_computes_nothing(device: FakeDevice) -> None:
    call = compiled()
    call.warmup(**arguments())
    (executable,) = device.executables
    assert len(executable.prepared) == 1 and not executable.launched
    call(**arguments())
    assert len(device.executables) == 1


def test_host_arrays_go_to_the_host_backend(device: FakeDevice) -> None:
    named = {
        "x": np.zeros((5, 64), "float16"),
        "w": np.zeros((3, 64, 64), "float16"),
        "offs": np.array([1, 2, 5], "int32"),
    }
    kernel = CompiledKernel(forward(3, dtype=DType.F16), (), schedule=schedule())
    result = kernel(**named)
    assert isinstance(result, np.ndarray) and (result == 5).all()
    assert not device.executables
    wrong = CompiledKernel(forward(3, dtype=DType.F16), (), schedule=schedule(), backend="cuda")
    with pytest.raises(DiagnosticError, match="the arrays lie on the host"):
        wrong(**named)
    missing = CompiledKernel(forward(3, dtype=DType.F16), (), schedule=schedule(), backend="tpu")
    with pytest.raises(DiagnosticError, match="no backend 'tpu'"):
        missing(**named)


def test_illegal_schedule_is_refused_before_anything(device: FakeDevice) -> None:
    kernel = CompiledKernel(forward(3), (), schedule=replace(schedule(), stages=60))
    with pytest.raises(DiagnosticError):
        kernel(**arguments())
    assert not device.executables


def request(name: str, on: str | None = None, *when: tuple[str, int]) -> ScheduleRequest:
    return ScheduleRequest(name, "forward", on, tuple(Comparison(*bound) for bound in when))


def test_schedules_are_chosen_by_target_then_order() -> None:
    everywhere, few = request("everywhere"), request("few", None, ("<=", 8))
    ampere, hopper = request("ampere", "sm_80"), request("hopper", "sm_90a", (">", 8))
    requests = (few, everywhere, ampere, hopper)
    on = {name: applicable(requests, TARGETS[name]) for name in ("sm_80", "sm_90a", "sm_120")}
    assert on["sm_90a"] == (hopper, ampere, few, everywhere)
    assert on["sm_80"] == on["sm_120"] == (ampere, few, everywhere)
    assert pick(on["sm_90a"], 9) is hopper
    assert pick(on["sm_90a"], 8) is ampere
    assert pick(on["sm_90a"], None) is ampere
    assert pick((few,), 9) is None
    assert pick((few,), None) is few
    assert pick((), 9) is None


def test_typical_rows_are_few_and_never_less() -> None:
    assert typical_rows(0, 8) == 0
    assert [typical_rows(rows, 4) for rows in (1, 4, 5, 8, 9, 33)] == [4, 4, 8, 8, 12, 40]
    assert [typical_rows(rows, 1) for rows in (64, 65, 80, 81, 127)] == [64, 80, 80, 96, 128]
    for experts in (1, 3, 256):
        values = {typical_rows(rows, experts) for rows in range(1, 5000)}
        assert len(values) <= 8 + 4 * 9 + 1  # to 8, in nine octaves from there, and 5120
        assert all(typical_rows(rows, experts) >= rows for rows in range(0, 5000, 7))


def test_several_threads(device: FakeDevice) -> None:
    from concurrent.futures import ThreadPoolExecutor

    call = compiled()
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda rows: call(**arguments(rows)).shape, list(range(1, 9)) * 8))
    assert results == [(rows, 64) for rows in list(range(1, 9)) * 8]
    assert sum(len(e.launched) for e in device.executables) == 64
