"""What makes a legal schedule slower than it need be, with the amount."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import lcm
from typing import TYPE_CHECKING

from moedsl.lower.resources import WARP
from moedsl.lower.resources.specialised import FLAT_STEP
from moedsl.lower.rules.case import Finding
from moedsl.work import ceil_div, row_range, tile_height

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.lower.rules.case import Case

FEWEST_WARPS = 8
"""Two for each of an SM's four schedulers: one computes while the other waits."""

MOST_PADDING = 0.25
"""Of all multiplications, beyond what the lowest tiles that the warps can share would pad."""


def enough_warps_are_resident(case: Case) -> Iterator[Finding]:
    """Fewer warps than FEWEST_WARPS on an SM leave its schedulers idle at every wait."""
    used = case.resources
    warps = used.blocks * used.threads // WARP
    if warps >= FEWEST_WARPS:
        return
    shared, room = used.shared.bytes, case.target.shared_per_sm
    yield Finding(
        ("stages", "tile.depth", "tile.columns", "tile.rows", "consumers"),
        f"only {warps} warps run on an SM",
        f"fewer than {FEWEST_WARPS}",
        (
            (
                f"{case.target.sm} holds {used.blocks} CTAs of {used.threads} threads: each takes "
                f"{shared} of {room} bytes of shared memory and about {used.registers} registers "
                "a thread"
            ),
        ),
        "use fewer stages or a smaller tile, so that more CTAs fit, or more consumers",
    )


def padding_is_small(case: Case) -> Iterator[Finding]:
    """At the expected rows, tiles are not much higher than what they hold."""
    signature, schedule = case.kernel.signature, case.schedule
    if not case.rows or not signature.row_grouped:
        return
    each = ceil_div(case.rows, signature.expert_count)
    ranges = (row_range(schedule, each, t) for t in range(ceil_div(each, schedule.tile.rows)))
    tiles = Counter(last - first for first, last in ranges)
    heights = {rows: tile_height(schedule, rows) for rows in tiles}
    best = {rows: _lowest_height(case, rows) for rows in tiles}
    taken = sum(count * heights[rows] for rows, count in tiles.items())
    spare = sum(count * (heights[rows] - best[rows]) for rows, count in tiles.items())
    share = spare / taken
    if share <= MOST_PADDING:
        return
    worst = max(tiles, key=lambda rows: heights[rows] - best[rows])
    tail = f"{signature.rows}={best[worst]}"
    yield Finding(
        ("tails", "tile.rows"),
        f"about {share:.0%} of all multiplications are padding",
        f"{heights[worst]} rows high for {worst}",
        (
            (
                f"{case.rows} rows in all are {each} for each of {signature.expert_count} experts, "
                f"and those take tiles of {taken} rows together"
            ),
        ),
        _allow(case, tail),
    )


def _allow(case: Case, tail: str) -> str:
    if case.schedule.balanced:
        # Which other heights it lists decides its shares: they stay.
        return f"let `tails balanced` list {tail} too"
    if case.request is not None and case.request.given.get("cluster_rows", 1) != 1:
        return "allow lower tiles with `tails balanced`, whose shares a pair can take"
    return f"allow `tails {tail}`"


def _lowest_height(case: Case, rows: int) -> int:
    """The least height, allowed or not, that holds ``rows`` and that the warps can share."""
    schedule = case.schedule
    height = tile_height(schedule, rows)
    # CTAs of a cluster share the rows of a tile, by whole groups.
    step = lcm(case.resources.step.rows, FLAT_STEP * schedule.cluster)
    possible = range(ceil_div(rows, step) * step, height, step)
    tried = replace(schedule, tails=tuple(reversed(possible)), balanced=False)
    unshared = replace(case, schedule=tried).resources.unshared
    return next((lower for lower in possible if lower not in unshared), height)
