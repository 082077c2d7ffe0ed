"""The driver that keeps books, for tests of launches."""

from __future__ import annotations

import pytest

from tests.cuda_runtime.fake_driver import FakeDriver, install
from tests.cuda_runtime.launches import GENERATED


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver(GENERATED.argument_bytes)
    install(monkeypatch, fake)
    return fake
