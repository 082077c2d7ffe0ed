"""The examples in the explanations of legality rules break those rules."""

from __future__ import annotations

import pytest

from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import check_program
from moedsl.lower.rules import GROUPS
from moedsl.source.codes import CODES
from moedsl.source.span import Source
from moedsl.target import TARGETS

KERNELS = {
    "up": """kernel up {{
        index e = {experts}; index m = ragged(e); index n = 512; index k = 256
        input x : {dtype}[m, k]; input w : {dtype}[{w}]; output y : {dtype}[m, n]
        {compute}
        y[m, n] = sum[k] x[m, k] * w[{w}]
    }}""",
    "weight_gradient": """kernel weight_gradient {{
        index e = 8; index m = ragged(e); index n = 512; index k = 256
        input dy : bf16[m, n]; input x : bf16[m, k]; output dw : f32[e, n, k]
        dw[e, n, k] = sum[m] dy[m, n] * x[m, k]
    }}""",
    "down_combine": """kernel down_combine {{
        index e = 8; index m = ragged(e); index n = 512; index k = 256; index t = dynamic
        input h : bf16[m, k]; input w : bf16[e, n, k]; input p : f32[m]; input dst : i32[m]
        output y : f32[t, n]
        d = sum[k] h[m, k] * w[e, n, k]
        y[dst[m], n] += p[m] * d
    }}""",
}
OTHER_KERNELS = {"MOE0430": "down_combine"}
TARGET_OF = {"MOE0401": "sm_80", "MOE0422": "sm_80", "MOE0424": "sm_80"}
UNWRITABLE = {"MOE0402"}
"""Refused already where it is read: a size is at least 1."""


def example(code: str) -> list[str]:
    """The lines of the explanation's example, without comments."""
    lines = CODES[code].explanation.splitlines()
    return [line[4:].partition("#")[0].rstrip() for line in lines if line.startswith("    ")]


@pytest.mark.parametrize(
    "code", [code for group in GROUPS for code, _ in group if code not in UNWRITABLE]
)
def test_an_example_breaks_its_rule(code: str) -> None:
    lines = example(code)
    experts = "2048" if "index e = 2048" in lines else "8"
    compute = next((ln for ln in lines if ln.startswith("compute")), "")
    w = "e, k, n" if "input w : f32[e, k, n]" in lines else "e, n, k"
    lines = [ln for ln in lines if not ln.startswith(("index", "input", "compute", "y["))]
    written = "\n".join(lines).replace("…", "")
    if not written.startswith("schedule"):
        written = f"schedule s for {OTHER_KERNELS.get(code, 'up')} {{\n{written}\n}}"
    name = written.split()[3]
    dtype = "f32" if compute else "bf16"
    kernel_text = KERNELS[name].format(experts=experts, compute=compute, dtype=dtype, w=w)
    program = check_program(Source("example.moe", f"{kernel_text}\n{written}\n"))
    assert program.diagnostics == ()
    (kernel,), (request,) = program.kernels, program.requests
    target = TARGETS[TARGET_OF.get(code, "sm_90a")]
    schedule = choose_schedule(kernel, target, request)
    found = check_schedule(kernel, schedule, request, target)
    assert code in {diagnostic.code for diagnostic in found}
