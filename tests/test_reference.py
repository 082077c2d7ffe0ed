"""The three error tests accept what correct kernels may do and refuse the smallest wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moedsl.backends.interp import BACKEND
from moedsl.backends.interp.functions import evaluate
from moedsl.inputs import Arguments, make_inputs
from moedsl.intervals import Interval, apply, erfc, point
from moedsl.ir.core import Compute, DType
from moedsl.ir.elementwise import Function
from moedsl.ir.schedule import Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.front import load_program
from moedsl.reference import Mode, Verdict, check_outputs, sample_rows
from moedsl.source.span import Source
from moedsl.subscript import round_tf32, tf32_ties
from moedsl.target import DEFAULT_TARGET
from tests.kernels import combine, grouped_gemm, weight_gradient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from moedsl.ir.moe import MoeKernel


def computed(kernel: MoeKernel, rows: list[int], mode: Mode, seed: int = 0) -> Arguments:
    sizes = {index.name: 6 for index in kernel.signature.dynamic}
    arguments = make_inputs(kernel, rows, sizes, mode, seed, spare_rows=2)
    tile = build_tile(kernel, Schedule(tile=TileShape(32, 16, 16)), DEFAULT_TARGET)
    BACKEND.compile(tile).launch(arguments.call())
    return arguments


def check(arguments: Arguments, mode: Mode, sample: Sequence[int] | None = None) -> Verdict:
    return check_outputs(
        arguments.kernel, arguments.inputs, arguments.outputs, arguments.initial_outputs,
        arguments.ends, mode, sample,
    )  # fmt: skip


def without_term(arguments: Arguments, row: int, column: int, term: int) -> float:
    """``y[row, column]`` of a one-expert product without one of its terms."""
    x, w = (arguments.inputs[name].astype(np.float64) for name in "xw")
    return float(x[row] @ w[0, column] - x[row, term] * w[0, column, term])


def test_one_wrong_bit_is_named() -> None:
    arguments = computed(grouped_gemm(3, n=20, k=30), [4, 0, 9], Mode.EXACT)
    assert check(arguments, Mode.EXACT).passed
    y = arguments.outputs["y"]
    y[6, 11] += 1
    verdict = check(arguments, Mode.EXACT)
    assert (verdict.passed, verdict.wrong_elements) == (False, 1)
    assert verdict.where is not None
    assert (verdict.where.expert, verdict.where.row, verdict.where.column) == (2, 2, 11)
    assert verdict.where.got - verdict.where.low == 1
    assert verdict.message == (
        f"y[6, 11] (expert 2, row 2, column 11) is {float(y[6, 11])}, expected "
        f"{float(y[6, 11]) - 1}; 1 of 300 elements are wrong (exact test)"
    )


@pytest.mark.parametrize("mode", list(Mode))
def test_nan_never_passes(mode: Mode) -> None:
    arguments = computed(grouped_gemm(1, n=8, k=8), [5], mode)
    arguments.outputs["y"][2, 3] = np.nan
    assert not check(arguments, mode).passed


def test_exact_sees_every_dropped_term_that_is_not_zero() -> None:
    arguments = computed(grouped_gemm(1, n=4, k=4096), [4], Mode.EXACT)
    x, w = arguments.inputs["x"], arguments.inputs["w"]
    terms = np.flatnonzero(x[1].astype(float) * w[0, 2].astype(float))
    assert len(terms) > 100
    for term in terms[:20]:
        arguments.outputs["y"][1, 2] = without_term(arguments, 1, 2, int(term))
        assert not check(arguments, Mode.EXACT).passed


def test_the_statistical_test_sees_most_dropped_terms_and_the_bound_fewer() -> None:
    seen = {}
    for mode in (Mode.STATISTICAL, Mode.BOUND):
        arguments = computed(grouped_gemm(1, 4, 4096, out=DType.F32), [4], Mode.STATISTICAL)
        right, seen[mode] = arguments.outputs["y"][1, 2], 0
        for term in range(100):
            arguments.outputs["y"][1, 2] = without_term(arguments, 1, 2, term)
            seen[mode] += not check(arguments, mode).passed
        arguments.outputs["y"][1, 2] = right
        assert check(arguments, mode).passed
    assert seen[Mode.STATISTICAL] > 60 > 40 > seen[Mode.BOUND]


def sequential(x: NDArray[Any], w: NDArray[Any], truncate: bool) -> NDArray[np.float32]:
    """``x @ w.T``, one product after the other into f32, rounded or truncated each time."""
    total = np.zeros((len(x), len(w)), np.float32)
    for k in range(x.shape[1]):
        exact = total.astype(np.float64) + np.outer(x[:, k].astype(float), w[:, k].astype(float))
        total = exact.astype(np.float32)
        if truncate:
            over = np.abs(total.astype(np.float64)) > np.abs(exact)
            total = np.where(over, np.nextafter(total, np.float32(0)), total)
    return total


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("depth", [1, 7, 64, 4096])
def test_correct_but_careless_sums_pass(truncate: bool, depth: int) -> None:
    for mode in (Mode.STATISTICAL, Mode.BOUND):
        arguments = computed(grouped_gemm(1, 40, depth, out=DType.F32), [40], mode)
        x, w = arguments.inputs["x"], arguments.inputs["w"]
        arguments.outputs["y"][:40] = sequential(x[:40], w[0], truncate)
        verdict = check(arguments, mode)
        assert verdict.passed, verdict.message


def test_beyond_f16_is_infinity() -> None:
    arguments = computed(grouped_gemm(1, n=2, k=2, dtype=DType.F16), [2], Mode.EXACT)
    arguments.inputs["x"][...] = 300
    arguments.inputs["w"][...] = 200
    arguments.outputs["y"][:2] = np.inf
    assert check(arguments, Mode.BOUND).passed
    arguments.outputs["y"][0, 0] = 65504
    assert not check(arguments, Mode.BOUND).passed


def test_rows_of_no_expert_must_stay_untouched() -> None:
    arguments = computed(grouped_gemm(2, n=8, k=8), [3, 2], Mode.EXACT)
    arguments.outputs["y"][5, 4] = 0
    verdict = check(arguments, Mode.EXACT)
    assert not verdict.passed
    assert verdict.message.startswith("y[5, 4] belongs to no row, but was written")


def test_tokens_that_no_row_reaches_must_stay_untouched() -> None:
    arguments = computed(combine(2, n=8, k=8), [2, 1], Mode.EXACT)
    assert check(arguments, Mode.EXACT).passed
    free = sorted(set(range(6)) - set(arguments.inputs["dst"][:3].tolist()))[0]
    arguments.outputs["y"][free, 1] += 1
    assert "belongs to no row" in check(arguments, Mode.EXACT).message


@pytest.mark.parametrize("mode", list(Mode))
def test_colliding_sums_are_checked_as_sums(mode: Mode) -> None:
    arguments = computed(combine(3, n=8, k=16), [7, 0, 8], mode)
    assert check(arguments, mode).passed
    token = int(arguments.inputs["dst"][4])
    right = arguments.outputs["y"][token].copy()
    arguments.outputs["y"][token] = right * np.float32(1.001) + np.float32(0.01)
    verdict = check(arguments, mode)
    assert not verdict.passed
    assert verdict.where is not None
    assert verdict.where.position[0] == token


def test_infinite_sums_are_infinite_in_whatever_order() -> None:
    text = """kernel k {
        index e = 2; index m = ragged(e); index n = 3; index k = 4; index t = dynamic
        input x : bf16[m, k]; input w : bf16[e, n, k]; input dst : i32[m]; output y : f32[t, n]
        d = sum[k] x[m, k] * w[e, n, k]
        y[dst[m], n] += exp(d * d + 800)
    }"""
    (kernel,) = load_program(Source("k.moe", text)).kernels
    arguments = computed(kernel, [3, 5], Mode.BOUND)
    assert np.isinf(arguments.outputs["y"]).any()
    assert check(arguments, Mode.BOUND).passed


def test_a_sample_brings_the_rows_that_land_on_the_same_token() -> None:
    arguments = computed(combine(3, n=8, k=16), [7, 0, 8], Mode.STATISTICAL)
    verdict = check(arguments, Mode.STATISTICAL, [4])
    assert verdict.passed, verdict.message
    assert verdict.checked_elements < check(arguments, Mode.STATISTICAL).checked_elements


def test_a_sample_finds_what_is_wrong_in_it() -> None:
    kernel = grouped_gemm(2, n=8, k=8)
    arguments = computed(kernel, [40, 50], Mode.EXACT)
    sample = sample_rows(kernel, arguments.ends, 92, tile_rows=32, count=3, seed=0)
    assert {0, 31, 32, 39, 40, 71, 72, 89} <= set(sample)
    assert len(sample) <= 11
    left_out = next(row for row in range(90) if row not in sample)
    arguments.outputs["y"][left_out] += 1
    assert check(arguments, Mode.EXACT, sample).passed
    arguments.outputs["y"][32] += 1
    assert check(arguments, Mode.EXACT, sample).wrong_elements == 8


def test_samples_of_a_weight_gradient_are_output_rows() -> None:
    kernel = weight_gradient(2, n=40, k=8)
    arguments = computed(kernel, [5, 0], Mode.EXACT)
    assert sample_rows(kernel, arguments.ends, 40, tile_rows=16, count=0, seed=0) == [
        0, 15, 16, 31, 32, 39,
    ]  # fmt: skip
    arguments.outputs["dw"][1, 15, 2] += 1
    verdict = check(arguments, Mode.EXACT, [15])
    assert verdict.where is not None
    assert (verdict.where.expert, verdict.where.row, verdict.where.column) == (1, 15, 2)


def test_large_blocks_are_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moedsl.reference._CHUNK_COLUMNS", 7)
    monkeypatch.setattr("moedsl.reference._CHUNK_ROWS", 5)
    for kernel in (grouped_gemm(2, n=20, k=8), combine(2, n=20, k=8), weight_gradient(2, 9, 20)):
        arguments = computed(kernel, [8, 11], Mode.STATISTICAL)
        verdict = check(arguments, Mode.STATISTICAL)
        assert verdict.passed, verdict.message


def test_tf32_rounds_ties_away_from_zero() -> None:
    tie = 1 + 2**-11
    values = np.array([1, tie, -tie, np.nextafter(np.float32(tie), np.float32(0)), np.inf, 2e38])
    rounded = round_tf32(values.astype(np.float32))
    assert rounded[:5].tolist() == [1, 1 + 2**-10, -1 - 2**-10, 1, np.inf]
    assert np.isnan(round_tf32(np.array([np.nan], np.float32)))[0]


def test_ties_of_tf32() -> None:
    bits = [0x3F801000, 0xBF803000, 0x3F800FFF, 0x3F801001, 0x3F802000, 0x00001000]
    bits += [0x7F7FD000, 0x7F7FF000, 0x7F800000, 0x7F801000]
    distances = tf32_ties(np.array(bits, np.uint32).view(np.float32)).tolist()
    assert distances == [2**-11, 2**-11, 0, 0, 0, 2**-137, 2.0**116, 0, 0, 0]


TIE = 1 + 2.0**-11
"""Half way between the tf32 numbers 1 and 1 + 2^-10."""


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("element", "products", "passed"),
    [
        (TIE, (1, 1 + 2**-10), True),
        (TIE, (1 - 2**-12, 1 + 2**-10 + 2**-12), False),
        (-TIE, (-1, -1 - 2**-10), True),
        (TIE + 2**-22, (1 + 2**-10,), True),
        (TIE + 2**-22, (1,), False),
        (TIE - 2**-22, (1,), True),
        (TIE - 2**-22, (1 + 2**-10,), False),
    ],
)
def test_tf32_ties_may_go_either_way_and_nothing_else(
    element: float, products: tuple[float, ...], passed: bool, mode: Mode
) -> None:
    kernel = grouped_gemm(1, n=2, k=3, dtype=DType.F32)
    kernel = replace(kernel, signature=replace(kernel.signature, compute=Compute.TF32))
    for tied, other in (("x", "w"), ("w", "x")):
        arguments = computed(kernel, [2], mode)
        arguments.inputs[tied][:] = element
        arguments.inputs[other][:] = -2
        for product in products:
            arguments.outputs["y"][:2] = 3 * -2 * product
            assert check(arguments, mode).passed == passed


def of_infinity_and_ties(
    side: str, infinity: float, tie: float, place: int, mode: Mode
) -> tuple[Arguments, NDArray[Any]]:
    """Ones times ones, but for an infinity where a row or column of ``side`` begins, and a tie at
    ``place`` of the depth in all those of the other; and the results that are infinite.
    """
    kernel = grouped_gemm(1, n=2, k=3, dtype=DType.F32)
    kernel = replace(kernel, signature=replace(kernel.signature, compute=Compute.TF32))
    arguments = computed(kernel, [2], mode)
    x, w, y = arguments.inputs["x"], arguments.inputs["w"][0], arguments.outputs["y"]
    infinite, tied = (x, w) if side == "x" else (w, x)
    x[:], w[:], tied[:, place], y[:2] = 1, 1, tie, 2 + tie
    infinite[0, 0] = infinity
    return arguments, y[0] if side == "x" else y[:2, 0]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("side", ["x", "w"])
def test_ties_leave_infinity_infinite(side: str, place: int, infinity: float, mode: Mode) -> None:
    """Only the exact test says so: the others know nothing of sums that may exceed f32."""
    arguments, results = of_infinity_and_ties(side, infinity, TIE, place, mode)
    for value in (123, -infinity, np.nan, infinity):
        results[:] = value
        assert check(arguments, mode).passed == (mode is not Mode.EXACT or value == infinity)
    arguments.outputs["y"][1, 1] = 2.9
    assert check(arguments, mode).wrong_elements == 1


@pytest.mark.parametrize("side", ["x", "w"])
def test_infinity_times_a_tie_next_to_zero_is_unknown(side: str) -> None:
    arguments, results = of_infinity_and_ties(side, np.inf, 2.0**-137, 0, Mode.EXACT)
    for value in (np.nan, np.inf):
        results[:] = value
        assert check(arguments, Mode.EXACT).passed


def test_erfc_is_as_good_as_said() -> None:
    x = np.linspace(-9, 26, 20001)
    exact = np.array([math.erfc(value) for value in x])
    assert (np.abs(erfc(x) - exact) <= 1e-10 * exact).all()


FINITE = st.floats(-1e4, 1e4, width=32) | st.floats(-4, 4, width=32)


@settings(max_examples=400)
@given(st.sampled_from(Function), st.lists(st.tuples(FINITE, FINITE), min_size=3, max_size=3))
def test_intervals_hold_what_f32_code_computes(
    function: Function, pairs: list[tuple[float, float]]
) -> None:
    pairs = pairs[: function.arity]
    intervals = tuple(
        Interval(np.array([min(pair)]), np.array([max(pair)])) if len(set(pair)) > 1
        else point(np.array([pair[0]]))
        for pair in pairs
    )  # fmt: skip
    image = apply(function, intervals)
    for share in np.linspace(0, 1, 9):
        inside = tuple(
            np.array([np.clip(a + (b - a) * share, min(a, b), max(a, b))], np.float32)
            for a, b in pairs
        )
        with np.errstate(all="ignore"):
            value = float(evaluate(function, inside)[0])
        low, high = float(image.low[0]), float(image.high[0])
        assert low <= value <= high or math.isnan(low) or math.isnan(high), (inside, value)


@settings(max_examples=200)
@given(st.sampled_from(Function), st.lists(FINITE, min_size=3, max_size=3))
def test_intervals_of_points_are_narrow(function: Function, numbers: list[float]) -> None:
    operands = tuple(point(np.array([number])) for number in numbers[: function.arity])
    image = apply(function, operands)
    low, high = float(image.low[0]), float(image.high[0])
    largest = max(1.0, abs(low), *(abs(number) for number in numbers[: function.arity]))
    if math.isfinite(low) and math.isfinite(high):
        assert high - low <= largest * 2**-19
    if function in (Function.RELU, Function.MIN, Function.MAX, Function.CLAMP, Function.ABS):
        assert low == high


def test_additions_of_small_integers_are_exact() -> None:
    image = apply(Function.ADD, (point(np.array([3.0])), point(np.array([4.0]))))
    assert (image.low[0], image.high[0]) == (7.0, 7.0)


def test_a_divisor_that_may_be_zero_claims_nothing() -> None:
    divisor = Interval(np.array([-1.0]), np.array([1.0]))
    assert np.isnan(apply(Function.DIV, (point(np.array([1.0])), divisor)).low[0])


@pytest.mark.parametrize("function", [Function.SILU, Function.GELU, Function.GELU_TANH])
def test_dips_are_inside(function: Function) -> None:
    image = apply(function, (Interval(np.array([-2.0]), np.array([3.0])),))
    grid = np.linspace(-2, 3, 100001, dtype=np.float32)
    values = evaluate(function, (grid,)).astype(np.float64)
    assert image.low[0] <= values.min() <= image.low[0] + 1e-6
    assert image.high[0] >= values.max()
