"""What a kernel must give, against what moedsl's NumPy backend does, and what must not pass."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import moedsl
from moedsl.bench.expected import INITIAL, Given, worst_error
from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.suite import Case
from moedsl.ir.core import DType
from moedsl.meaning import NUMPY_TYPES

CASE = Case("ragged", "", 40, 96, (5, 0, 33, 1, 0), top=2)
BF16 = ml_dtypes.bfloat16


def workload(name: str) -> Workload:
    return Workload(KERNELS[name], CASE)


def draw(name: str, seed: int = 0) -> dict[str, Any]:
    """Inputs of one kernel on :data:`CASE` as the benchmark draws them, in NumPy."""
    random, work = np.random.default_rng(seed), workload(name)
    inputs: dict[str, Any] = {}
    for tensor in work.meaning.signature.inputs:
        shape = work.shape(tensor)
        if tensor.dtype is DType.I32:
            inputs[tensor.name] = CASE.draw_tokens(seed)
        elif tensor.dtype is DType.F32:
            inputs[tensor.name] = random.random(shape, np.float32)
        else:
            scale = CASE.k**-0.5 if "e" in tensor.dims else 1.0
            inputs[tensor.name] = (scale * random.standard_normal(shape)).astype(BF16)
    return inputs


def compute(name: str, inputs: dict[str, Any]) -> Any:
    """The kernel's output by moedsl, on memory that holds what the benchmark fills it with."""
    (output,) = workload(name).meaning.signature.outputs
    out = np.full(workload(name).shape(output), np.nan, NUMPY_TYPES[output.dtype])
    if name == "scatter":
        out.fill(INITIAL)
    offs = np.cumsum(CASE.rows).astype(np.int32)
    compiled = moedsl.load(workload(name).text).kernel().compile(backend="interp")
    return compiled(**inputs, offs=offs, out=out)


def worst(name: str, inputs: dict[str, Any], result: Any, *, stores: bool = False) -> float:
    given = Given(CASE, inputs, np, stores)
    return worst_error(KERNELS[name].expected(given), result, given)


@pytest.mark.parametrize("name", KERNELS)
def test_what_moedsl_computes_is_right(name: str) -> None:
    inputs = draw(name)
    error = worst(name, inputs, compute(name, inputs))
    assert error <= 1
    # Rounding to bf16 takes up most of what is allowed: no more than is needed.
    assert error > (0.01 if name == "scatter" else 0.5)


@pytest.mark.parametrize("name", KERNELS)
def test_one_wrong_term_is_seen(name: str) -> None:
    """A result of other inputs: one factor of one term is another."""
    inputs = draw(name)
    changed = {n: array.copy() for n, array in inputs.items()}
    changed["x"][0, 0] += 1
    assert worst(name, inputs, compute(name, changed)) > 1


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("position", [0, -1])
def test_one_wrong_element_is_seen(name: str, position: int) -> None:
    inputs = draw(name)
    result = compute(name, inputs)
    result.reshape(-1)[position] += 0.5
    assert worst(name, inputs, result) > 1
    result.reshape(-1)[position] = np.nan
    assert worst(name, inputs, result) == np.inf


def test_a_gradient_of_an_idle_expert_must_be_zero() -> None:
    inputs = draw("weight_gradient")
    result = compute("weight_gradient", inputs)
    assert CASE.rows[1] == 0
    result[1, 2, 3] = 2.0**-20
    assert worst("weight_gradient", inputs, result) > 1


def test_a_scatter_that_does_not_add_is_wrong() -> None:
    inputs = draw("scatter")
    result = compute("scatter", inputs)
    assert worst("scatter", inputs, result - np.float32(INITIAL)) > 1


def test_tokens_of_a_gather_matter() -> None:
    inputs = draw("gather")
    result = compute("gather", {**inputs, "src": np.roll(inputs["src"], 1)})
    assert worst("gather", inputs, result) > 1


def grouped(x: Any, w: Any) -> Any:
    """Each expert's rows times its weights, f32 sums stored in bf16."""
    parts = [x[rows].astype(np.float32) @ w[e].astype(np.float32).T for e, rows in CASE.segments()]
    return np.concatenate(parts).astype(BF16)


def stored_gate_up(inputs: dict[str, Any]) -> Any:
    gate, up = (grouped(inputs["x"], inputs[w]) for w in ("wg", "wu"))
    wide = gate.astype(np.float32)
    activated = (wide / (1 + np.exp(-wide))).astype(BF16)
    return (activated.astype(np.float32) * up.astype(np.float32)).astype(BF16)


def stored_scatter(inputs: dict[str, Any]) -> Any:
    y = np.full((CASE.tokens, CASE.n), INITIAL, np.float32)
    terms = grouped(inputs["x"], inputs["w"]).astype(np.float32) * inputs["p"][:, None]
    np.add.at(y, inputs["dst"], terms)
    return y


@pytest.mark.parametrize(
    ("name", "unfused"), [("gate_up", stored_gate_up), ("scatter", stored_scatter)]
)
def test_stored_intermediates_pass_only_where_they_are_declared(name: str, unfused: Any) -> None:
    inputs = draw(name)
    result = unfused(inputs)
    assert 0.2 < worst(name, inputs, result, stores=True) <= 1
    assert worst(name, inputs, result) > 1
