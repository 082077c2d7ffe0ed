"""The public cases: shapes and exact rows per expert, and sweeps made from a seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from moedsl.rows import parse_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def sweep_skew() -> dict[str, Case]:
    """16384 rows over 64 experts, from one share for each to all for one."""
    words = ("even:16384", "uniform:16384", *(f"zipf:16384:{s}" for s in _ZIPF), "onehot:16384")
    return {w: _drawn(w, "equal rows, more and more skewed", 64, 2048, 4096, w) for w in words}


def sweep_experts() -> dict[str, Case]:
    """2^20 rows over 8 to 1024 experts."""
    rows = f"uniform:{1 << 20}"
    return {
        f"E={e}": _drawn(f"E={e}", "equal rows, more and more experts", e, 1024, 1024, rows)
        for e in (8, 32, 128, 512, 1024)
    }


def sweep_rows() -> dict[str, Case]:
    """1 to 4096 rows for each of 64 experts."""
    return {
        f"m={m}": _drawn(f"m={m}", "rows for each expert", 64, 2048, 4096, f"even:{64 * m}")
        for m in (1, 4, 16, 64, 256, 1024, 4096)
    }


def sweeps() -> Mapping[str, dict[str, Case]]:
    """Cases that differ in one respect, by the name of the sweep."""
    return {"skew": sweep_skew(), "experts": sweep_experts(), "rows": sweep_rows()}


_ZIPF = (0.6, 0.9, 1.2, 1.5)


def _drawn(name: str, what: str, experts: int, n: int, k: int, rows: str) -> Case:
    return Case(name, what, n, k, tuple(parse_rows(rows, experts)))
