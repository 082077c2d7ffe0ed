"""Every contestant that needs nothing but torch computes its kernel of the benchmark right."""

from __future__ import annotations

import pytest

from moedsl.bench.contestant import Contestant
from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.measure import measure
from moedsl.bench.operands import make_operands
from moedsl.bench.rivals import CONTESTANTS
from moedsl.bench.suite import Case

pytestmark = pytest.mark.gpu

CASE = Case("ragged", "", 256, 128, (5, 0, 130, 64, 1, 0, 33, 7), top=2)
PAIRS = [
    pytest.param(kernel, contestant, id=f"{kernel}-{contestant.name}")
    for kernel, known in CONTESTANTS.items()
    for contestant in known.values()
    if contestant.module in ("moedsl", "torch")
]


@pytest.mark.parametrize(("kernel", "contestant"), PAIRS)
def test_a_contestant_is_right_or_computes_another_result(
    kernel: str, contestant: Contestant
) -> None:
    found = measure(Workload(KERNELS[kernel], CASE), [contestant], rounds=1, batch_seconds=1e-5)
    (timing,) = found.timings
    assert timing.median > 0
    assert (timing.worst_error is not None) is contestant.computes
    assert timing.worst_error is None or timing.worst_error <= 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_poison_is_no_result(kernel: str) -> None:
    operands = make_operands(Workload(KERNELS[kernel], CASE), 0)
    operands.poison()
    assert operands.worst_error(operands.out, stores=True) > 1
