"""The fake torch is there for every test of the API."""

from __future__ import annotations

import pytest

from tests.api.fakes import FakeTorch, Tensor, fake_torch


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    """The fake torch."""
    return fake_torch(monkeypatch)


@pytest.fixture
def made(torch: FakeTorch) -> list[Tensor]:
    """Tensors that it made."""
    return torch.made
