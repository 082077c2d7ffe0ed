"""Outputs leave while products go on: ptxas lets these go on, and has registers for all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.ir.core import DType
from moedsl.ir.schedule import Cooperation, EpilogueStore, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import load_program
from moedsl.lower.resources import resources
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.cuda.kernels import SWAPPED, forward, gate_up, two_depths
from tests.emulator.features import with_double_in_bf16

if TYPE_CHECKING:
    from moedsl.backends.cuda.notes import Notes
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule

HOPPER = TARGETS["sm_90a"]
WIDE = replace(SWAPPED, tile=TileShape(64, 256, 64), epilogue_store=EpilogueStore.TMA)
"""Each consumer has 64 columns twice."""
FORMS = {
    "stored": (forward(n=520), replace(WIDE, tile=TileShape(128, 256, 64))),
    "f32": (forward(n=520, output=DType.F32), replace(WIDE, tile=TileShape(96, 256, 64))),
    "gate and up": (gate_up(n=520), WIDE),
    "two depths": (two_depths(n=520), WIDE),
    "two outputs": (with_double_in_bf16(forward(n=520)), WIDE),
}
GATHERED = """
kernel gather {{
    index  e = 4
    index  m = ragged(e)
    index  n = 2048
    index  k = 2048
    index  t = dynamic
    input  x   : bf16[t, k]
    input  src : i32[m]
    input  w   : bf16[e, n, k]
    {inputs}
    output y   : bf16[m, n]
    d = sum[k] x[src[m], k] * w[e, n, k]
    {body}
}}
"""


def compiled(kernel: MoeKernel, schedule: Schedule) -> Notes:
    """What the compiler said of a kernel that keeps outputs."""
    tile = build_tile(kernel, schedule, HOPPER)
    assert resources(tile, HOPPER).kept is not None
    unit = generate(tile, every_vector(kernel.signature))
    return compile_cubin(unit.source, unit.entry, "sm_90a").notes


@pytest.mark.parametrize("form", FORMS)
def test_products_go_on_while_outputs_leave(form: str) -> None:
    notes = compiled(*FORMS[form])
    assert not notes.serialized
    assert not notes.spills


BIAS, WEIGHT, UP = "input b : f32[e, n]", "input r : f32[m]", "input v : bf16[e, n, k]"


def gathered(body: str, *inputs: str) -> MoeKernel:
    text = GATHERED.format(body=body, inputs="\n    ".join(inputs))
    (kernel,) = load_program(Source("test.moe", text)).kernels
    return kernel


@pytest.mark.parametrize(
    "kernel",
    [
        gathered("y[m, n] = d"),
        gathered("y[m, n] = relu(d)"),
        gathered("y[m, n] = d + b[e, n]", BIAS),
        gathered("y[m, n] = r[m] * d", WEIGHT),
        gathered("u = sum[k] x[src[m], k] * v[e, n, k]; y[m, n] = silu(d) * u", UP),
    ],
    ids=["stored", "relu", "bias", "weight", "gate and up"],
)
def test_defaults_for_gathered_rows_do_too(kernel: MoeKernel) -> None:
    notes = compiled(kernel, choose_schedule(kernel, HOPPER, None, 1600))
    assert not notes.serialized
    assert not notes.spills


@pytest.mark.parametrize(
    "kernel",
    [
        gathered("y[m, n] = silu(d)"),
        gathered("y[m, n] = r[m] * silu(d + b[e, n])", BIAS, WEIGHT),
        gathered("u = sum[k] x[src[m], k] * v[e, n, k]; y[m, n] = silu(d) * u", UP),
        gathered(
            "u = sum[k] x[src[m], k] * v[e, n, k]; y[m, n] = r[m] * silu(d + b[e, n]) * u",
            *(UP, BIAS, WEIGHT),
        ),
    ],
    ids=["silu", "bias and weight", "gate and up", "gate and up, bias and weight"],
)
def test_consumers_that_compute_slow_functions_of_gathered_rows_have_room(
    kernel: MoeKernel,
) -> None:
    schedule = choose_schedule(kernel, HOPPER, None, 16000)
    assert schedule.cooperation is Cooperation.PINGPONG
    unit = generate(build_tile(kernel, schedule, HOPPER), every_vector(kernel.signature))
    notes = compile_cubin(unit.source, unit.entry, "sm_90a").notes
    assert not notes.serialized
    assert not notes.spills
