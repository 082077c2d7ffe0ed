"""Rules about the plan: which work there is, and in which order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from moedsl.ir.core import IndexKind
from moedsl.ir.schedule import ExpertOrder
from moedsl.lower.rules.case import Finding
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.lower.rules.case import Case

MOST_SPLITS = 64
MOST_SORTED_EXPERTS = 1024


def sizes_are_positive(case: Case) -> Iterator[Finding]:
    """Tile sizes, raster group and cluster sizes are at least 1."""
    schedule = case.schedule
    for field, size in (
        ("tile.rows", schedule.tile.rows),
        ("tile.columns", schedule.tile.columns),
        ("tile.depth", schedule.tile.depth),
        ("raster.group", schedule.raster.group),
        ("cluster_rows", schedule.cluster_rows),
        ("cluster_columns", schedule.cluster_columns),
    ):
        if size < 1:
            yield Finding((field,), f"{case.words(field)} is {size}", "must be at least 1")


def on_covers_target(case: Case) -> Iterator[Finding]:
    """The schedule is written for this target, an older one, or any."""
    request = case.request
    if request is None or request.on is None or case.target.schedule_covers(request.on):
        return
    yield Finding(
        (),
        f"schedule {request.name} is for {request.on}, not for {case.target.sm}",
        notes=(f"on {request.on} covers " + _covered(request.on),),
        help=f"compile with --target {request.on}, or write a schedule on {case.target.sm}",
    )


def _covered(on: str) -> str:
    return "exactly that target" if on.endswith("a") else "it and newer targets"


def tails_fall(case: Case) -> Iterator[Finding]:
    """Tails are at least 1, below the tile's rows, and each below the one before."""
    heights = case.schedule.heights
    for high, low in pairwise(heights):
        if low >= high or low < 1:
            message = f"tail {low} is not below {high}" if low >= high else f"tail {low} is no size"
            rows = f"the tile has {heights[0]} rows"
            help = "list tails falling, each once, all below the tile's rows"
            yield Finding(("tails",), message, "tails must fall", (rows,), help)
            return


def balanced_tiles_are_whole_units(case: Case) -> Iterator[Finding]:
    """An even share of an expert's rows, in units of the lowest height, fits in a tile."""
    schedule = case.schedule
    rows, unit = schedule.tile.rows, schedule.unit
    if schedule.balanced and unit > 0 and rows % unit:
        yield Finding(
            ("balanced", "tails", "tile.rows"),
            f"`balanced` shares rows in units of {unit}, but a tile has {rows}",
            f"{rows} is not a multiple of {unit}",
            (f"the lowest of the heights is {unit}: a share could be higher than a tile",),
            f"end the list with a height that divides {rows}, or remove `balanced`",
        )


def fuse_needs_ragged_rows(case: Case) -> Iterator[Finding]:
    """Only experts with few rows of output can share a work item."""
    if case.schedule.fuse_rows and not case.kernel.signature.row_grouped:
        yield _needs_ragged_rows(case, "fuse_rows", "fuse")


def order_needs_ragged_rows(case: Case) -> Iterator[Finding]:
    """Experts with equally many tiles have no longest, and none that are wider than others."""
    order = case.schedule.order
    if order is not ExpertOrder.INDEX and not case.kernel.signature.row_grouped:
        yield _needs_ragged_rows(case, "order", f"order {order}")


def _needs_ragged_rows(case: Case, field: str, directive: str) -> Finding:
    signature = case.kernel.signature
    return Finding(
        (field,),
        f"`{directive}` needs ragged output rows",
        f"the rows of the output are {signature.rows}, the same for every expert",
        (f"{signature.ragged} is summed here: every expert has the same output tiles",),
        f"remove `{directive}`",
    )


def fuse_fits_tile(case: Case) -> Iterator[Finding]:
    """Experts that share an item have at most one tile each."""
    fuse, rows = case.schedule.fuse_rows, case.schedule.tile.rows
    if fuse < 0 or fuse > rows:
        yield Finding(
            ("fuse_rows", "tile.rows"),
            f"`fuse` takes experts of up to {fuse} rows, but a tile has {rows}",
            f"must be from 1 to {rows}",
            help=f"fuse experts {case.name('rows')}<={rows} or fewer",
        )


def order_can_sort(case: Case) -> Iterator[Finding]:
    """``order longest`` sorts the experts in shared memory, in every CTA."""
    experts = case.kernel.signature.expert_count
    if case.schedule.order is ExpertOrder.LONGEST and experts > MOST_SORTED_EXPERTS:
        yield Finding(
            ("order",),
            f"`order longest` sorts at most {MOST_SORTED_EXPERTS} experts",
            f"the kernel has {experts}",
            help="use `order index`",
        )


def splits_fit_depth(case: Case) -> Iterator[Finding]:
    """Every part of the depth gets at least one stage, where the depth is known."""
    splits, depth = case.schedule.split_k, case.schedule.tile.depth
    if not 1 <= splits <= MOST_SPLITS:
        yield Finding(("split_k",), f"`split_k {splits}`", f"must be from 1 to {MOST_SPLITS}")
        return
    for name in case.depths:
        index = case.kernel.signature.index(name)
        if index.kind is not IndexKind.FIXED or index.extent is None:
            continue
        stages = ceil_div(index.extent, depth)
        if splits > stages:
            yield Finding(
                ("split_k", "tile.depth"),
                f"`split_k {splits}` leaves parts without work",
                f"{name} has {stages} stages",
                (f"{name} = {index.extent} in stages of {depth}: {stages}",),
                f"use split_k {stages} or less, or a smaller tile {name}",
            )
            return
