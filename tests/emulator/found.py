"""Kernels and schedules under which a campaign found a bug of the compiler, once each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.ir.schedule import TileShape
from moedsl.lower.front import load_program
from moedsl.source.span import Source
from tests.cuda.kernels import SHARED

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule


def _read(text: str) -> MoeKernel:
    (kernel,) = load_program(Source("found.moe", text)).kernels
    return kernel


FOUND: dict[str, tuple[MoeKernel, Schedule]] = {
    # Seed 93: the copy engine brought columns of the second depth to where threads had copied rows
    # of the first one, and no fence stood between them.
    "tf32 gathered by two maps": (
        _read("""
            kernel two_maps {
                index  e = 4
                index  m = ragged(e)
                index  t = dynamic
                index  n = 72
                index  k = 136
                input  x0 : f32[t, k]
                input  x1 : f32[t, k]
                input  src0 : i32[m]
                input  src1 : i32[m]
                input  w0 : f32[e, n, k]
                input  w1 : f32[e, n, k]
                input  w2 : f32[e, n, k]
                output y : f32[m, n]
                compute tf32
                a = sum[k] x0[src0[m], k] * w0[e, n, k]
                b = sum[k] x0[src0[m], k] * w1[e, n, k]
                c = sum[k] x1[src1[m], k] * w2[e, n, k]
                y[m, n] = a * b + c
            }
            """),
        replace(SHARED, tile=TileShape(128, 64, 32), consumer_registers=200),
    ),
}
