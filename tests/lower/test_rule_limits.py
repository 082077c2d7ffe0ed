"""What the rules say, word for word; and that the last legal value of each is legal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moedsl.ir.schedule import Cooperation, EpilogueStore, Eviction, ExpertOrder, Raster, TileShape
from tests.kernels import grouped_gemm
from tests.lower.bad_schedules import (
    F32,
    GATHERED,
    GRADIENT,
    INNER_COLUMNS,
    OPEN,
    SPANS,
    SPECIALISED,
    TEXT,
    TF32,
    TF32_COLUMNS_INSIDE,
    TF32_GATHERED,
    UP,
    Bad,
)
from tests.lower.test_check_schedule import BAD, check

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel
    from moedsl.source.diagnostic import Diagnostic

TEXTS = Path(__file__).with_name("findings.txt")

DEEP = grouped_gemm(8, 512, 32 * 64)
MANY = grouped_gemm(4096, 512, 256)
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
    (UP, {"order": ExpertOrder.INTERLEAVED}),
    (MANY, {"order": ExpertOrder.INTERLEAVED}),
)
"""Schedules at a limit, or right below it."""


def shown(diagnostic: Diagnostic) -> str:
    beside = [
        f"{label.text}: {TEXT[label.span.start : label.span.end]}"
        for label in diagnostic.labels
        if label.span in SPANS.values()
    ]
    parts = (diagnostic.message, diagnostic.label, *beside, *diagnostic.notes, diagnostic.help)
    return "\n    ".join((diagnostic.code, *parts)) + "\n"


def findings() -> str:
    return "".join(shown(diagnostic) for bad in BAD for diagnostic in check(bad))


def test_every_word_of_a_finding() -> None:
    """Rewrite the file with ``python -m tests.lower.test_rule_limits``, and read what changed."""
    assert findings() == TEXTS.read_text(encoding="utf-8")


PINGPONG = {"cooperation": Cooperation.PINGPONG}
SPECIALISED_LEGAL: tuple[tuple[MoeKernel, dict[str, Any]], ...] = (
    (UP, {}),
    (GATHERED, {"consumer_registers": 216}),
    (INNER_COLUMNS, {}),
    (GRADIENT, {}),
    (UP, PINGPONG),
    (UP, {"tile": TileShape(64, 64, 128)}),
    (UP, {"tile": TileShape(64, 64, 256), "stages": 2}),
    (UP, {"tile": TileShape(64, 80, 64)}),
    (TF32, {"tile": TileShape(64, 64, 32)}),
    (TF32, {"tile": TileShape(64, 64, 128), "stages": 2}),
    (TF32_COLUMNS_INSIDE, {"tile": TileShape(64, 128, 32), "swap_ab": True}),
    (
        TF32_COLUMNS_INSIDE,
        PINGPONG | {"tile": TileShape(184, 128, 32), "swap_ab": True, "stages": 2},
    ),
    (
        TF32_GATHERED,
        {"tile": TileShape(128, 192, 32), "stages": 2}
        | {"producer_registers": 56, "consumer_registers": 200},
    ),
    (INNER_COLUMNS, {"tile": TileShape(64, 128, 64)}),
    (INNER_COLUMNS, {"tile": TileShape(128, 72, 64)}),
    (UP, {"tile": TileShape(128, 256, 64)}),
    (UP, {"tile": TileShape(8, 128, 64), "swap_ab": True}),
    (UP, {"tile": TileShape(16, 64, 64), "swap_ab": True}),
    (UP, {"tile": TileShape(256, 64, 64), "swap_ab": True}),
    (UP, {"tile": TileShape(512, 64, 64), "swap_ab": True, "cluster_columns": 2, "stages": 2}),
    (UP, {"tails": (48, 32, 16), "swap_ab": True, "cluster_columns": 2}),
    (UP, {"swap_ab": True, "cluster_columns": 8}),
    (UP, {"epilogue_store": EpilogueStore.TMA, "swap_ab": True}),
    (UP, {"epilogue_store": EpilogueStore.TMA, "tile": TileShape(128, 56, 64)}),
    (GRADIENT, {"epilogue_store": EpilogueStore.TMA, "swap_ab": True}),
    (OPEN, {"epilogue_store": EpilogueStore.TMA}),
    (UP, {"row_eviction": Eviction.LAST, "column_eviction": Eviction.FIRST}),
    (UP, {"row_eviction": Eviction.FIRST, "column_eviction": Eviction.ONCE}),
    (
        GATHERED,
        {"column_eviction": Eviction.LAST, "producer_registers": 56, "consumer_registers": 200},
    ),
    (UP, {"producer_registers": 24, "consumer_registers": 240}),
    (UP, {"consumer_registers": 168}),
    (UP, {"producer_registers": 168, "consumer_registers": 168}),
    (UP, {"consumers": 3, "consumer_registers": 152, "tile": TileShape(192, 128, 64)}),
    (
        UP,
        PINGPONG
        | {"consumers": 3, "tile": TileShape(200, 64, 64), "swap_ab": True}
        | {"producer_registers": 32, "consumer_registers": 160},
    ),
    (
        UP,
        {
            "consumers": 7,
            "tile": TileShape(64, 56, 64),
            "producer_registers": 64,
            "consumer_registers": 64,
        },
    ),
    (
        UP,
        PINGPONG
        | {"tile": TileShape(128, 192, 64), "producer_registers": 56}
        | {"consumer_registers": 224},
    ),
)
"""The same with specialised warps."""


@pytest.mark.parametrize(
    ("kernel", "changes"), SPECIALISED_LEGAL, ids=[str(c) for _, c in SPECIALISED_LEGAL]
)
def test_limits_of_specialised_warps_are_legal(kernel: MoeKernel, changes: dict[str, Any]) -> None:
    assert check(Bad("", "", "", SPECIALISED | changes, kernel)) == []


@pytest.mark.parametrize("consumers", range(1, 8))
@pytest.mark.parametrize("cooperation", Cooperation)
def test_who_follows_the_advice_about_registers_has_enough(
    consumers: int, cooperation: Cooperation
) -> None:
    """At the second attempt at the latest, unless the advice is about something else."""
    shape = {"consumers": consumers, "cooperation": cooperation, "tile": TileShape(64, 56, 64)}
    for consumer in range(24, 248, 8):
        for producer in range(24, consumer + 8, 24):
            given = {"producer_registers": producer, "consumer_registers": consumer}
            for _ in range(3):
                found = [d for d in check(Bad("", "", "", shape | given)) if d.code == "MOE0428"]
                if not found or "consumers" in found[0].help:
                    break
                role, _, count = found[0].help.split()[1].partition("=")
                given[f"{role}_registers"] = int(count)
            else:
                raise AssertionError((producer, consumer, given))


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
