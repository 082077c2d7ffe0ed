"""Corners of single passes that whole kernels seldom reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.ir.core import Compute, Value
from moedsl.ir.elementwise import Constant, Store
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.drop_unused import drop_unused
from moedsl.lower.resources import resources, staged_pitch, step_shape
from moedsl.lower.resources.model import SYSTEM_SHARED
from moedsl.target import TARGETS
from tests.cuda.kernels import access, forward
from tests.lower.test_propose_specialised import written


@pytest.mark.parametrize("columns", range(8, 257, 8))
def test_staged_rows_lie_as_near_as_banks_allow(columns: int) -> None:
    """The least pitch from ``columns`` on that is 8 mod 32, or 4 mod 16 where lanes turn."""
    upright, turned = step_shape(Compute.BF16, False), step_shape(Compute.BF16, True)
    wide = next(p for p in range(columns, columns + 33) if p % 32 == 8)
    narrow = next(p for p in range(columns, columns + 17) if p % 16 == 4)
    assert (staged_pitch(columns, upright), staged_pitch(columns, turned)) == (wide, narrow)


def test_the_contraction_that_stays_is_one_even_behind_other_operations() -> None:
    base = forward(n=64)
    contraction, _ = base.body
    number = Value("one", ())
    body = (Constant(number, 1.0), contraction, Store(number, access("y", "m", "n")))
    assert drop_unused(replace(base, body=body)).body == body


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_a_second_sum_shares_the_rows_of_the_first(dtype: str) -> None:
    """It takes sums, an address and fragments of columns."""
    target, schedule = TARGETS["sm_80"], Schedule(TileShape(64, 64, 32))
    one, two = (
        resources(build_tile(written(body, dtype=dtype), schedule, target), target)
        for body in (
            "y[m, n] = sum[k] x[m, k] * w[e, n, k]",
            "a = sum[k] x[m, k] * w[e, n, k]; c = sum[k] x[m, k] * v[e, n, k]; y[m, n] = a * c",
        )
    )
    columns = 64 // one.layout(64).columns
    assert two.registers == one.registers + one.sums + 8 + columns // 2


@pytest.mark.parametrize("registers", [(0, 0), (32, 224)], ids=["portable", "specialised"])
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_ctas_share_an_sm_only_if_all_have_what_the_system_keeps_of_each(
    stages: int, registers: tuple[int, int]
) -> None:
    target, (producer, consumer) = TARGETS["sm_90a"], registers
    schedule = Schedule(
        TileShape(8, 128, 64),
        swap_ab=True,
        stages=stages,
        producer_registers=producer,
        consumer_registers=consumer,
    )
    for rows in range(8, 257, 8):
        tiled = build_tile(forward(), replace(schedule, tile=TileShape(rows, 128, 64)), target)
        found = resources(tiled, target)
        taken = found.blocks * (found.shared.bytes + SYSTEM_SHARED)
        assert found.blocks == 1 or taken <= target.shared_per_sm
