"""Rules about clusters and what only specialised warps can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.moe import Contract
from moedsl.ir.schedule import Cooperation, EpilogueStore, Eviction
from moedsl.lower.resources.specialised import (
    flat_obstacle,
    gathered,
    kernel_obstacle,
    starting_registers,
    store_obstacle,
)
from moedsl.lower.rules.case import Finding
from moedsl.lower.rules.demand import REGISTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.lower.rules.case import Case

MOST_CLUSTER = 8
"""CTAs in a portable cluster (CUDA C++ Programming Guide, "Thread Block Clusters")."""


def cluster_is_small(case: Case) -> Iterator[Finding]:
    """A portable cluster has at most 8 CTAs."""
    rows, columns = case.schedule.cluster_rows, case.schedule.cluster_columns
    if rows * columns > MOST_CLUSTER:
        yield Finding(
            case.cluster_fields,
            f"a cluster of {rows} × {columns} = {rows * columns} CTAs",
            f"at most {MOST_CLUSTER} are allowed",
        )


def cluster_along_rows_is_a_pair(case: Case) -> Iterator[Finding]:
    """Along the rows two CTAs share columns, of tiles that are as high as each other."""
    schedule, rows = case.schedule, case.name("rows")
    if schedule.cluster_rows <= 1:
        return
    if (schedule.cluster_rows, schedule.cluster_columns) != (2, 1):
        yield Finding(
            case.cluster_fields,
            f"a cluster of {schedule.cluster_rows} × {schedule.cluster_columns} CTAs",
            f"along {rows} a cluster is a pair",
            help=f"cluster {rows}=2, or cluster along {case.name('columns')} only",
        )
    elif schedule.tails and not schedule.balanced:
        yield Finding(
            ("cluster_rows", "tails"),
            "CTAs of a pair compute equally high tiles, and `tails` makes the last one lower",
            f"{schedule.tile.rows} rows are computed for its {rows}",
            help="`tails balanced` shares rows evenly",
        )


def cluster_needs_hardware(case: Case) -> Iterator[Finding]:
    """Clusters came with compute capability 9.0."""
    if _clustered(case) and not case.target.clusters:
        message = f"{case.target.sm} has no clusters"
        yield Finding(case.cluster_fields, message, "needs sm_90 or newer")


def cluster_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """The portable path has no multicast to use a cluster for, nor have rows through a map."""
    schedule = case.schedule
    if not _clustered(case):
        return
    if schedule.cluster_columns > 1 and any(
        gathered(op.lhs) for op in case.kernel.body if isinstance(op, Contract)
    ):
        yield Finding(
            ("cluster_columns",),
            f"nothing is shared along {case.name('columns')}: rows come through a map",
            "the copy engine, which shares, follows no maps",
            help=f"cluster {case.name('rows')}=2: two row tiles share {case.name('columns')}",
        )
    elif not schedule.specialised:
        yield _needs_specialised_path(case, case.cluster_fields, "cluster")


def eviction_needs_copy_engine(case: Case) -> Iterator[Finding]:
    """Only copies of the copy engine carry hints, and it follows no maps."""
    fields = ("row_eviction", "column_eviction")
    hinted = tuple(f for f in fields if getattr(case.schedule, f) is not Eviction.NORMAL)
    if not hinted:
        return
    mapped = [
        op.lhs.tensor for op in case.kernel.body if isinstance(op, Contract) and gathered(op.lhs)
    ]
    if mapped and "row_eviction" in hinted:
        yield Finding(
            ("row_eviction",),
            f"`cache` for {case.name('rows')}, which come through a map",
            f"the copy engine, which takes the hint, does not bring {mapped[0]} in",
            help=f"give it for {case.name('columns')} only",
        )
    elif not case.schedule.specialised:
        yield _needs_specialised_path(case, hinted, "cache")


def once_is_for_weights_of_tiled_rows(case: Case) -> Iterator[Finding]:
    """Where rows are ragged, weights of some experts are read by one tile, others by several."""
    schedule, rows, columns = case.schedule, case.name("rows"), case.name("columns")
    if schedule.row_eviction is Eviction.ONCE:
        yield Finding(
            ("row_eviction",),
            f"`once` for {rows}, which the tiles of all {columns} read again",
            "it tells operands that one tile reads from those that several read",
            help=f"give it for {columns}",
        )
    elif schedule.column_eviction is Eviction.ONCE and not case.kernel.signature.row_grouped:
        yield Finding(
            ("column_eviction",),
            f"`once` for {columns}, which equally many tiles read in every expert",
            f"experts differ only where {rows} are ragged",
            help="use `first`, `last` or `normal`",
        )


def _clustered(case: Case) -> bool:
    return case.schedule.cluster > 1


def registers_need_hardware(case: Case) -> Iterator[Finding]:
    """Specialised warps use TMA, wgmma and setmaxnreg: compute capability 9.0 alone."""
    if case.schedule.specialised and not case.target.warp_specialised:
        yield Finding(
            ("consumer_registers", "producer_registers"),
            f"{case.target.sm} has no specialised warps",
            "needs sm_90a",
            help="`registers off`, or write the schedule `on sm_90a`",
        )


def registers_fit_pool(case: Case) -> Iterator[Finding]:
    """Producers and consumers share the registers that their CTA starts with.

    They start alike, with a multiple of 8 that fits the SM, and setmaxnreg moves them by eights.
    """
    schedule = case.schedule
    producer, consumer = schedule.producer_registers, schedule.consumer_registers
    if not producer and not consumer:
        return
    least, most = REGISTERS
    for field, count in (("producer_registers", producer), ("consumer_registers", consumer)):
        if not least <= count <= most or count % 8:
            yield Finding(
                (field, "producer_registers", "consumer_registers"),
                f"{count} registers for a {field.partition('_')[0]}",
                f"must be a multiple of 8 from {least} to {most}",
                help="" if count else "give both, as in `registers producer=40 consumer=232`",
            )
            return
    producers = case.producer_groups
    groups = producers + schedule.consumers
    start = starting_registers(case.target, 128 * groups * case.resources.blocks)
    taken = producers * producer + schedule.consumers * consumer
    fields = ("consumer_registers", "producer_registers", "consumers")
    if not producer <= start <= consumer:
        yield Finding(
            fields,
            f"{groups * 128} threads start with {start} registers each",
            f"not between {producer} and {consumer}",
            ("producers give registers away, and consumers take them",),
            _advice(producer, start),
        )
    elif taken > start * groups:
        most = (start * groups - producers * producer) // schedule.consumers // 8 * 8
        yield Finding(
            fields,
            f"the roles take {taken} registers for every {groups} threads",
            f"{start * groups} are there",
            (
                f"{groups} × 128 threads start with {start} registers each",
                f"{producers} × {producer} + {schedule.consumers} × {consumer} = {taken}",
            ),
            f"use consumer={most} or less",
        )


def _advice(producer: int, start: int) -> str:
    """What to change where threads start with fewer than ``producer``, or more than consumers."""
    if producer > start:
        return f"use producer={start} or less"
    return f"use consumer={start} or more" if start <= REGISTERS[1] else "use more consumers"


def specialised_path_takes_kernel(case: Case) -> Iterator[Finding]:
    """Specialised warps multiply bf16, f16 and tf32 that the copy engine can bring in.

    It follows no maps; rows may come through one, by the producers' own hands. Its boxes start at
    multiples of 16 bytes, and experts start anywhere in a ragged dimension.
    """
    if not case.schedule.specialised:
        return
    reason = kernel_obstacle(case.kernel)
    if reason:
        yield Finding(
            ("consumer_registers", "producer_registers"),
            "specialised warps cannot compute this kernel",
            reason,
            ("the portable path computes every kernel",),
            "`registers off`",
        )


def flat_side_lies_by_depth(case: Case) -> Iterator[Finding]:
    """The flat operand of wgmma comes from shared memory only, tf32 by depth and as the copy engine
    has rounded it; the tall one may come from registers.
    """
    schedule = case.schedule
    reason = flat_obstacle(case.kernel, schedule.swap_ab) if schedule.specialised else ""
    if reason:
        side = "rows" if schedule.swap_ab else "columns"
        other = "`swap_ab off`" if schedule.swap_ab else "`swap_ab`"
        yield Finding(
            ("swap_ab", "consumer_registers"),
            f"tf32 products cannot take {case.name(side)} on their flat side",
            reason,
            (f"the flat side are the {side}: it must lie by depth, without a map",),
            f"use {other}: the tall side may lie otherwise",
        )


def pingpong_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """Alternating consumers are fed by a producer warp, and there are at least two of them."""
    if case.schedule.cooperation is not Cooperation.PINGPONG:
        return
    if not case.schedule.specialised:
        yield _needs_specialised_path(case, ("cooperation", "consumers"), "pingpong")
    elif case.schedule.consumers < 2:
        yield Finding(
            ("cooperation", "consumers"),
            "one consumer cannot take turns",
            "needs at least 2 consumers",
        )


def tma_store_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """Bulk tensor stores need TMA descriptors, and a store that they can do.

    Boxes of rows by columns, of the whole output and not of what a map leads to.
    """
    if case.schedule.epilogue_store is not EpilogueStore.TMA:
        return
    if not case.schedule.specialised:
        yield _needs_specialised_path(case, ("epilogue_store",), "epilogue store=tma")
        return
    reason = store_obstacle(case.kernel)
    if reason:
        yield Finding(
            ("epilogue_store",),
            "`epilogue store=tma` cannot store this kernel's outputs",
            reason,
            help="write `epilogue store=staged`",
        )


def _needs_specialised_path(case: Case, fields: tuple[str, ...], directive: str) -> Finding:
    more = ", or give `registers`" if case.target.warp_specialised else ""
    return Finding(
        fields,
        f"`{directive}` needs specialised warps",
        "all warps of this schedule do the same",
        ("specialised warps run on sm_90a: `registers producer=40 consumer=232`",),
        f"remove `{directive}`{more}",
    )
