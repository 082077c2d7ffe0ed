"""Plans, which serve calls like an earlier one: whatever differs in a call is noticed."""

from __future__ import annotations

import math
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import moedsl
from moedsl import kernel as kernel_module
from moedsl import plan as plan_module
from moedsl.kernel import CompiledKernel
from moedsl.source.diagnostic import DiagnosticError
from tests.api.calls import ADDRESSES, arguments, compute, last
from tests.api.fakes import FakeDevice, FakeExecutable, FakeTorch, Tensor, TensorGuards, fake_torch
from tests.api.fakes import tensor as make
from tests.api.kernels import forward, schedule


@pytest.fixture(params=[True, False], ids=["shortcuts", "public"])
def torch(monkeypatch: pytest.MonkeyPatch, request: Any) -> FakeTorch:
    """With and without what torch has for its own compiler."""
    return fake_torch(monkeypatch, shortcuts=request.param)


@pytest.mark.parametrize("name", ADDRESSES)
def test_moved_arrays_are_followed(
    kernel: CompiledKernel, executable: FakeExecutable, name: str
) -> None:
    """Other tensors, and the same ones whose memory was exchanged."""
    named = arguments()
    other = make(named[name].shape, named[name].dtype.removeprefix("torch."), 1 << 28)
    compute(kernel, {**named, name: other})
    assert last(executable) == {**ADDRESSES, name: 1 << 28}
    named[name]._pointer = 1 << 27
    compute(kernel, named)
    assert last(executable) == {**ADDRESSES, name: 1 << 27}
    compute(kernel, arguments())
    assert last(executable) == ADDRESSES
    assert len(executable.bound) == 2


def negative(tensor: Tensor) -> Tensor:
    tensor.negative = True
    return tensor


