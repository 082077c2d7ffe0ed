"""What is proposed where rows come through a map: wide tiles that two consumers share.

These are decisions, measured on an H100 and an H200: whoever changes one changes it here too, on
purpose.
"""

from __future__ import annotations

from typing import Any

import pytest

from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import Cooperation, Eviction, Schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.propose_specialised import DECODE as DECODE_SHAPE
from moedsl.lower.propose_specialised import MANY, SEVERAL, Shape
from tests.lower.test_propose_specialised import GATHER, HOPPER, PLAIN, chosen, proposals, written

ONE = "y[m, n] = sum[k] x[at[m], k] * w[e, n, k]"
SLOW = "y[m, n] = silu(sum[k] x[at[m], k] * w[e, n, k])"
QUICK = "y[m, n] = relu(sum[k] x[at[m], k] * w[e, n, k])"
TWO = (
    "a = sum[k] x[at[m], k] * w[e, n, k]; c = sum[k] x[at[m], k] * v[e, n, k]"
    "; y[m, n] = silu(a) * c"
)


def gathering(body: str, n: object, output: str = "bf16", experts: int = 8) -> MoeKernel:
    return written(body, x="t, k", n=n, y=f"{output}[m, n]", experts=experts)


def shown(schedule: Schedule) -> str:
    tile = schedule.tile
    return f"{tile.rows}x{tile.columns} {schedule.stages} {schedule.cooperation}"


DECODE, DECODE_TWO = "32x128 8 pingpong", "32x64 8 pingpong"
NARROW = (DECODE, "128x128 6 pingpong", "160x128 5 pingpong", "160x128 5 pingpong")
NARROW_F32 = (DECODE, "128x128 5 pingpong", "160x128 4 pingpong", "160x128 4 pingpong")
WIDE = (DECODE, "128x256 4 cooperative", "128x256 4 cooperative", "128x256 4 cooperative")
WIDE_F32 = (DECODE, "96x256 4 cooperative", "96x256 4 cooperative", "96x256 4 cooperative")
NARROW_TWO = (DECODE_TWO, "128x64 6 pingpong", "144x64 5 pingpong", "144x64 5 pingpong")
NARROW_TWO_F32 = (DECODE_TWO, "128x64 5 pingpong", "144x64 5 pingpong", "144x64 5 pingpong")
WIDE_TWO = (DECODE_TWO, "128x128 4 cooperative", "128x128 4 cooperative", "144x64 5 pingpong")
WIDE_TWO_F32 = (DECODE_TWO, "96x128 4 cooperative", "96x128 4 cooperative", "144x64 5 pingpong")

CHOSEN: dict[tuple[str, str, object], tuple[str, str, str, str]] = {
    **dict.fromkeys(((ONE, "bf16", n) for n in (64, 128, 516, 640)), NARROW),
    **dict.fromkeys(((ONE, "bf16", n) for n in (192, 512, 1152, "dynamic")), WIDE),
    **dict.fromkeys(((SLOW, "bf16", n) for n in (192, 512)), NARROW),
    (QUICK, "bf16", 512): WIDE,
    **dict.fromkeys(((ONE, "f32", n) for n in (64, 128, 516, 640)), NARROW_F32),
    **dict.fromkeys(((ONE, "f32", n) for n in (192, 512, 1152, "dynamic")), WIDE_F32),
    **dict.fromkeys(((TWO, "bf16", n) for n in (64, 192)), NARROW_TWO),
    **dict.fromkeys(((TWO, "bf16", n) for n in (128, 512, 640, "dynamic")), WIDE_TWO),
    (TWO, "bf16", 516): WIDE_TWO,
    **dict.fromkeys(((TWO, "f32", n) for n in (64, 192)), NARROW_TWO_F32),
    **dict.fromkeys(((TWO, "f32", n) for n in (128, 512, 516, 640, "dynamic")), WIDE_TWO_F32),
}
"""By the columns: tile, stages and cooperation for up to 8, 64, 512 and more rows an expert."""
NAMES = {ONE: "one", SLOW: "one, slow", QUICK: "one, quick", TWO: "two"}


