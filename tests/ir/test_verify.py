"""The verifier: what is legal passes, and each rule catches what breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from moedsl.ir.core import Access, Compute, Coordinate, DType, Index, IndexKind, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store
from moedsl.ir.module import Module, ScheduledKernel
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.ir.tile import Multiply
from moedsl.ir.verify import BrokenIRError, schedule_faults, verify_module, violations_of
from moedsl.lower.build_tile import build_tile
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.ir.examples import GATE, KERNEL, SIGNATURE, SOURCE, UP, H, X, access
from tests.kernels import combine, weight_gradient
from tests.strategies import modules

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SCHEDULE = Schedule(TileShape(64, 64, 32))
WG = access("wg", "e", "n", "k")
E, M, N, K = SIGNATURE.indices
TX, TG, TU, TH = SIGNATURE.tensors


@relaxed
@given(modules())
def test_legal_modules_pass(module: Module) -> None:
    assert violations_of(module) == []


def messages(kernel: Any, level: str = "moe") -> list[str]:
    """What is wrong with a kernel."""
    return [found.message for found in violations_of(Module(level, (kernel,), kernel.source))]


def op(number: int, *more: Any, **changes: Any) -> MoeKernel:
    """The example with one operation changed and others put behind it."""
    body = list(KERNEL.body)
    changed: Any = replace(body[number], **changes)
    body[number : number + 1] = [changed, *more]
    return replace(KERNEL, body=tuple(body))


def sig(kernel: MoeKernel = KERNEL, **changes: Any) -> MoeKernel:
    """A kernel with its signature changed."""
    return replace(kernel, signature=replace(kernel.signature, **changes))


def via(tensor: str, index: str, map_: str, *rest: str) -> Access:
    """``tensor[map[index], rest...]``."""
    return Access(tensor, (Coordinate(index, map_), *map(Coordinate, rest)))


Q = Value("q", ())
C = Value("c", ("e", "n", "k"))
DY = access("dy", "m", "n")
SRC = Tensor("src", Role.INPUT, DType.I32, ("m",))
GRADIENT = weight_gradient(4, 16, 8)
SCATTER = combine(4, 16, 8)

BROKEN: list[tuple[MoeKernel, str]] = [
    (sig(indices=(E, M, N, K, N)), "n is declared twice"),
    (sig(tensors=(TX, TG, TU, TH, replace(TH, name="k"))), "k is declared twice"),
    (sig(indices=(E, M, replace(N, extent=0), K)), "a fixed index, and no other, has an extent"),
    (sig(indices=(E, M, replace(N, extent=None), K)), "a fixed index, and no other, has an extent"),
    (sig(indices=(E, replace(M, over=None), N, K)), "a ragged index, and no other, is over"),
    (sig(indices=(E, replace(M, over="z"), N, K)), "a ragged index is over a fixed one"),
    (sig(indices=(E, M, N, K, Index("r", IndexKind.RAGGED, over="e"))), "exactly one index is"),
    (sig(indices=(E, replace(M, over="n"), N, K)), "the ragged index is not over the expert index"),
    (sig(rows="n"), "experts, rows and columns are three"),
    (sig(columns="m", rows="n"), "the ragged index is the rows or the depth"),
    (sig(columns="z"), "there is no index z"),
    (sig(tensors=(replace(TX, dims=("m", "z")), TG, TU, TH)), "there is no index z"),
    (sig(tensors=(TX, TG, TU, TH, replace(SRC, role=Role.OUTPUT))), "an i32 tensor is a map"),
    (sig(tensors=(TX, TG, TU, TH, replace(SRC, dims=("m", "k")))), "an i32 tensor is a map"),
    (sig(compute=Compute.F16), "x is bf16, products f16"),
    (op(0, replace(KERNEL.body[0])), "%gate is defined twice"),
    (op(2, operands=(Q,)), "%q is used but not defined before"),
    (op(2, operands=(Value("gate", ("m",)),)), "%gate is used but not defined before"),
    (op(2, operands=(GATE, UP)), "silu takes 1 operands"),
    (op(2, Constant(Q, 1.0), result=Value("act", ("n",))), "%act is used but not defined"),
    (op(3, function=Function.CLAMP), "clamp takes 3 operands"),
    (op(0, result=Value("gate", ("n", "m"))), "%gate is used but not defined before"),
    (op(0, Contract(Q, "k", X, WG)), "%q is not over m, n"),
    (op(0, over="n"), "n cannot be summed"),
    (op(0, over="z"), "z cannot be summed"),
    (op(0, lhs=WG), "the row operand is not over m and k"),
    (op(0, rhs=X), "a column operand is not over n and k"),
    (op(0, rhs=access("wg", "e", "n")), "wg has 3 dimensions"),
    (op(0, rhs=access("wg", "e", "z", "k")), "there is no index z"),
    (op(0, rhs=access("wg", "e", "k", "n")), "wg is subscripted with k at n"),
    (op(0, rhs=access("h", "m", "n")), "h is not an input of numbers"),
    (op(0, lhs=via("x", "m", "src", "k")), "a subscript goes through an i32 map over m"),
    (op(0, lhs=via("x", "m", "wg", "k")), "a subscript goes through an i32 map over m"),
    (op(0, Load(Q, access("x", "m", "k"))), "%q is not over the indices it is loaded with"),
    (op(0, Load(Value("q", ("m", "k")), X)), "x is loaded outside the output's domain"),
    (op(0, Constant(Value("q", ("m",)), 1.0)), "a constant has no dimensions"),
    (op(0, Apply(Value("q", ("m",)), Function.NEG, (GATE,))), "%q is not over the indices of its"),
    (op(4, Store(H, access("h", "m", "n"))), "h is stored 2 times"),
    (replace(KERNEL, body=KERNEL.body[:4]), "h is stored 0 times"),
    (op(4, accumulate=True), "h is output, but stored as accumulated"),
    (op(4, access=access("x", "m", "k")), "x is input, but stored as output"),
    (
        replace(KERNEL, body=(Constant(Q, 1.0), Store(Q, access("h", "m", "n")))),
        "a kernel contracts",
    ),
    (
        replace(GRADIENT, body=(Contract(C, "k", DY, access("x", "m", "k")), *GRADIENT.body[1:])),
        "k cannot be summed",
    ),
    (
        sig(
            SCATTER,
            tensors=(
                *SCATTER.signature.tensors[:-1],
                Tensor("y", Role.ACCUMULATED, DType.BF16, ("t", "n")),
            ),
        ),
        "y is added to atomically but not f32",
    ),
]


@pytest.mark.parametrize(("kernel", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_each_rule_catches_what_breaks_it(kernel: MoeKernel, message: str) -> None:
    found = messages(kernel)
    assert any(one.startswith(message) for one in found), found


def test_the_k_grouped_depth_is_the_ragged_index() -> None:
    indices = (*GRADIENT.signature.indices, Index("j", IndexKind.FIXED, 4))
    tensors = (
        *GRADIENT.signature.tensors,
        Tensor("a", Role.INPUT, DType.BF16, ("j", "n")),
        Tensor("b2", Role.INPUT, DType.BF16, ("j", "k")),
    )
    kernel = sig(GRADIENT, indices=indices, tensors=tensors)
    more = Contract(Value("z", ("e", "n", "k")), "j", access("a", "j", "n"), access("b2", "j", "k"))
    assert messages(replace(kernel, body=(more, *kernel.body))) == ["a k-grouped kernel sums m"]


def test_multiplications_have_a_result_for_each_column_operand() -> None:
    multiply = Multiply((GATE, UP), "k", X, (WG,))
    tile = build_tile(KERNEL, SCHEDULE, TARGETS["sm_80"])
    tile = replace(tile, body=(multiply, *tile.body[1:]))
    assert messages(tile, "tile") == ["a multiplication has one result for each column operand"]


def test_modules_hold_kernels_of_their_level_source_and_name() -> None:
    assert messages(ScheduledKernel(SIGNATURE, "sm_80", SCHEDULE, KERNEL.body, SOURCE)) == [
        "not a kernel of level moe"
    ]
    twice = Module("moe", (KERNEL, KERNEL), SOURCE)
    assert [found.message for found in violations_of(twice)] == ["kernel swiglu is there twice"]
    other = Module("moe", (KERNEL,), Source("other", ""))
    assert [found.message for found in violations_of(other)] == [
        "the kernel's source is not its module's"
    ]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tile": TileShape(64, 0, 32)}, "tile.columns is 0, less than 1"),
        ({"stages": 0}, "stages is 0, less than 1"),
        ({"tails": (16, 32)}, "tails fall from below tile.rows and are at least 1"),
        ({"tails": (64,)}, "tails fall from below tile.rows and are at least 1"),
        ({"tails": (0,)}, "tails fall from below tile.rows and are at least 1"),
        (
            {"balanced": True, "tails": (48,)},
            "tile.rows is a multiple of the lowest tail if tails are balanced",
        ),
        ({"fuse_rows": -1}, "fuse_rows is not negative"),
    ],
)
def test_schedules_are_well_formed(changes: dict[str, Any], fault: str) -> None:
    schedule = replace(SCHEDULE, **changes)
    assert list(schedule_faults(schedule)) == [fault]
    tile = build_tile(KERNEL, schedule, TARGETS["sm_80"])
    assert messages(tile, "tile") == [fault]
    chosen = ScheduledKernel(SIGNATURE, "sm_80", schedule, KERNEL.body, SOURCE)
    assert messages(chosen, "scheduled") == []


def test_a_broken_pass_is_named() -> None:
    module = Module("moe", (replace(KERNEL, body=KERNEL.body[:4]),), SOURCE)
    with pytest.raises(BrokenIRError, match="after some_pass the IR is ill-formed:\n  h is stored"):
        verify_module(module, "some_pass")
