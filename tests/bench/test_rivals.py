"""Contestants: who there is, and who can run."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.operands import make_operands
from moedsl.bench.rivals import CONTESTANTS
from moedsl.bench.rivals.deepgemm import pad
from moedsl.bench.suite import Case, public_cases
from moedsl.source.diagnostic import UnavailableError

SMALL = Workload(KERNELS["product"], public_cases()["small"])


def test_every_kernel_has_moedsl_first_and_torch() -> None:
    assert CONTESTANTS.keys() == KERNELS.keys()
    for known in CONTESTANTS.values():
        assert next(iter(known)) == "moedsl"
        assert known["moedsl"].computes
        assert "torch" in known


def test_only_what_moedsl_computes_is_called_so() -> None:
    own = {(k, name) for k, known in CONTESTANTS.items() for name in known if known[name].is_moedsl}
    bounds = {("gather", "pregathered"), ("scatter", "plain")}
    assert own == {(kernel, "moedsl") for kernel in KERNELS} | bounds


def test_contestants_whose_library_is_missing_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "torch" or None)
    known = CONTESTANTS["product"]
    assert known["naive"].available()
    missing = {name: c.install for name, c in known.items() if not c.available()}
    assert missing.pop("cublas_grouped") == "'moedsl[bench]'"
    assert missing.pop("quack") == missing.pop("quack_untuned") == "quack-kernels"
    assert missing.pop("deepgemm").endswith("/DeepGEMM")


def test_without_torch_there_are_no_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match="torch"):
        make_operands(SMALL, 0)


def test_rows_are_padded_to_whole_units() -> None:
    places, experts = pad(Case("", "", 8, 8, (3, 0, 4, 5)), 4)
    assert places.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert experts.tolist() == [0, 0, 0, -1, 2, 2, 2, 2, 3, 3, 3, 3, 3, -1, -1, -1]
    assert experts.dtype == np.int32
