"""Rules about ``require``: what the compiler must prove of a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.ir.elementwise import Store
from moedsl.ir.schedule import Requirement
from moedsl.ir.verify import scattered
from moedsl.lower.rules.case import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.lower.rules.case import Case


def determinism_is_proved(case: Case) -> Iterator[Finding]:
    """Atomic additions happen in no fixed order, and f32 addition is not associative."""
    if Requirement.DETERMINISTIC in case.schedule.require:
        for store in _atomic(case):
            yield _unproved("deterministic", store, "the order of atomic additions changes")


def batch_invariance_is_proved(case: Case) -> Iterator[Finding]:
    """A row's bits depend on its expert, its inputs and the schedule alone.

    They do not depend on its tile: every height sums the depth in the same steps and parts.
    """
    if Requirement.BATCH_INVARIANT not in case.schedule.require:
        return
    signature, request = case.kernel.signature, case.request
    reason = ""
    if not signature.row_grouped:
        reason = f"{signature.ragged} is summed: every output element depends on the whole batch"
    elif request is not None and request.when:
        reason = "the schedule holds for some batches only: others take another one"
    elif case.others:
        names = ", ".join(other.name for other in case.others)
        reason = f"the number of rows decides between this schedule and {names}"
    if reason:
        yield _unproved("batch_invariant", None, reason)
    for store in _atomic(case):
        yield _unproved("batch_invariant", store, "rows of the batch are added to one another")


def _unproved(name: str, store: Store | None, reason: str) -> Finding:
    where = "" if store is None else f": {store.access.tensor} is added to through a map"
    return Finding(
        ("require",),
        f"`require {name}` cannot be proved{where}",
        reason,
        help="store each row once and add the rows in a second kernel"
        if store is not None
        else f"remove `{name}`, or what contradicts it",
        span=None if store is None else store.span,
    )


def _atomic(case: Case) -> Iterator[Store]:
    for op in case.kernel.body:
        if isinstance(op, Store) and op.accumulate and scattered(op):
            yield op
