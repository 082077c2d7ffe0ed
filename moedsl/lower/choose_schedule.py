"""Fill in every decision that a schedule request leaves open.

The defaults are the fastest found for the rows per expert that are expected, those of the portable
path on an H200, those of specialised warps on an H100 and an H200. They are proposals, tried from
the best down, and the first that the target has room for is taken. What a request gives is never
changed, even if nothing fits then: the legality rules say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moedsl.ir.core import Compute
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import Persistence, Requirement, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.propose_specialised import (
    DECODE,
    FEW,
    MANY,
    SEVERAL,
    Shape,
    propose_specialised,
)
from moedsl.lower.resources import WARP, element_bytes, resources, share_tile, step_shape
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import ScheduleRequest
    from moedsl.lower.resources import Resources
    from moedsl.target import Target

DECODE_ROWS = 8
"""Up to so many rows an expert on average, weights are streamed past a few rows."""
FEW_ROWS = 64
"""Up to so many, a call is still bound by reading the weights."""
SEVERAL_ROWS = 512
"""Up to so many, most experts have one to three of the highest row tiles."""
_TAILS = (96, 64, 32)
_TAILS_OF_SEVERAL = (64, 32)
"""For kernels with several sums: every height is compiled, and theirs take longer."""
_TAILS_SWAPPED = (128, 64, 32, 24, 16, 8)
_MOST_TAILS = 4
_MOST_COLUMNS = 256
_MOST_STAGES = 8
_RESIDENT_CTAS, _RESIDENT_SPECIALISED = 256, 132
"""CTAs to feed; with fewer tiles the depth is split. One that is specialised has its SM for itself;
of these an H100 SXM and an H200 have 132, and with more CTAs some would come in a second turn.
"""
_LEAST_STEPS = 8
"""Stages of depth that a part of a split keeps."""
_MOST_SPLITS = 8


@dataclass(frozen=True, slots=True)
class Proposal:
    """A shape to try. ``depth_bytes`` is one line of a stage; ``stages`` are the most and the
    fewest worth having, ``warps`` the fewest that should be resident on an SM.
    """

    rows: int
    columns: int
    depth_bytes: int
    consumers: int
    stages: tuple[int, int]
    warps: int
    swap_ab: bool = False


_MANY = (
    Proposal(128, 128, 128, 1, (4, 3), 8),
    Proposal(128, 256, 128, 2, (4, 3), 8),
    Proposal(128, 256, 64, 2, (6, 4), 8),
    Proposal(128, 128, 64, 2, (6, 3), 8),
    Proposal(128, 64, 64, 1, (6, 3), 4),
    Proposal(64, 64, 64, 1, (4, 2), 4),
    Proposal(32, 64, 64, 1, (4, 2), 4),
)
_FEW = (
    Proposal(64, 128, 128, 1, (4, 3), 8),
    Proposal(64, 128, 64, 1, (6, 3), 8),
    Proposal(64, 64, 64, 1, (4, 2), 4),
)
_SMALL = (
    Proposal(48, 128, 128, 1, (4, 3), 8, swap_ab=True),
    Proposal(32, 128, 64, 1, (6, 3), 8, swap_ab=True),
    Proposal(32, 64, 64, 1, (4, 2), 4, swap_ab=True),
)
_DECODE = (
    Proposal(16, 64, 256, 1, (5, 4), 8, swap_ab=True),
    Proposal(16, 64, 128, 1, (6, 3), 8, swap_ab=True),
    Proposal(16, 64, 64, 1, (4, 2), 4, swap_ab=True),
)
_LANES = (
    Proposal(128, 64, 128, 1, (4, 2), 8),
    Proposal(64, 64, 64, 1, (4, 2), 4),
)
_LANES_FEW = (
    Proposal(32, 64, 128, 1, (4, 2), 8),
    Proposal(32, 64, 64, 1, (4, 2), 4),
)


def choose_schedule(
    kernel: MoeKernel,
    target: Target,
    request: ScheduleRequest | None = None,
    rows: int | None = None,
) -> Schedule:
    """A complete schedule for ``kernel`` on ``target``.

    ``rows`` is the total number of rows that calls will have; None where it is not known. With
    ``require batch_invariant`` it is not looked at, since a row's bits may not depend on it.
    """
    given: Mapping[str, Any] = request.given if request is not None else {}
    required = given.get("require", ())
    if Requirement.BATCH_INVARIANT in required:
        rows = None
    chosen = _choose_specialised(kernel, target, request, rows)
    if chosen is not None:
        return chosen
    last: Schedule | None = None
    for proposal in _high_enough(_proposals(kernel, rows), given):
        for schedule in _attempts(kernel, proposal, given, rows):
            last = schedule
            found = resources(build_tile(kernel, schedule, target), target)
            if _fits(found, target, proposal):
                return schedule
    assert last is not None
    return last


def _choose_specialised(
    kernel: MoeKernel, target: Target, request: ScheduleRequest | None, rows: int | None
) -> Schedule | None:
    """The first proposal for specialised warps that is legal with what is given.

    If none is, the portable path is taken, unless registers were given: then the first one is, for
    the legality rules to judge.
    """
    given: Mapping[str, Any] = request.given if request is not None else {}
    wanted = given.get("consumer_registers")
    if not target.warp_specialised or wanted == 0:
        return None
    first: Schedule | None = None
    for proposed in propose_specialised(kernel, _shape_for(kernel, rows), given):
        schedule = _with_given(proposed, given)
        if "tails" not in given:
            tails = tuple(h for h in schedule.tails if h < schedule.tile.rows)
            schedule = replace(schedule, tails=tails)
            whole = schedule.tile.rows % schedule.unit == 0
            schedule = replace(schedule, balanced=schedule.balanced and whole)
        if "split_k" not in given and Requirement.BATCH_INVARIANT not in schedule.require:
            schedule = replace(schedule, split_k=_split(kernel, schedule, rows))
        first = first or schedule
        if not check_schedule(kernel, schedule, request, target):
            return schedule
    return first if wanted else None


def _shape_for(kernel: MoeKernel, rows: int | None) -> Shape:
    average = rows_per_expert(kernel, rows)
    if average is None or average > SEVERAL_ROWS:
        return MANY
    if average > FEW_ROWS:
        return SEVERAL
    return FEW if average > DECODE_ROWS else DECODE


def rows_per_expert(kernel: MoeKernel, rows: int | None) -> float | None:
    """Average rows of an expert that may have any: with fewer rows than experts, one."""
    if rows is None or not kernel.signature.row_grouped:
        return None
    return rows / max(1, min(rows, kernel.signature.expert_count))


def _proposals(kernel: MoeKernel, rows: int | None) -> tuple[Proposal, ...]:
    average = rows_per_expert(kernel, rows)
    if kernel.signature.compute is Compute.F32:
        return _LANES_FEW if average is not None and average <= FEW_ROWS else _LANES
    if average is None or average > 2 * FEW_ROWS:
        return _MANY
    if average > FEW_ROWS:
        return (*_MANY[:1], *_FEW)
    return _DECODE if average <= DECODE_ROWS else _SMALL


def _high_enough(proposals: tuple[Proposal, ...], given: Mapping[str, Any]) -> tuple[Proposal, ...]:
    """Those whose tile is above the tails, and not below the fused experts, that are given."""
    if "tile.rows" in given:
        return proposals
    above = max(given.get("tails", ()), default=0)
    least = max(above + 1, given.get("fuse_rows", 0))
    fitting = tuple(p for p in (*proposals, *_MANY) if p.rows >= least)
    return fitting or tuple(replace(p, rows=1 << (least - 1).bit_length()) for p in _MANY)


def _attempts(
    kernel: MoeKernel,
    proposal: Proposal,
    given: Mapping[str, Any],
    rows: int | None,
) -> Iterator[Schedule]:
    """``proposal`` with what is given, from the most stages to the fewest."""
    most, fewest = _stages(kernel, proposal, given)
    for stages in range(most, fewest - 1, -1):
        proposed = Schedule(
            tile=_shape(kernel, proposal),
            swap_ab=proposal.swap_ab,
            stages=stages,
            consumers=proposal.consumers,
            persistent=Persistence.DYNAMIC,
        )
        schedule = _with_given(proposed, given)
        if "tile.columns" not in given:
            schedule = replace(schedule, tile=_shared_columns(kernel, schedule))
        if "tails" not in given:
            schedule = replace(schedule, tails=_tails(kernel, schedule))
        if "split_k" not in given and Requirement.BATCH_INVARIANT not in schedule.require:
            schedule = replace(schedule, split_k=_split(kernel, schedule, rows))
        yield schedule
        if "stages" in given:
            return


def _stages(kernel: MoeKernel, proposal: Proposal, given: Mapping[str, Any]) -> tuple[int, int]:
    """Most and fewest stages to try: more of them where the given depth makes them shallower."""
    most, fewest = proposal.stages
    proposed = proposal.depth_bytes // element_bytes(kernel.signature.compute)
    most = min(_MOST_STAGES, max(2, most * proposed // max(1, given.get("tile.depth", proposed))))
    return most, min(fewest, most)


def _shape(kernel: MoeKernel, proposal: Proposal) -> TileShape:
    """The proposed tile, its columns shared by all sums and cut to the matrix."""
    signature = kernel.signature
    sums = sum(isinstance(op, Contract) for op in kernel.body)
    least = 4 * step_shape(signature.compute, proposal.swap_ab).columns
    columns = max(least, proposal.columns // (1 << (sums - 1).bit_length()))
    extent = signature.index(signature.columns).extent
    while extent is not None and columns >= 2 * extent and columns > least:
        columns //= 2
    depth = proposal.depth_bytes // element_bytes(signature.compute)
    return TileShape(proposal.rows, columns, depth)


def _shared_columns(kernel: MoeKernel, schedule: Schedule) -> TileShape:
    """The tile with the nearest columns that all warps can share at every height; what is proposed
    suits its own number of warps, and another one may be given.
    """
    step, tile = step_shape(kernel.signature.compute, schedule.swap_ab), schedule.tile
    warps = schedule.consumers * 128 // WARP

    def apart(columns: int) -> int:
        return abs(columns - tile.columns)

    for columns in sorted(
        (tile.columns, *range(step.columns, _MOST_COLUMNS + 1, step.columns)), key=apart
    ):
        if all(share_tile(height, columns, warps, step) for height in schedule.heights):
            return replace(tile, columns=columns)
    return tile


def _with_given(schedule: Schedule, given: Mapping[str, Any]) -> Schedule:
    """``schedule`` with the fields of ``given``; those of nested parts are named with a dot."""
    nested: dict[str, Any] = {"tile": schedule.tile, "raster": schedule.raster}
    parts = {name: replace(part, **_below(name, given)) for name, part in nested.items()}
    own = {name: value for name, value in given.items() if "." not in name}
    return replace(schedule, **{**parts, **own})


def _below(part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given of ``part``, by field name."""
    dotted = f"{part}."
    return {n.removeprefix(dotted): v for n, v in given.items() if n.startswith(dotted)}


