"""Schedules read back from their own text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hypothesis import given

from moedsl.ir.schedule import Schedule
from moedsl.lower.build_request import build_requests
from moedsl.lower.build_tile import build_tile
from moedsl.lower.print_schedule import print_schedule
from moedsl.source.parser import parse
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.strategies import scheduled_kernels

if TYPE_CHECKING:
    from moedsl.ir.module import ScheduledKernel


@given(scheduled_kernels())
def test_a_printed_schedule_reads_back(chosen: ScheduledKernel) -> None:
    tile = build_tile(chosen.kernel, chosen.schedule, TARGETS[chosen.target])
    kernel = chosen.signature.name
    source = Source("printed", f"kernel {kernel} {{\n}}\n{print_schedule(tile, 'again')}")
    file, errors = parse(source)
    assert errors == []
    (request,), found = build_requests(file, [chosen.kernel], source)
    assert found == []
    assert (request.name, request.kernel, request.on) == ("again", kernel, chosen.target)
    told, untold = flat(chosen.schedule), flat(Schedule(chosen.schedule.tile))
    assert {**untold, **request.given} == told


def flat(schedule: Schedule) -> dict[str, Any]:
    """Fields as requests name them: ``tile.rows``, ``stages``."""
    fields: dict[str, Any] = {}
    for name, value in asdict(schedule).items():
        nested = isinstance(value, dict)
        fields |= {f"{name}.{key}": v for key, v in value.items()} if nested else {name: value}
    return fields
