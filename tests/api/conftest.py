"""What tests of the API share. The fake torch is there for every one."""

from __future__ import annotations

import pytest

from moedsl import backend as backend_module
from moedsl.kernel import CompiledKernel
from tests.api.calls import arguments, compute
from tests.api.fakes import FakeDevice, FakeExecutable, FakeTorch, Tensor, fake_torch
from tests.api.kernels import forward, schedule


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    """The fake torch."""
    return fake_torch(monkeypatch)


@pytest.fixture
def made(torch: FakeTorch) -> list[Tensor]:
    """Tensors that it made."""
    return torch.made


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, torch: FakeTorch) -> FakeDevice:
    """The fake GPU, the only backend there is."""
    device = FakeDevice()
    monkeypatch.setattr(backend_module, "backends", lambda: {"cuda": device})
    return device


@pytest.fixture
def kernel(device: FakeDevice) -> CompiledKernel:
    """A kernel that has served two calls with ``arguments()``, and two with fresh outputs."""
    kernel = CompiledKernel(forward(experts=3), (), schedule=schedule())
    named = arguments()
    for _ in range(2):
        compute(kernel, named)
        kernel(named["x"], named["w"], named["offs"])
    return kernel


@pytest.fixture
def executable(kernel: CompiledKernel, device: FakeDevice) -> FakeExecutable:
    """What that kernel launches."""
    (executable,) = device.executables
    assert len(executable.bound) == 2 and len(executable.launched) == 4
    return executable
