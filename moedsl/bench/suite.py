"""The public cases: shapes and exact rows per expert, and sweeps made from a seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

KERNEL = """\
kernel grouped {{
    index  e = {experts}
    index  m = ragged(e)
    index  n = {n}
    index  k = {k}
    input  x : bf16[m, k]
    input  w : bf16[e, n, k]
    output y : bf16[m, n]
    y[m, n] = sum[k] x[m, k] * w[e, n, k]
}}
"""


@dataclass(frozen=True)
class Case:
    """``y[m, n] = sum[k] x[m, k] * w[e, n, k]`` in bf16 with ``rows[e]`` rows for expert e."""

    name: str
    what: str
    n: int
    k: int
    rows: tuple[int, ...]

    @property
    def experts(self) -> int:
        """E."""
        return len(self.rows)

    @cached_property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows)

    @property
    def flops(self) -> float:
        """Useful floating-point operations: two for each product."""
        return 2.0 * self.total * self.n * self.k

    @property
    def bytes(self) -> float:
        """Least traffic: rows, weights of experts that have rows, and outputs, once each."""
        active = sum(r > 0 for r in self.rows)
        return 2.0 * (self.total * self.k + active * self.n * self.k + self.total * self.n)

    @property
    def floor_seconds(self) -> float:
        """What an H200 allows: 790 TFLOP/s and 4.3 TB/s, both measured there on random data."""
        return max(self.flops / 790e12, self.bytes / 4.3e12)

    @property
    def text(self) -> str:
        """The case as a ``.moe`` kernel without a schedule."""
        return KERNEL.format(experts=self.experts, n=self.n, k=self.k)


def public_cases() -> dict[str, Case]:
    """The nine public routings by name."""
    raw = json.loads(files("moedsl.bench").joinpath("routings.json").read_text())
    return {
        name: Case(name, case["what"], case["n"], case["k"], tuple(case["rows"]))
        for name, case in raw.items()
    }
