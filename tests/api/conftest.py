"""The fake torch is there for every test of the API."""

from __future__ import annotations

import pytest

from tests.api.fakes import Tensor, fake_torch


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Tensors that the fake torch made."""
    return fake_torch(monkeypatch)