@pytest.mark.parametrize(
    ("body", "output", "n"),
    [pytest.param(*key, id=f"{NAMES[key[0]]} {key[1]} {key[2]}") for key in CHOSEN],
)
def test_columns_in_pairs_are_shared(body: str, output: str, n: object) -> None:
    """Wide tiles halve the copies, but not where half of one would be empty, nor few rows, nor do
    they pay where functions take long, of one sum or many rows.
    """
    decode, few, several, many = CHOSEN[body, output, n]
    kernel = gathering(body, n, output)
    expected = {64: decode, 65: few, 512: few, 513: several, 4096: several, 4104: many, None: many}
    assert {
        rows: shown(choose_schedule(kernel, HOPPER, None, rows)) for rows in expected
    } == expected


def test_lower_tiles_make_room_for_more_experts() -> None:
    kernels = (gathering(TWO, "dynamic", experts=experts) for experts in (2048, 3072, 4096))
    assert [shown(choose_schedule(kernel, HOPPER, None, 100 * 4096)) for kernel in kernels] == [
        "128x128 4 cooperative",
        "112x128 4 cooperative",
        "96x128 4 cooperative",
    ]
    kernels = (gathering(TWO, "dynamic", "f32", experts) for experts in (2048, 3072))
    assert [shown(choose_schedule(kernel, HOPPER, None, 100 * 3072)) for kernel in kernels] == [
        "96x128 4 cooperative",
        "144x64 4 pingpong",
    ]


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({"consumers": 2, "cooperation": Cooperation.COOPERATIVE}, "128x256 4 cooperative"),
        ({"swap_ab": True}, "128x256 4 cooperative"),
        ({"cooperation": Cooperation.PINGPONG}, "160x128 5 pingpong"),
        ({"consumers": 1}, "128x128 5 cooperative"),
        ({"consumers": 3}, "80x128 5 pingpong"),
        ({"consumers": 4, "cooperation": Cooperation.COOPERATIVE}, "96x256 4 cooperative"),
        ({"swap_ab": False}, "128x128 5 pingpong"),
        ({"swap_ab": False, "cooperation": Cooperation.COOPERATIVE}, "128x192 5 cooperative"),
    ],
    ids=str,
)
def test_two_consumers_share_wide_tiles_unless_told_otherwise(
    given: dict[str, Any], schedule: str
) -> None:
    assert shown(chosen(given, GATHER)) == schedule


@pytest.mark.parametrize(
    ("rows", "schedule"),
    [(8, "32x128 8 cooperative"), (300, "128x128 6 cooperative"), (None, "192x128 5 cooperative")],
)
def test_consumers_share_tiles_of_128_columns_where_no_map_leads_to_rows(
    rows: int | None, schedule: str
) -> None:
    given = {"consumers": 2, "cooperation": Cooperation.COOPERATIVE}
    assert shown(chosen(given, PLAIN, rows)) == schedule


@pytest.mark.parametrize(
    ("shape", "clusters"),
    [(MANY, {(2, 1), (1, 1)}), (SEVERAL, {(2, 1), (1, 1)}), (DECODE_SHAPE, {(1, 1)})],
    ids=("many", "several", "decode"),
)
def test_a_cluster_shares_columns_where_a_map_leads_to_rows(
    shape: Shape, clusters: set[tuple[int, int]]
) -> None:
    found = {(s.cluster_rows, s.cluster_columns) for s in proposals(GATHER, shape)}
    assert found == clusters
    assert {s.row_eviction for s in proposals(GATHER, shape)} == {Eviction.NORMAL}
    assert {s.column_eviction for s in proposals(GATHER, shape)} == {Eviction.NORMAL}
    assert {s.raster.group for s in proposals(GATHER, shape)} == {16}
