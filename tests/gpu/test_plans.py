"""Plans with real tensors: torch's private shortcuts are there, and notice every difference."""

from __future__ import annotations

from typing import Any

import pytest

from moedsl import torch_shortcuts
from moedsl.arrays import unread
from moedsl.kernel import CompiledKernel
from moedsl.source.diagnostic import DiagnosticError
from tests.api.kernels import forward, schedule
from tests.gpu.test_launch import ROWS, case, kernel

pytestmark = pytest.mark.gpu


@pytest.fixture
def torch() -> Any:
    import torch

    return torch


def reader(torch: Any, *tensors: Any) -> Any:
    made = torch_shortcuts.reader(torch, tensors)
    assert made is not unread and made(tensors) == tuple(t.data_ptr() for t in tensors)
    return made


def test_a_reader_knows_its_likes_alone(torch: Any) -> None:
    def zeros(*shape: int, **options: Any) -> Any:
        return torch.zeros(shape, device="cuda", **{"dtype": torch.bfloat16, **options})

    x, y = zeros(8, 64), zeros(4, 8)
    read = reader(torch, x, y)
    for other in (zeros(8, 64), zeros(1, 8, 64)[0], zeros(16, 64)[8:], zeros(8 * 64).view(8, 64)):
        assert read((other, y)) == (other.data_ptr(), y.data_ptr())
    imaginary = torch.zeros(8, 64, dtype=torch.complex64, device="cuda").imag
    others = [
        zeros(9, 64),
        zeros(8, 65),
        zeros(512),
        zeros(1, 8, 64),
        zeros(8, 128)[:, :64],
        zeros(64, 8).t(),
        zeros(1, 64).expand(8, 64),
        zeros(8, 64, dtype=torch.float16),
        zeros(8, 64, dtype=torch.int16),
        zeros(8, 64).cpu(),
        zeros(8, 64).to_sparse(),
        torch.nn.Parameter(zeros(8, 64)),
        imaginary,
        [0],
        3.0,
        None,
    ]
    assert all(read((other, y)) is None for other in others)
    conjugate = torch.zeros(8, 64, dtype=torch.complex64, device="cuda").conj().imag
    assert conjugate.is_neg() and reader(torch, imaginary)((conjugate,)) is None


def test_a_tensor_that_changes_is_read_anew(torch: Any) -> None:
    x = torch.zeros(8, 64, device="cuda")
    read = reader(torch, x)
    x.data = torch.zeros(8, 64, device="cuda")
    assert read((x,)) == (x.data_ptr(),)
    x.t_()
    assert read((x,)) is None
    x.t_()
    assert read((x,)) == (x.data_ptr(),)
    x.resize_(4, 64)
    assert read((x,)) is None
    parameter = torch.nn.Parameter(torch.zeros(8, 64, device="cuda"))
    read = reader(torch, parameter)
    parameter.data = parameter.data.half()
    assert read((parameter,)) is None


def test_empty_tensors_lie_where_they_should(torch: Any) -> None:
    for ordinal in range(torch.cuda.device_count()):
        device = torch.device("cuda", ordinal)
        make = torch_shortcuts.empty(torch, (3, 5), (5, 1), torch.float16, device)
        for current in range(torch.cuda.device_count()):
            with torch.cuda.device(current):
                made = make()
            assert (made.shape, made.stride()) == ((3, 5), (5, 1))
            assert (made.device, made.dtype) == (device, torch.float16)


@pytest.mark.filterwarnings("ignore::moedsl.PerformanceWarning")
def test_whatever_changes_between_calls_the_result_is_right(torch: Any) -> None:
    call = kernel()
    for step in range(30):
        named, expected = case(torch, ROWS[step % 2 * 3], seed=step)
        if step % 3 == 1:
            named["w"] = torch.nn.Parameter(named["w"])
        if step % 4 == 1:
            named["w"] = named["w"].detach().transpose(1, 2).contiguous().transpose(1, 2)
        out = torch.empty_like(expected) if step % 5 else None
        with torch.set_grad_enabled(step % 7 > 3):
            for _ in range(2):
                result = call(**named, out=out)
                assert torch.equal(result, expected)
        named["x"].data = -named["x"]
        assert torch.equal(call(**named), -expected)
        if out is not None:
            with pytest.raises(DiagnosticError, match="'y' shares memory"):
                call(**named, out=named["w"].detach().as_strided(out.shape, out.stride()))


def test_one_tensor_as_two_arguments(torch: Any) -> None:
    gathering = CompiledKernel(forward(4, gather=True, scatter=True), (), schedule=schedule())
    rows = torch.randperm(10, device="cuda").int()
    x = torch.randint(-1, 2, (10, 64), device="cuda").bfloat16()
    w = torch.randint(-1, 2, (4, 64, 64), device="cuda").bfloat16()
    offs = torch.tensor([3, 3, 8, 10], dtype=torch.int32, device="cuda")
    out = torch.zeros_like(x)
    experts = torch.searchsorted(
        offs, torch.arange(10, device="cuda", dtype=torch.int32), right=True
    )
    expected = torch.zeros_like(x)
    for row, expert in zip(rows.tolist(), experts.tolist(), strict=True):
        expected[row] = (x[row].float() @ w[expert].float().T).bfloat16()
    for _ in range(3):
        gathering(src=rows, dst=rows, x=x, w=w, offs=offs, out=out)
        assert torch.equal(out, expected)
