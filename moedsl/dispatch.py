"""Which schedule of a kernel a call takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.target import Target


def applicable(requests: Iterable[ScheduleRequest], target: Target) -> tuple[ScheduleRequest, ...]:
    """The schedules for ``target``, most specific ``on`` first, else as they stand in the file."""
    fitting = [r for r in requests if r.on is None or target.schedule_covers(r.on)]
    return tuple(sorted(fitting, key=_specificity, reverse=True))


def _specificity(request: ScheduleRequest) -> tuple[int, bool]:
    match = re.fullmatch(r"sm_(\d+)(a?)", request.on or "")
    return (int(match[1]), bool(match[2])) if match else (0, False)


def pick(requests: Sequence[ScheduleRequest], rows: int | None) -> ScheduleRequest | None:
    """The first schedule whose bounds hold for ``rows`` in all; None if the compiler chooses.

    Where the rows are not known (None), the first one without bounds, else the first.
    """
    if rows is None:
        return next((r for r in requests if not r.when), requests[0] if requests else None)
    return next((r for r in requests if all(c.holds(rows) for c in r.when)), None)


_STEPS = 4
"""Numbers of rows that are told apart from a power of two to the next. With one, splits of a depth
left SMs idle; with four, 1 to 4096 rows of one expert take 7 schedules instead of 6.
"""


def typical_rows(rows: int, experts: int) -> int:
    """``rows`` with the rows per expert rounded up, to three bits.

    What the compiler chooses depends on this number alone, so that calls of any size share a few
    schedules, and a kernel is compiled for each of these once.
    """
    if rows == 0:
        return 0
    each = ceil_div(rows, experts)
    step = max(1, (1 << (each - 1).bit_length()) // 2 // _STEPS)
    return experts * ceil_div(each, step) * step
