"""What the rules say, word for word; and that the last legal value of each is legal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moedsl.ir.schedule import ExpertOrder, Raster, TileShape
from tests.kernels import grouped_gemm
from tests.lower.test_check_schedule import BAD, F32, UP, Bad, check

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.source.diagnostic import Diagnostic

TEXTS = Path(__file__).with_name("findings.txt")

DEEP = grouped_gemm(8, 512, 32 * 64)
SORTED = grouped_gemm(1024, 512, 256)
LEGAL: tuple[tuple[MoeKernel, dict[str, Any]], ...] = (
    (UP, {"stages": 2}),
    (UP, {"stages": 8, "tile": TileShape(64, 64, 64)}),
    (UP, {"consumers": 1}),
    (UP, {"consumers": 7, "tile": TileShape(64, 56, 32)}),
    (DEEP, {"split_k": 64, "tile": TileShape(64, 64, 32)}),
    (UP, {"split_k": 4}),
    (UP, {"tile": TileShape(64, 64, 32)}),
    (UP, {"tile": TileShape(64, 64, 256), "stages": 2}),
    (F32, {"tile": TileShape(64, 64, 16)}),
    (F32, {"tile": TileShape(64, 64, 128), "stages": 2}),
    (SORTED, {"order": ExpertOrder.LONGEST}),
    (UP, {"fuse_rows": 1}),
    (UP, {"fuse_rows": 64}),
    (UP, {"tails": (48, 32, 16)}),
    (UP, {"tails": (48, 32), "balanced": True}),
    (UP, {"balanced": True}),
    (UP, {"raster": Raster(group=1)}),
    (UP, {"swap_ab": True, "tails": (8,)}),
)
"""Schedules at a limit, or right below it."""


def shown(diagnostic: Diagnostic) -> str:
    parts = (diagnostic.message, diagnostic.label, *diagnostic.notes, diagnostic.help)
    return "\n    ".join((diagnostic.code, *parts)) + "\n"


def findings() -> str:
    return "".join(shown(diagnostic) for bad in BAD for diagnostic in check(bad))


def test_every_word_of_a_finding() -> None:
    """Rewrite the file with ``python -m tests.lower.test_rule_limits``, and read what changed."""
    assert findings() == TEXTS.read_text(encoding="utf-8")


@pytest.mark.parametrize(("kernel", "changes"), LEGAL, ids=[str(c) for _, c in LEGAL])
def test_limits_are_legal(kernel: MoeKernel, changes: dict[str, Any]) -> None:
    assert check(Bad("", "", "", changes, kernel)) == []


def test_eight_consumers_lack_registers_alone() -> None:
    found = check(Bad("", "", "", {"consumers": 8, "tile": TileShape(64, 64, 32)}))
    assert [diagnostic.code for diagnostic in found] == ["MOE0415"]


def test_a_portable_cluster_of_eight_is_refused_for_its_path_alone() -> None:
    found = check(Bad("", "", "", {"cluster_columns": 8}))
    assert [diagnostic.code for diagnostic in found] == ["MOE0423"]


if __name__ == "__main__":
    TEXTS.write_text(findings(), encoding="utf-8")
