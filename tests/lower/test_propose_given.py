"""What is chosen for warps, registers and shapes that a schedule gives."""

from __future__ import annotations

from typing import Any

import pytest

from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import Cooperation, EpilogueStore, ScheduleRequest, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.propose_specialised import registers_for
from moedsl.lower.resources import resources
from moedsl.target import TARGETS
from tests.lower.test_propose_specialised import (
    F32,
    GATHER,
    HOPPER,
    OFF,
    PLAIN,
    ROLES,
    TWO_SUMS,
    chosen,
    codes,
    written,
)

WARPS: tuple[dict[str, Any], ...] = (
    {"consumers": 1},
    {"consumers": 3},
    {"consumers": 4},
    {"consumers": 3, "cooperation": Cooperation.COOPERATIVE},
    {"swap_ab": False},
    {"swap_ab": False, "consumers": 3},
    {"swap_ab": False, "cooperation": Cooperation.COOPERATIVE},
)


@pytest.mark.parametrize("rows", [None, 8, 300])
@pytest.mark.parametrize("kernel", [PLAIN, GATHER], ids=["plain", "gather"])
@pytest.mark.parametrize("given", WARPS, ids=str)
def test_the_rest_follows_the_warps_that_are_given(
    given: dict[str, Any], kernel: MoeKernel, rows: int | None
) -> None:
    request = ScheduleRequest("s", "gemm", given=given)
    schedule = choose_schedule(kernel, HOPPER, request, rows)
    assert schedule.specialised
    assert {name: getattr(schedule, name) for name in given} == given
    assert check_schedule(kernel, schedule, request, HOPPER) == []


@pytest.mark.parametrize(
    ("consumers", "copying", "registers"),
    [
        (1, False, (32, 224)),
        (1, True, (128, 240)),
        (2, False, (40, 232)),
        (2, True, (56, 200)),
        (3, False, (32, 160)),
        (3, True, (56, 120)),
        (7, False, (64, 64)),
    ],
)
def test_registers_use_the_pool_up(
    consumers: int, copying: bool, registers: tuple[int, int]
) -> None:
    assert registers_for(consumers, copying=copying) == registers


def test_fewer_registers_take_a_lower_tile() -> None:
    assert (chosen({"consumers": 3}).tile, chosen({"consumers": 3}).tails[0]) == (
        TileShape(112, 128, 64),
        96,
    )
    assert chosen({"consumers": 3}, TWO_SUMS).tile == TileShape(96, 64, 64)
    assert chosen({"producer_registers": 40, "consumer_registers": 104}).tile.rows == 64


def test_one_consumer_takes_half_an_sm() -> None:
    schedule = chosen({"consumers": 1})
    assert resources(build_tile(PLAIN, schedule, HOPPER), HOPPER).blocks == 2
    assert (schedule.tile.rows, schedule.cooperation) == (128, Cooperation.COOPERATIVE)


@pytest.mark.parametrize("registers", [{}, ROLES], ids=["no registers", "registers"])
@pytest.mark.parametrize(
    ("given", "tile", "tails"),
    [
        ({}, (128, 128), (64,)),
        ({"cooperation": Cooperation.COOPERATIVE}, (128, 256), ()),
        ({"tile.rows": 64}, (64, 128), ()),
        ({"tile.rows": 64, "tile.columns": 256}, (64, 256), ()),
    ],
    ids=str,
)
def test_without_swap_ab_heights_are_whole_products(
    given: dict[str, Any], tile: tuple[int, int], tails: tuple[int, ...], registers: dict[str, int]
) -> None:
    given = {"swap_ab": False} | given | registers
    schedule = chosen(given)
    assert schedule.specialised
    assert ((schedule.tile.rows, schedule.tile.columns), schedule.tails) == (tile, tails)
    assert schedule.epilogue_store is EpilogueStore.TMA
    assert codes(given) == []


def test_what_is_given_with_swap_ab_off_is_still_refused() -> None:
    off = {"swap_ab": False} | ROLES
    assert codes(off | {"epilogue_store": EpilogueStore.TMA, "tile.columns": 100}) == ["MOE0411"]
    assert "MOE0411" in codes(off | {"tails": (48,)})


def test_without_swap_ab_no_stage_makes_room_for_what_the_copy_engine_stores() -> None:
    kernel = written(y="f32[m, n]")
    for cooperation, store in (
        (Cooperation.PINGPONG, EpilogueStore.TMA),
        (Cooperation.COOPERATIVE, EpilogueStore.STAGED),
    ):
        given = {"swap_ab": False, "cooperation": cooperation}
        schedule = chosen(given, kernel)
        assert schedule.epilogue_store is store
        staged = chosen(given | {"epilogue_store": EpilogueStore.STAGED}, kernel)
        assert schedule.stages == staged.stages


@pytest.mark.parametrize("consumers", range(1, 7))
@pytest.mark.parametrize("rows", [None, 8, 300])
@pytest.mark.parametrize("sm", ["sm_80", "sm_90a", "sm_120"])
@pytest.mark.parametrize("kernel", [PLAIN, TWO_SUMS, F32], ids=["plain", "two sums", "f32"])
def test_portable_tiles_suit_the_consumers_that_are_given(
    kernel: MoeKernel, sm: str, rows: int | None, consumers: int
) -> None:
    request = ScheduleRequest("s", "gemm", given=OFF | {"consumers": consumers})
    schedule = choose_schedule(kernel, TARGETS[sm], request, rows)
    assert not schedule.specialised
    assert check_schedule(kernel, schedule, request, TARGETS[sm]) == []


def test_given_columns_are_kept_where_no_warps_can_share_them() -> None:
    given = OFF | {"consumers": 3, "tile.columns": 128}
    assert chosen(given).tile.columns == 128
    assert codes(given) == ["MOE0413"]


def test_columns_suit_tails_that_are_given() -> None:
    given = OFF | {"consumers": 3, "tails": (16,)}
    assert codes(given) == []
    assert chosen(given).tile.columns == 96


def test_registers_for_a_kernel_that_has_no_proposal_are_refused() -> None:
    assert codes(ROLES, F32) == ["MOE0429"]


def test_registers_are_kept_for_arrays_that_may_have_padded_strides() -> None:
    odd = written(k=260)
    assert not chosen({}, odd).specialised
    assert chosen(ROLES, odd).specialised
    assert codes(ROLES, odd) == []


def test_a_pair_that_nobody_asked_for_is_not_held_against_tails() -> None:
    rows = 256 * PLAIN.signature.expert_count
    given = ROLES | {"tails": (32,), "stages": 8}
    assert codes(given, PLAIN, rows) == codes(given, PLAIN) == ["MOE0414"]
    assert chosen(ROLES | {"tails": (32,), "stages": 2}, PLAIN, rows).cluster_rows == 1
    even = ROLES | {"tails": (32,), "balanced": True, "stages": 2}
    assert chosen(even, PLAIN, rows).cluster_rows == 2
