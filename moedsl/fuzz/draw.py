"""Hypothesis strategies for cases: edges first, so that shrinking meets them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import assume
from hypothesis import strategies as st

from moedsl.fuzz.case import Batch, Case
from moedsl.fuzz.specialised import can_specialise, specialised_shapes
from moedsl.inputs import Layout
from moedsl.ir.core import Compute, DType, IndexKind
from moedsl.ir.elementwise import Store
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import (
    Along,
    ExpertOrder,
    Persistence,
    Raster,
    Requirement,
    Schedule,
    TileShape,
)
from moedsl.ir.verify import scattered
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.resources import LINE_BYTES, WARP, element_bytes, share_tile, step_shape
from moedsl.meaning import Mode
from moedsl.rows import parse_rows
from moedsl.source.diagnostic import Severity
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.ir.core import Tensor
    from moedsl.ir.moe import MoeKernel
    from moedsl.target import Target

MANY_EXPERTS = 16
"""With more experts than that, weights are small and rows few."""
MOST_ROWS = 1200
LARGEST_TILE = TileShape(128, 128, 128)

EXTENTS = (
    st.integers(1, 20)
    | st.sampled_from((23, 31, 33, 47, 63, 65, 100, 127, 129, 251, 257))
    | st.integers(1, 40).map((8).__mul__)
)
"""A third of them whole 16 bytes of any type, which the copy engine can store."""
SMALL_EXTENTS = st.integers(1, 20) | st.sampled_from((24, 31, 32, 33, 40))
EXPERTS = st.integers(1, 6) | st.sampled_from((8, 9, 16, 17, 33, 64, 130, 257))


@st.composite
def cases(draw: st.DrawFn, kernels: Sequence[MoeKernel], target: Target, most: int = 3) -> Case:
    """A case of one of ``kernels``, legal on ``target``, with up to ``most`` batches."""
    kernel = draw(st.sampled_from(list(kernels)))
    signature = kernel.signature
    experts = draw(EXPERTS)
    extents = {signature.experts: experts}
    wide = SMALL_EXTENTS if experts > MANY_EXPERTS else EXTENTS
    for index in signature.indices:
        if index.kind is IndexKind.FIXED and index.name != signature.experts:
            extents[index.name] = draw(wide)
    unscheduled = Case(signature.name, target.sm, extents, Schedule(LARGEST_TILE), ())
    resized = unscheduled.resized(kernel)
    schedule = draw(schedules(resized, target))
    batches = draw(st.lists(_batches(resized, schedule), min_size=1, max_size=most))
    return Case(signature.name, target.sm, extents, schedule, tuple(batches))


@st.composite
def schedules(draw: st.DrawFn, kernel: MoeKernel, target: Target) -> Schedule:
    """A schedule that no rule refuses for ``kernel`` on ``target``.

    Shapes are drawn so that they fit instructions and warps, half of them for specialised ones if
    there are such; only demands that exceed the target are drawn again.
    """
    signature = kernel.signature
    shape = draw(
        specialised_shapes(kernel, target, LARGEST_TILE.rows)
        if can_specialise(kernel, target) and draw(st.booleans())
        else _portable_shapes(kernel)
    )
    rows = shape.tile.rows
    fuse = st.just(0) | st.sampled_from((1, rows // 2, rows)) | st.integers(0, rows)
    split = draw(st.integers(1, _most_splits(kernel, shape.tile.depth)))
    schedule = replace(
        shape,
        persistent=draw(st.sampled_from(Persistence)),
        order=draw(st.sampled_from(ExpertOrder)) if signature.row_grouped else ExpertOrder.INDEX,
        raster=Raster(draw(st.sampled_from(Along)), draw(st.integers(1, 9)), draw(st.booleans())),
        fuse_rows=draw(fuse) if signature.row_grouped else 0,
        split_k=split,
        require=draw(_requirements(kernel, split)),
    )
    found = check_schedule(kernel, schedule, None, target)
    assume(not any(diagnostic.severity is Severity.ERROR for diagnostic in found))
    return schedule


@st.composite
def _portable_shapes(draw: st.DrawFn, kernel: MoeKernel) -> Schedule:
    """Tiles of whole products for each warp."""
    signature = kernel.signature
    swap, consumers = draw(st.booleans()), draw(st.sampled_from((1, 2, 4)))
    shapes = _shapes(signature.compute, swap, consumers)
    columns = draw(st.sampled_from(sorted(shapes)))
    rows = draw(st.sampled_from(shapes[columns]))
    lower = [height for height in shapes[columns] if height < rows]
    tails: list[int] = []
    if signature.row_grouped and lower:
        tails = sorted(draw(st.sets(st.sampled_from(lower), max_size=3)), reverse=True)
    whole_units = bool(tails) and rows % tails[-1] == 0
    return Schedule(
        tile=TileShape(rows, columns, draw(st.sampled_from(_depths(signature.compute)))),
        tails=tuple(tails),
        balanced=whole_units and draw(st.booleans()),
        swap_ab=swap,
        stages=draw(st.integers(2, 5)),
        consumers=consumers,
    )


@cache
def _shapes(compute: Compute, swap_ab: bool, consumers: int) -> dict[int, list[int]]:
    """Tile columns, with the heights for which the warps get a whole grid."""
    step, warps = step_shape(compute, swap_ab), consumers * 128 // WARP
    shapes = {
        columns: [
            height
            for height in range(step.rows, LARGEST_TILE.rows + 1, step.rows)
            if share_tile(height, columns, warps, step)
        ]
        for columns in range(step.columns, LARGEST_TILE.columns + 1, step.columns)
    }
    return {columns: heights for columns, heights in shapes.items() if heights}


def _depths(compute: Compute) -> list[int]:
    least = LINE_BYTES[0] // element_bytes(compute)
    return [depth for depth in (16, 32, 64, 128) if depth >= least]


def _most_splits(kernel: MoeKernel, depth: int) -> int:
    """Parts of which each has a stage, 4 at most."""
    extents = (
        kernel.signature.index(op.over).extent for op in kernel.body if isinstance(op, Contract)
    )
    return min([4, *(ceil_div(extent, depth) for extent in extents if extent is not None)])


def _requirements(kernel: MoeKernel, split: int) -> st.SearchStrategy[tuple[Requirement, ...]]:
    """What can be proved of any schedule of ``kernel`` with ``split`` parts."""
    atomic = any(isinstance(op, Store) and op.accumulate and scattered(op) for op in kernel.body)
    provable: list[tuple[Requirement, ...]] = [()]
    if not atomic:
        provable.append((Requirement.DETERMINISTIC,))
        if kernel.signature.row_grouped and split == 1:
            provable.append((Requirement.DETERMINISTIC, Requirement.BATCH_INVARIANT))
    return st.sampled_from(provable)


@st.composite
def _batches(draw: st.DrawFn, kernel: MoeKernel, schedule: Schedule) -> Batch:
    signature = kernel.signature
    rows = draw(_rows(signature.expert_count, schedule))
    total = sum(rows)
    # Enough places for all rows to be scattered to, or too few.
    extents = st.integers(1, 20) | st.sampled_from((max(total, 1), total + 7, total // 2 + 1))
    wide = SMALL_EXTENTS if signature.expert_count > MANY_EXPERTS else EXTENTS
    sizes = {
        index.name: draw(wide if index.name == signature.columns else extents)
        for index in signature.dynamic
    }
    layouts = {}
    # Arrays that the copy engine cannot take are not for specialised warps.
    aligned = schedule.specialised and draw(st.integers(0, 3)) > 0
    for tensor in signature.tensors:
        if aligned and len(tensor.dims) > 1:
            last = signature.index(tensor.dims[-1])
            extent = last.extent or sizes.get(last.name, total)
            layouts[tensor.name] = Layout(padding=-extent % _whole(tensor))
        elif tensor.dims and draw(st.integers(0, 2)) == 2:
            layouts[tensor.name] = draw(_layouts(tensor))
    return Batch(
        rows=rows,
        mode=draw(st.sampled_from(Mode)),
        seed=draw(st.integers(0, 2**32 - 1)),
        sizes=sizes,
        spare_rows=draw(st.sampled_from((0, 0, 1, 9))),
        layouts=layouts,
    )


@st.composite
def _rows(draw: st.DrawFn, experts: int, schedule: Schedule) -> tuple[int, ...]:
    """Rows per expert: edges of the schedule's heights, all in one, Zipf, few in many."""
    heights = (*schedule.heights, *((schedule.fuse_rows,) if schedule.fuse_rows else ()))
    edges = sorted({0, 1, *(height + more for height in heights for more in (-1, 0, 1))})
    kind = draw(st.sampled_from(("edges", "few", "onehot", "zipf")))
    seed = draw(st.integers(0, 999))
    match kind:
        case "edges" if experts <= MANY_EXPERTS:
            count = st.sampled_from(edges) | st.integers(0, 2 * schedule.tile.rows + 3)
            rows = [draw(count) for _ in range(experts)]
        case "edges" | "few":
            rng = random.Random(seed)
            rows = [rng.choice((0, 0, 1, 1, 2, 3, rng.choice(edges))) for _ in range(experts)]
        case _:
            total = draw(st.sampled_from(edges) | st.integers(0, 400))
            rows = parse_rows(f"{kind}:{total}" + ":1.2" * (kind == "zipf"), experts, seed)
    assume(sum(rows) <= MOST_ROWS)
    return tuple(rows)


@st.composite
def _layouts(draw: st.DrawFn, tensor: Tensor) -> Layout:
    """Strides and a base that may or may not allow 16-byte accesses."""
    whole = _whole(tensor)
    steps = st.sampled_from((0, whole, 2 * whole)) | st.integers(0, 9)
    order = draw(st.permutations(range(len(tensor.dims))))
    return Layout(tuple(order), draw(steps), draw(st.sampled_from((1, 1, 1, 2))), draw(steps))


def _whole(tensor: Tensor) -> int:
    """Elements of 16 bytes."""
    return 16 // (2 if tensor.dtype in (DType.BF16, DType.F16) else 4)
