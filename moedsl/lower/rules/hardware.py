"""Rules about clusters and what only specialised warps can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.schedule import Cooperation, EpilogueStore
from moedsl.lower.rules.case import Finding

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
            _cluster_fields(case),
            f"a cluster of {rows} × {columns} = {rows * columns} CTAs",
            f"at most {MOST_CLUSTER} are allowed",
        )


def cluster_stays_in_expert(case: Case) -> Iterator[Finding]:
    """CTAs of a cluster share an operand, so they must work on one expert."""
    rows = case.schedule.cluster_rows
    if rows > 1 and case.kernel.signature.row_grouped:
        name = case.name("rows")
        yield Finding(
            ("cluster_rows",),
            "a cluster along ragged rows could straddle experts",
            f"{rows} neighbouring tiles of {name}",
            (
                (
                    f"an expert whose number of row tiles is no multiple of {rows} leaves a cluster"
                    " whose last tiles belong to the next expert: its CTAs would share the wrong"
                    " weights, and wait for tiles that do not exist"
                ),
            ),
            f"cluster along {case.name('columns')} instead",
        )


def cluster_needs_hardware(case: Case) -> Iterator[Finding]:
    """Clusters came with compute capability 9.0."""
    if _clustered(case) and not case.target.clusters:
        message = f"{case.target.sm} has no clusters"
        yield Finding(_cluster_fields(case), message, "needs sm_90 or newer")


def cluster_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """The portable path has no multicast to use a cluster for."""
    if _clustered(case):
        yield _needs_specialised_path(_cluster_fields(case), "cluster")


def _clustered(case: Case) -> bool:
    return case.schedule.cluster_rows * case.schedule.cluster_columns > 1


def _cluster_fields(case: Case) -> tuple[str, ...]:
    fields = ("cluster_rows", "cluster_columns")
    return fields if case.schedule.cluster_rows > 1 else fields[::-1]


def registers_need_specialised_path(case: Case) -> Iterator[Finding]:
    """Registers are moved between warps that have different roles."""
    if case.schedule.producer_registers or case.schedule.consumer_registers:
        fields = ("producer_registers", "consumer_registers")
        yield _needs_specialised_path(fields, "registers")


def pingpong_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """Alternating consumers are fed by a producer warp."""
    if case.schedule.cooperation is Cooperation.PINGPONG:
        yield _needs_specialised_path(("cooperation", "consumers"), "pingpong")


def tma_store_needs_specialised_path(case: Case) -> Iterator[Finding]:
    """Bulk tensor stores need TMA descriptors."""
    if case.schedule.epilogue_store is EpilogueStore.TMA:
        yield _needs_specialised_path(("epilogue_store",), "epilogue store=tma")


def epilogue_columns_need_specialised_path(case: Case) -> Iterator[Finding]:
    """The portable epilogue stages whole rows of a warp's part, a few at a time."""
    if case.schedule.epilogue_columns:
        yield _needs_specialised_path(("epilogue_columns",), "epilogue columns")


def _needs_specialised_path(fields: tuple[str, ...], directive: str) -> Finding:
    return Finding(
        fields,
        f"`{directive}` needs the warp-specialised path",
        "this version has the portable path only",
        ("the portable path runs on sm_80 and newer; all its warps copy and multiply alike",),
        f"remove `{directive}`",
    )
