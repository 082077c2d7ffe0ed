"""Corners of single passes that whole kernels seldom reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.ir.core import Compute, Value
from moedsl.ir.elementwise import Constant, Store
from moedsl.lower.drop_unused import drop_unused
from moedsl.lower.resources import staged_pitch, step_shape
from tests.cuda.kernels import access, forward


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