CHANGES: dict[str, tuple[Any, str | None]] = {
    "rows of x": ({"x": make((9, 64), pointer=1 << 20)}, "'y' .* is 10, expected 9"),
    "rows of y": ({"y": make((11, 64), pointer=1 << 23)}, "'y' .* is 11, expected 10"),
    "rank": ({"x": make((10, 8, 8), pointer=1 << 20)}, "'x' has 3 dimensions"),
    "experts": ({"w": make((4, 64, 64), pointer=1 << 21)}, "'w' .* is 4, expected 3"),
    "type of x": ({"x": make((10, 64), "float16", 1 << 20)}, "'x' holds f16"),
    "type of y": ({"y": make((10, 64), "float32", 1 << 23)}, "'y' holds f32"),
    "type of offs": ({"offs": make((3,), "int64", 1 << 22)}, "'offs' holds int64"),
    "device of w": ({"w": make((3, 64, 64), pointer=1 << 21, device=1)}, "'w' lies on CUDA dev"),
    "device of y": ({"y": make((10, 64), pointer=1 << 23, device=1)}, "'y' lies on CUDA dev"),
    "stride of offs": ({"offs": make((3,), "int32", 1 << 22, strides=(2,))}, "stride 2"),
    "y on itself": ({"y": make((10, 64), pointer=1 << 23, strides=(0, 1))}, "elements of output"),
    "y on x": ({"y": make((10, 64), pointer=(1 << 20) + 64)}, "'y' shares memory with 'x'"),
    "sign of x": ({"x": negative(make((10, 64), pointer=1 << 20))}, "'x' is negated where"),
    "no array": ({"x": 3.0}, "'x' is no array but of type float"),
    "strides of x": ({"x": make((10, 64), pointer=1 << 20, strides=(128, 1))}, None),
    "strides of w": ({"w": make((3, 64, 64), pointer=1 << 21, strides=(4096, 1, 64))}, None),
    "alignment of x": ({"x": make((10, 64), pointer=(1 << 20) + 2)}, None),
    "alignment of y": ({"y": make((10, 64), pointer=(1 << 23) + 8)}, None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_noticed_time_and_again(
    kernel: CompiledKernel, executable: FakeExecutable, change: str
) -> None:
    changed, problem = CHANGES[change]
    for _ in range(3):
        launched = len(executable.launched)
        if problem:
            with pytest.raises(DiagnosticError, match=problem):
                compute(kernel, arguments(**changed))
            assert len(executable.launched) == launched and len(executable.bound) == 2
        else:
            compute(kernel, arguments(**changed))
            assert len(executable.bound) == 3
            (name,) = changed
            assert executable.bound[-1].arrays[name].strides == changed[name].stride()
        compute(kernel, arguments())
        assert last(executable) == ADDRESSES
    assert len(executable.bound) == (2 if problem else 3)


def test_a_tensor_that_changes_under_way_is_read_anew(
    kernel: CompiledKernel, executable: FakeExecutable
) -> None:
    named = arguments()
    compute(kernel, named)
    named["x"]._strides = 128, 1
    compute(kernel, named)
    assert executable.bound[-1].arrays["x"].strides == (128, 1)
    named["x"].shape = 7, 64
    with pytest.raises(DiagnosticError, match="is 10, expected 7"):
        compute(kernel, named)
    named["y"].shape = 7, 64
    compute(kernel, named)
    assert executable.bound[-1].sizes["m"] == 7
    named["w"].device.index = 1
    with pytest.raises(DiagnosticError, match="'w' lies on CUDA device 1"):
        compute(kernel, named)


def test_interleaved_arrays_are_looked_at_once(
    kernel: CompiledKernel, executable: FakeExecutable, monkeypatch: Any
) -> None:
    x = make((10, 64), pointer=1 << 20, strides=(128, 1))
    beside = make((10, 64), pointer=(1 << 20) + 128, strides=(128, 1))
    for _ in range(2):
        compute(kernel, arguments(x=x, y=beside))
    with monkeypatch.context() as patched:
        patched.setattr(kernel_module, "check_call", lambda *_, **__: pytest.fail("looked again"))
        compute(kernel, arguments(x=x, y=beside))
    for _ in range(2):
        on = make((10, 64), pointer=(1 << 20) + 112, strides=(128, 1))
        with pytest.raises(DiagnosticError, match="'y' shares memory with 'x'"):
            compute(kernel, arguments(x=x, y=on))


def test_one_tensor_as_two_arguments(
    torch: FakeTorch, device: FakeDevice, monkeypatch: Any
) -> None:
    """Torch's own way recognises no such call, which is served all the same, and others are."""
    guards: list[TensorGuards] = []
    monkeypatch.setattr(TensorGuards, "made", guards)
    kernel = CompiledKernel(forward(3, gather=True, scatter=True), (), schedule=schedule())
    rows, other = (make((10,), "int32", at) for at in (1 << 25, 1 << 26))

    def check(src: Tensor, dst: Tensor) -> None:
        compute(kernel, arguments(src=src, dst=dst))
        (executable,) = device.executables
        addresses = dict(zip(("src", "dst"), executable.launched[-1][0], strict=False))
        assert addresses == {"src": src.data_ptr(), "dst": dst.data_ptr()}
        assert len(executable.bound) == 1

    for src, dst in ((rows, rows), (rows, rows), (rows, other), (other, rows), (rows, rows)):
        check(src, dst)
    if hasattr(torch._C, "_dynamo"):
        assert len(guards) == 1
        monkeypatch.setattr(kernel_module, "read_marks", lambda *_: pytest.fail("looked again"))
        check(rows, other)
        check(other, rows)


def test_streams_are_asked_for_each_time(
    torch: FakeTorch, kernel: CompiledKernel, executable: FakeExecutable
) -> None:
    for torch.stream in (7, 8, 0, 7):
        compute(kernel, arguments())
        assert executable.launched[-1][1] == torch.stream
        compute(kernel, arguments(), stream=99)
        assert executable.launched[-1][1] == 99
    elsewhere = {
        name: make(t.shape, t.dtype.removeprefix("torch."), t.data_ptr(), device=1)
        for name, t in arguments().items()
    }
    for _ in range(2):
        compute(kernel, elsewhere)
        assert executable.launched[-1][1] == 8
    assert executable.bound[-1].offs.device == 1


def test_whatever_changes_the_plan_fits(
    torch: FakeTorch, kernel: CompiledKernel, executable: FakeExecutable, monkeypatch: Any
) -> None:
    """Many calls with few kinds of arrays, of which every one may come after every other."""
    draw = random.Random(0)
    monkeypatch.setattr(plan_module, "MOST_READERS", 3)
    monkeypatch.setattr(plan_module, "MOST_KNOWN", 8)
    monkeypatch.setattr(kernel_module, "MOST_PLANS", 24)
    for _ in range(3000):
        rows, gpu = draw.choice([5, 6, 7]), draw.randrange(2)
        monkeypatch.setattr(TensorGuards, "grad_mode", draw.choice([True, False]))
        at = (1 << 26) + (draw.randrange(2) << 25) + draw.choice([0, 0, 2])
        on_x = draw.random() < 0.1
        named = {
            "x": make((rows, 64), pointer=at, strides=(draw.choice([64, 128]), 1), device=gpu),
            "w": make((3, 64, 64), pointer=1 << 30, device=gpu),
            "offs": make((3,), "int32", 1 << 28, device=gpu),
            "y": make((rows, 64), pointer=at + 64 if on_x else 1 << 29, device=gpu),
        }
        if on_x:
            with pytest.raises(DiagnosticError, match="'y' shares memory with 'x'"):
                compute(kernel, named)
            continue
        compute(kernel, named)
        served = executable.served[-1]
        assert served.sizes["m"] == rows
        assert last(executable) == {name: tensor.data_ptr() for name, tensor in named.items()}
        for name, view in {**served.arrays, "offs": served.offs}.items():
            given = named[name]
            assert (view.shape, view.strides) == (given.shape, given.stride())
            assert (view.device, view.pointer & 15) == (gpu, given.data_ptr() & 15)
    assert len(kernel._plans) <= 24
    assert all(len(plan.known) <= 8 for plan in kernel._plans.values())


def test_fresh_outputs_lie_where_the_inputs_do(
    torch: FakeTorch, kernel: CompiledKernel, executable: FakeExecutable
) -> None:
    """Torch's quick way to make tensors knows no device but the current one."""
    named = {name: array for name, array in arguments().items() if name != "y"}
    for torch.device in (0, 1, 0):
        result = kernel(**named)
        assert result is torch.made[-1] and result.get_device() == 0
        assert last(executable)["y"] == result.data_ptr()
    quick = "quickly" if hasattr(torch._C, "_dynamo") else "empty_strided"
    assert torch.ways[-3:] == [quick, "empty_strided", quick]
    torch.devices = 1
    other = CompiledKernel(forward(experts=3), (), schedule=schedule())
    other(**named)
    assert torch.ways[-1] == quick


def test_threads_get_what_they_asked_for(
    kernel: CompiledKernel, executable: FakeExecutable
) -> None:
    def work(number: int) -> None:
        at = (number + 1) << 28
        for rows in (5, 6, 5, 7) * 5:
            named = arguments(rows, y=make((rows, 64), pointer=at))
            assert compute(kernel, named, stream=100 + number).data_ptr() == at

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    launched = executable.launched[4:]
    assert len(launched) == 16 * 20
    assert all(pointers[2] == (stream - 99) << 28 for pointers, stream in launched)


SCALED = """
kernel scaled {
    index e = 3
    index m = ragged(e)
    index n = 64
    index k = 64
    input  a : f32
    input  x : bf16[m, k]
    input  b : f32
    input  w : bf16[e, n, k]
    output y : bf16[m, n]
    y[m, n] = a * (sum[k] x[m, k] * w[e, n, k]) + b
}
"""


@pytest.mark.parametrize("form", ["out", "fresh"])
def test_numbers_and_tensors_for_scalars_in_any_order(device: FakeDevice, form: str) -> None:
    """Several calls of every form in every order: each scalar comes from where it was given."""
    kernel = moedsl.load(SCALED).kernel().compile()
    a, b = (make((), "float32", 1 << at) for at in (25, 26))
    numbers = [2, 2.0, 0.0, -0.0, math.nan, math.inf]
    values = [(x, y) for x in (a, *numbers) for y in (b, *numbers)]
    named = arguments()
    if form == "fresh":
        named.pop("y")
    out = named.pop("y", None)
    for one, two in [*values, *reversed(values)]:
        kernel(**named, a=one, b=two, out=out)
        launched = pointers(device)
        for given, pointer in ((one, launched["a"]), (two, launched["b"])):
            if isinstance(given, Tensor):
                assert pointer == given.data_ptr()
            else:
                # The fake keeps each number anew, one behind the other.
                data, _, _ = device.numbers[(pointer - (1 << 35)) // 16 - 1]
                assert data == struct.pack("<f", given)
                assert (pointer - (1 << 35)) // 16 > len(device.numbers) - 2
        assert {name: launched[name] for name in named} == {name: ADDRESSES[name] for name in named}
    (executable,) = device.executables
    assert len(executable.bound) == 4
    with pytest.raises(DiagnosticError, match="'a' is no array but of type bool"):
        kernel(**named, a=True, b=2, out=out)


def pointers(device: FakeDevice) -> dict[str, int]:
    (executable,) = device.executables
    names = [*(t.name for t in executable.kernel.signature.tensors), "offs"]
    return dict(zip(names, executable.launched[-1][0], strict=True))