def _tails(kernel: MoeKernel, schedule: Schedule) -> tuple[int, ...]:
    """Lower heights that the warps can share and that some tile may need."""
    signature, tile = kernel.signature, schedule.tile
    step = step_shape(signature.compute, schedule.swap_ab)
    warps = schedule.consumers * 128 // WARP
    several = sum(isinstance(op, Contract) for op in kernel.body) > 1
    tails: tuple[int, ...] = _TAILS_OF_SEVERAL if several else _TAILS
    if schedule.swap_ab:
        tails = _TAILS_SWAPPED
    heights = [
        height
        for height in tails
        if height < tile.rows and share_tile(height, tile.columns, warps, step) is not None
    ]
    if signature.row_grouped:
        return tuple(heights[-_MOST_TAILS:])
    extent = signature.index(signature.rows).extent
    if extent is None:
        return ()
    left = extent % tile.rows
    return tuple(height for height in heights if height >= left > 0)[-1:]


def _split(kernel: MoeKernel, schedule: Schedule, rows: int | None) -> int:
    """Parts of the depth: as many as it takes to feed the machine, at least 1."""
    signature, tile = kernel.signature, schedule.tile
    columns = signature.index(signature.columns).extent
    depths = [signature.index(op.over).extent for op in kernel.body if isinstance(op, Contract)]
    if rows is None or columns is None or not signature.row_grouped:
        return 1
    tiles = max(min(rows, signature.expert_count), ceil_div(rows, tile.rows))
    tiles *= ceil_div(columns, tile.columns)
    steps = min(ceil_div(depth, tile.depth) if depth is not None else 1 for depth in depths)
    resident = _RESIDENT_SPECIALISED if schedule.specialised else _RESIDENT_CTAS
    return max(1, min(resident // tiles if tiles else 1, steps // _LEAST_STEPS, _MOST_SPLITS))


def _fits(found: Resources, target: Target, proposal: Proposal) -> bool:
    """Whether a CTA fits and enough warps are resident."""
    share = target.registers_per_sm // found.threads
    return (
        not found.unshared
        and found.shared.bytes <= target.shared_per_block
        and found.registers <= min(target.registers_per_thread, share)
        and found.blocks * found.threads >= proposal.warps * WARP
    )
