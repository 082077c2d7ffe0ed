"""Making a failing case small, one understandable step at a time.

The steps speak of cases (fewer experts, fewer rows, smaller extents, a plainer schedule) rather
than of random choices: each try may cost a compilation, so there must be few.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

from moedsl.fuzz.case import Batch, Case
from moedsl.ir.schedule import Schedule
from moedsl.meaning import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from moedsl.ir.moe import MoeKernel

Item = TypeVar("Item")


def shrink(case: Case, kernel: MoeKernel, fails: Callable[[Case], bool]) -> Case:
    """The smallest case that ``fails``, reached from ``case`` (which does) by steps that all do.

    ``fails`` is asked of legal cases of ``kernel`` only, of none twice.
    """
    asked = {repr(case)}
    improved = True
    while improved:
        improved = False
        for smaller in _smaller(case, kernel):
            if repr(smaller) in asked or not smaller.legal(kernel):
                continue
            asked.add(repr(smaller))
            if fails(smaller):
                case, improved = smaller, True
                break
    return case


def _smaller(case: Case, kernel: MoeKernel) -> Iterator[Case]:
    """Cases a step below ``case``, the longest steps first."""
    if len(case.batches) > 1:
        for batch in case.batches:
            yield replace(case, batches=(batch,))
        for number in range(len(case.batches)):
            yield replace(case, batches=_without(case.batches, number, 1))
        return
    (batch,) = case.batches
    experts = kernel.signature.experts
    for rows in _fewer_experts(batch.rows):
        extents = {**case.extents, experts: len(rows)}
        yield replace(case, extents=extents, batches=(replace(batch, rows=rows),))
    for plainer in _plainer_batches(batch):
        yield replace(case, batches=(plainer,))
    for extents in _lower(case.extents, keep=experts):
        yield replace(case, extents=extents)
    for schedule in _plainer_schedules(case.schedule):
        yield replace(case, schedule=schedule)


def _without(items: tuple[Item, ...], first: int, count: int) -> tuple[Item, ...]:
    return items[:first] + items[first + count :]


def _fewer_experts(rows: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Without a half, a quarter, … of the experts, wherever it stands."""
    count = len(rows) // 2
    while count:
        for first in range(0, len(rows), count):
            if len(rest := _without(rows, first, count)):
                yield rest
        count //= 2


def _plainer_batches(batch: Batch) -> Iterator[Batch]:
    for plainer in (
        replace(batch, layouts={}),
        replace(batch, spare_rows=0),
        replace(batch, mode=Mode.EXACT),
        replace(batch, seed=0),
    ):
        if plainer != batch:
            yield plainer
    for name in batch.layouts:
        yield replace(batch, layouts={k: v for k, v in batch.layouts.items() if k != name})
    for expert, count in enumerate(batch.rows):
        for less in _below(count, 0):
            rows = (*batch.rows[:expert], less, *batch.rows[expert + 1 :])
            yield replace(batch, rows=rows)
    for sizes in _lower(batch.sizes):
        yield replace(batch, sizes=sizes)


def _lower(extents: Mapping[str, int], keep: str = "") -> Iterator[dict[str, int]]:
    for name, extent in extents.items():
        if name != keep:
            for less in _below(extent, 1):
                yield {**extents, name: less}


def _below(number: int, least: int) -> Iterator[int]:
    """Numbers from ``least`` to below ``number``: the least, then ever closer."""
    step = number - least
    while step > 0:
        yield number - step
        step //= 2


def _plainer_schedules(schedule: Schedule) -> Iterator[Schedule]:
    plain = Schedule(schedule.tile)
    for each in fields(Schedule):
        if getattr(schedule, each.name) != getattr(plain, each.name):
            yield replace(schedule, **{each.name: getattr(plain, each.name)})
    for number in range(len(schedule.tails)):
        yield replace(schedule, tails=_without(schedule.tails, number, 1))
    if schedule.split_k > 2:
        yield replace(schedule, split_k=2)
    for side in ("rows", "columns", "depth"):
        half = getattr(schedule.tile, side) // 2
        if half:
            tile = replace(schedule.tile, **{side: half})
            tails = tuple(tail for tail in schedule.tails if tail < tile.rows)
            fuse = min(schedule.fuse_rows, tile.rows)
            yield replace(schedule, tile=tile, tails=tails, fuse_rows=fuse)
