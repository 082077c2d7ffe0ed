"""The public cases: shapes and exact rows per expert, and sweeps made from a seed.

How many experts a token goes to decides how many tokens there are, which only gathering and
scattering kernels see. It is assumed to be 8 where a case's origin does not say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from moedsl.rows import offs_from_rows, parse_rows
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Case:
    """A routing and the sizes of a layer: ``rows[e]`` rows of depth k for expert e, n columns.

    A token goes to ``top`` experts. How many tokens there are follows from it, unless that were
    fewer than one expert has rows: see :attr:`tokens`.
    """

    name: str
    what: str
    n: int
    k: int
    rows: tuple[int, ...]
    top: int = 8

    @property
    def experts(self) -> int:
        """E."""
        return len(self.rows)

    @property
    def active(self) -> int:
        """Experts that have rows."""
        return sum(count > 0 for count in self.rows)

    @cached_property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows)

    @property
    def tokens(self) -> int:
        """T: the fewest tokens of which none goes to an expert twice, or to more than ``top``."""
        return max(ceil_div(self.total, self.top), *self.rows)

    def segments(self) -> Iterator[tuple[int, slice]]:
        """Every expert with its rows, also an empty slice."""
        for expert, (count, end) in enumerate(
            zip(self.rows, offs_from_rows(self.rows), strict=True)
        ):
            yield expert, slice(end - count, end)

    def draw_tokens(self, seed: int) -> NDArray[np.int32]:
        """The token of each row, i32[rows]: each occurs, none twice with one expert.

        Those of one expert rise, as a stable sort of a router's choices leaves them.
        """
        shuffled = np.random.default_rng(seed).permutation(self.tokens).astype(np.int32)
        drawn = np.resize(shuffled, self.total)
        for _, part in self.segments():
            drawn[part].sort()
        return drawn


def public_cases() -> dict[str, Case]:
    """The nine public routings by name."""
    raw = json.loads(files("moedsl.bench").joinpath("routings.json").read_text())
    return {
        name: Case(name, case["what"], case["n"], case["k"], tuple(case["rows"]), case["top"])
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
