"""Every kernel of the benchmark compiles, and its work is what one counts by hand."""

from __future__ import annotations

import pytest

import moedsl
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.bench.kernels import KERNELS, Workload
from moedsl.bench.suite import public_cases
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.work import plan

CASES = public_cases()
ROUTED = ("product", "gate_up", "gather", "scatter")


@pytest.mark.parametrize("kernel", ROUTED)
@pytest.mark.parametrize("name", CASES)
def test_a_workload_is_a_kernel_that_covers_its_rows(name: str, kernel: str) -> None:
    case = CASES[name]
    tile = lower_kernel(Workload(KERNELS[kernel], case).meaning, Options(rows=case.total))
    assert tile.signature.name == kernel
    assert tile.signature.expert_count == case.experts == len(case.rows)
    sizes = {"e": case.experts, "n": tile.schedule.tile.columns, "k": case.k, "t": case.tokens}
    one_column = [t for item in plan(tile, case.rows, sizes) for t in item.tiles if t.split == 0]
    assert sum(t.rows for t in one_column) == case.total


def test_a_gradient_covers_every_expert() -> None:
    case = CASES["small"]
    assert 0 in case.rows
    tile = lower_kernel(Workload(KERNELS["weight_gradient"], case).meaning, Options())
    shape = tile.schedule.tile
    sizes = {"e": case.experts, "n": shape.rows, "k": shape.columns}
    tiles = [t for item in plan(tile, case.rows, sizes) for t in item.tiles if t.split == 0]
    assert len(tiles) == case.experts


@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", KERNELS)
def test_what_a_call_runs_compiles_without_spilling(name: str, target: str) -> None:
    case = CASES["small"]
    kernel = moedsl.load(Workload(KERNELS[name], case).text).kernel().compile(target=target)
    tile = kernel.tile_kernel(case.total)
    assert tile.schedule.specialised is (target == "sm_90a")
    unit = generate(tile, every_vector(tile.signature))
    notes = compile_cubin(unit.source, unit.entry, target).notes
    assert notes.spill_stores + notes.spill_loads == 0


def test_operations_are_counted_once() -> None:
    seed = CASES["seed"]
    once = 2 * 16384 * 14336 * 4096
    for name in KERNELS:
        assert Workload(KERNELS[name], seed).flops == (2 * once if name == "gate_up" else once)


def test_bytes_are_counted_once() -> None:
    case = CASES["decode64"]
    n, k, rows, tokens = 5760, 2880, 256, 64
    active = 128 - case.rows.count(0)
    assert active < 128
    weights = 2 * active * n * k
    expected = {
        "product": weights + 2 * rows * (n + k),
        "gate_up": 2 * weights + 2 * rows * (n + k),
        # An idle expert's gradient is written, too.
        "weight_gradient": 2 * 128 * n * k + 2 * rows * (n + k),
        "gather": weights + 2 * tokens * k + 4 * rows + 2 * rows * n,
        # The sum is read and written; each row has a factor and a token.
        "scatter": weights + 2 * rows * k + 8 * rows + 2 * 4 * tokens * n,
    }
    assert {name: Workload(KERNELS[name], case).bytes for name in KERNELS} == expected


def test_the_floor_is_the_slower_of_both() -> None:
    seed, decode = (Workload(KERNELS["product"], CASES[name]) for name in ("seed", "decode64"))
    assert decode.floor_seconds == decode.bytes / 4.3e12 > decode.flops / 790e12
    assert seed.floor_seconds == seed.flops / 790e12 > seed.bytes / 4.3e12


def test_shapes_are_those_of_the_declaration() -> None:
    case = CASES["decode64"]
    workload = Workload(KERNELS["scatter"], case)
    signature = workload.meaning.signature
    shapes = {tensor.name: workload.shape(tensor) for tensor in signature.tensors}
    assert shapes == {
        "x": (256, 2880),
        "w": (128, 5760, 2880),
        "p": (256,),
        "dst": (256,),
        "y": (64, 5760),
    }
