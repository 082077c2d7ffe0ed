"""The moe-level passes: meaning kept to the bit, and what each is there for done."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.ir.core import Value
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store
from moedsl.ir.module import Module
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.ir.tile import Multiply
from moedsl.ir.verify import verify_module
from moedsl.lower.build_tile import build_tile
from moedsl.lower.drop_unused import drop_unused
from moedsl.lower.fold_constants import fold_constants, round_f32
from moedsl.lower.share_values import share_values
from moedsl.source.span import Span
from moedsl.target import DEFAULT_TARGET
from tests.ir.examples import GATE, KERNEL, UP, X, access
from tests.strategies import moe_kernels, schedules

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.ir.moe import MoeOp

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
f32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
EXACT = (Function.ADD, Function.SUB, Function.MUL, Function.DIV, Function.NEG, Function.ABS)
CHOICES = (Function.MIN, Function.MAX, Function.RELU, Function.CLAMP)


def with_body(*ops: MoeOp) -> MoeKernel:
    """The example kernel with other operations."""
    return replace(KERNEL, body=ops)


def meaning(kernel: MoeKernel) -> dict[str, object]:
    """Every store as an expression tree; equal trees mean equal bits."""
    trees: dict[str, object] = {}
    stores: dict[str, object] = {}
    for op in kernel.body:
        match op:
            case Contract():
                trees[op.result.name] = ("contract", op.over, op.lhs, op.rhs)
            case Load():
                trees[op.result.name] = ("load", op.access)
            case Constant():
                trees[op.result.name] = ("constant", repr(op.number))
            case Apply():
                trees[op.result.name] = (op.function, *(trees[v.name] for v in op.operands))
            case Store():
                stores[op.access.tensor] = (trees[op.operand.name], op.access, op.accumulate)
    return stores


@relaxed
@given(moe_kernels(), st.sampled_from((share_values, drop_unused)))
def test_sharing_and_dropping_keep_every_stored_expression(
    kernel: MoeKernel, apply: Callable[[MoeKernel], MoeKernel]
) -> None:
    after = apply(kernel)
    verify_module(Module("moe", (after,), after.source), apply.__name__)
    assert meaning(after) == meaning(kernel)
    assert apply(after) == after
    assert after.signature == kernel.signature
    assert set(after.body) - set(kernel.body) <= {op for op in after.body if operands_of(op)}


def operands_of(op: MoeOp) -> bool:
    """Whether a pass may have renamed an operand of ``op``."""
    return isinstance(op, Apply | Store)


@relaxed
@given(moe_kernels())
def test_share_values_leaves_no_two_equal(kernel: MoeKernel) -> None:
    shared = share_values(kernel)
    trees = [_computes(op) for op in shared.body if not isinstance(op, Store)]
    assert len(trees) == len(set(trees))


def _computes(op: Contract | Load | Constant | Apply) -> tuple[object, ...]:
    match op:
        case Contract():
            return op.result.dims, op.over, op.lhs, op.rhs
        case Load():
            return op.result.dims, op.access
        case Apply():
            return op.result.dims, op.function, op.operands
        case Constant():
            return (repr(op.number),)


def test_share_values_merges_contractions_and_what_uses_them() -> None:
    again = Contract(UP, "k", X, access("wg", "e", "n", "k"))
    one, other = Value("one", ("m", "n")), Value("other", ("m", "n"))
    both = Value("both", ("m", "n"))
    kernel = with_body(
        KERNEL.body[0],
        again,
        Apply(one, Function.SILU, (GATE,)),
        Apply(other, Function.SILU, (UP,)),
        Apply(both, Function.MUL, (one, other)),
        Store(both, access("h", "m", "n")),
    )
    assert share_values(kernel).body == (
        KERNEL.body[0],
        Apply(one, Function.SILU, (GATE,)),
        Apply(both, Function.MUL, (one, one)),
        Store(both, access("h", "m", "n")),
    )


def test_share_values_tells_zeros_apart() -> None:
    zero, minus = Constant(Value("a", ()), 0.0), Constant(Value("b", ()), -0.0)
    assert share_values(with_body(zero, minus)).body == (zero, minus)


def test_drop_unused_keeps_one_contraction() -> None:
    one = Constant(Value("one", ()), 1.0)
    store = Store(one.result, access("h", "m", "n"))
    assert drop_unused(with_body(*KERNEL.body[:3], one, store)).body == (
        KERNEL.body[0],
        one,
        store,
    )
    assert drop_unused(with_body(*KERNEL.body[:2], Store(UP, access("h", "m", "n")))).body == (
        KERNEL.body[1],
        Store(UP, access("h", "m", "n")),
    )


def folded(function: Function, *numbers: float) -> float | None:
    """What ``function`` of constants becomes; None if it stays."""
    constants = [Constant(Value(f"c{i}", ()), number) for i, number in enumerate(numbers)]
    apply = Apply(Value("r", ()), function, tuple(c.result for c in constants))
    last = fold_constants(with_body(*constants, apply)).body[-1]
    return last.number if isinstance(last, Constant) else None


@given(st.sampled_from((*EXACT, *CHOICES)), st.data())
def test_folding_rounds_as_f32_does(function: Function, data: st.DataObject) -> None:
    numbers = [data.draw(f32) for _ in range(function.arity)]
    found = folded(function, *numbers)
    with np.errstate(all="ignore"):
        expected = _numpy(function, [np.float32(number) for number in numbers])
    if found is None:
        assert function in CHOICES or not np.isfinite(expected)
    else:
        assert np.float32(found).tobytes() == expected.tobytes()
        assert float(np.float32(found)) == found


def _numpy(function: Function, a: list[np.float32]) -> np.float32:
    match function:
        case Function.ADD:
            return np.float32(a[0] + a[1])
        case Function.SUB:
            return np.float32(a[0] - a[1])
        case Function.MUL:
            return np.float32(a[0] * a[1])
        case Function.DIV:
            return np.float32(a[0] / a[1])
        case Function.NEG:
            return np.float32(-a[0])
        case Function.ABS:
            return np.float32(abs(a[0]))
        case Function.MIN:
            return np.float32(np.minimum(a[0], a[1]))
        case Function.MAX:
            return np.float32(np.maximum(a[0], a[1]))
        case Function.RELU:
            return np.float32(np.maximum(a[0], np.float32(0)))
        case _:
            return np.float32(np.minimum(np.maximum(a[0], a[1]), a[2]))


@given(st.floats(allow_nan=False))
def test_round_f32_is_numpy_s(number: float) -> None:
    with np.errstate(over="ignore"):
        assert round_f32(number) == float(np.float32(number))


def test_a_literal_is_rounded_before_it_is_used() -> None:
    assert folded(Function.ADD, 0.1, 0.0) == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (Function.EXP, [1.0]),
        (Function.GELU, [1.0]),
        (Function.DIV, [1.0, 0.0]),
        (Function.MUL, [1e38, 10.0]),
        (Function.MIN, [0.0, -0.0]),
        (Function.CLAMP, [1.0, 3.0, 2.0]),
        (Function.ADD, [math.inf, 1.0]),
    ],
)
def test_what_backends_may_compute_differently_is_not_folded(
    function: Function, numbers: list[float]
) -> None:
    assert folded(function, *numbers) is None


def test_folding_goes_on_from_folded_values() -> None:
    two = Constant(Value("two", ()), 2.0)
    four, minus = Value("four", ()), Value("minus", ())
    kernel = with_body(
        two,
        Apply(four, Function.MUL, (two.result, two.result)),
        Apply(minus, Function.NEG, (four,)),
        Apply(UP, Function.ADD, (GATE, minus)),
    )
    assert fold_constants(kernel).body == (
        two,
        Constant(four, 4.0),
        Constant(minus, -4.0),
        kernel.body[3],
    )


@relaxed
@given(moe_kernels(), schedules())
def test_build_tile_keeps_every_contraction_and_the_rest(
    kernel: MoeKernel, schedule: Schedule
) -> None:
    tile = build_tile(kernel, schedule, DEFAULT_TARGET)
    multiplies = [op for op in tile.body if isinstance(op, Multiply)]
    contracts = {
        (result, op.over, op.rows, columns)
        for op in multiplies
        for result, columns in zip(op.results, op.columns, strict=True)
    }
    expected = [op for op in kernel.body if isinstance(op, Contract)]
    assert contracts == {(op.result, op.over, op.lhs, op.rhs) for op in expected}
    assert len({(op.over, op.rows) for op in multiplies}) == len(multiplies)
    rest = [op for op in tile.body if not isinstance(op, Multiply)]
    assert rest == [op for op in kernel.body if not isinstance(op, Contract)]
    assert (tile.signature, tile.schedule) == (kernel.signature, schedule)


def test_build_tile_shares_the_row_operand_and_covers_the_spans_it_joins() -> None:
    schedule = Schedule(TileShape(64, 64, 32))
    first = build_tile(KERNEL, schedule, DEFAULT_TARGET).body[0]
    weights = (access("wg", "e", "n", "k"), access("wu", "e", "n", "k"))
    assert first == Multiply((GATE, UP), "k", X, weights, Span(9, 22))
