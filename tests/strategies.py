"""Random legal kernels and schedules, for every property test and fuzzer of the IR and backends.

Every kernel drawn here passes the verifier; :func:`legal_schedules` pass the legality rules too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from moedsl.fuzz.specialised import can_specialise, specialised_shapes
from moedsl.ir.core import (
    Access,
    Compute,
    Coordinate,
    DType,
    Index,
    IndexKind,
    Role,
    Tensor,
    Value,
)
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store
from moedsl.ir.module import Module, ScheduledKernel
from moedsl.ir.moe import Contract, MoeKernel, Signature
from moedsl.ir.schedule import (
    Along,
    Eviction,
    ExpertOrder,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.ir.verify import FACTOR_TYPE, domain_of
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.resources import LINE_BYTES, WARP, element_bytes, share_tile, step_shape
from moedsl.source.span import NOWHERE, Source, Span
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.ir.moe import MoeOp
    from moedsl.ir.tile import TileKernel
    from moedsl.target import Target

_T = TypeVar("_T")


def drawn(strategy: st.SearchStrategy[_T], seed: int, count: int) -> list[_T]:
    """Up to ``count`` examples, which depend on ``seed`` alone."""
    found: list[_T] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(example: _T) -> None:
        found.append(example)

    collect()
    return found


FLOATS = (DType.BF16, DType.F16, DType.F32)

spans = st.builds(
    lambda start, length: Span(start, start + length), st.integers(0, 999), st.integers(0, 99)
) | st.just(NOWHERE)

sources = st.none() | st.builds(Source, st.text(max_size=9), st.text(max_size=80))


@dataclass
class _Builder:
    """A kernel under construction."""

    draw: st.DrawFn
    indices: dict[str, Index]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    body: list[MoeOp] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def span(self) -> Span:
        return self.draw(spans)

    def tensor(self, name: str, role: Role, dtype: DType, dims: tuple[str, ...]) -> str:
        self.tensors[name] = Tensor(name, role, dtype, dims, self.span())
        return name

    def access(
        self, name: str, role: Role, dtype: DType, order: tuple[str, ...], via: str | None
    ) -> Access:
        """A new tensor over ``order``; with ``via``, that index goes through a map into ``t``."""
        dims = tuple("t" if index == via else index for index in order)
        self.tensor(name, role, dtype, dims)
        return Access(name, tuple(self.coordinate(index, index == via) for index in order))

    def coordinate(self, index: str, mapped: bool) -> Coordinate:
        if not mapped:
            return Coordinate(index)
        name = f"map{self.draw(st.integers(0, 1))}"
        if name not in self.tensors:
            self.tensor(name, Role.INPUT, DType.I32, (index,))
        if "t" not in self.indices:
            self.indices["t"] = Index("t", IndexKind.DYNAMIC, span=self.span())
        return Coordinate(index, name)

    def result(self, dims: tuple[str, ...]) -> Value:
        value = Value(f"v{len(self.values)}", dims)
        self.values.append(value)
        return value


@st.composite
def moe_kernels(
    draw: st.DrawFn,
    *,
    row_grouped: bool | None = None,
    computes: tuple[Compute, ...] = tuple(Compute),
    largest: int = 40,
    experts: int = 5,
    boxes: bool = False,
    source: Source | None = None,
) -> MoeKernel:
    """A kernel with extents up to ``largest`` and up to ``experts`` experts; None: either kind.

    Names: ``e m n k``; ``t`` is the dynamic extent that maps reach into (``map0``, ``map1``),
    ``k2`` the depth of some m-grouped contractions. Every store depends on a contraction. With
    ``boxes``, specialised warps can compute it.
    """
    compute = draw(st.sampled_from(computes))
    if boxes and compute is Compute.TF32:
        row_grouped = True
    grouped = draw(st.booleans()) if row_grouped is None else row_grouped

    def sized(name: str) -> Index:
        if draw(st.integers(0, 3)) == 0:
            return Index(name, IndexKind.DYNAMIC, span=draw(spans))
        return Index(name, IndexKind.FIXED, draw(st.integers(1, largest)), span=draw(spans))

    indices = {
        "e": Index("e", IndexKind.FIXED, draw(st.integers(1, experts)), span=draw(spans)),
        "m": Index("m", IndexKind.RAGGED, over="e", span=draw(spans)),
        "n": sized("n"),
        "k": sized("k"),
    }
    build = _Builder(draw, indices)
    rows, columns = ("m", "n") if grouped else ("n", "k")
    signature = Signature("kernel_1", (), (), compute, "e", "m", rows, columns, draw(spans))
    _contractions(build, signature, sized, boxes)
    contracted = list(build.values)
    _epilogue(build, signature)
    _stores(build, signature, contracted)
    complete = replace(
        signature, indices=tuple(build.indices.values()), tensors=tuple(build.tensors.values())
    )
    return MoeKernel(complete, tuple(build.body), source)


def _contractions(
    build: _Builder, signature: Signature, sized: Callable[[str], Index], boxes: bool
) -> None:
    draw: Any = build.draw

    def sometimes() -> bool:
        return bool(draw(st.integers(0, 3)) == 0)

    all_rows_mapped = boxes and signature.row_grouped and sometimes()
    # Of tf32 one side lies by depth. Rows do, but where they are mapped.
    by_depth = boxes and signature.compute is Compute.TF32 and all_rows_mapped

    def order_of(position: str, over: str) -> tuple[str, ...]:
        orders = [(position, over), (over, position)]
        if boxes:
            orders = [o for o in orders if (o[-1] == over if by_depth else o[-1] != "m")]
        return tuple(draw(st.sampled_from(orders)))

    dtype = FACTOR_TYPE[signature.compute]
    lefts: list[tuple[str, Access]] = []
    for number in range(draw(st.integers(1, 3))):
        if lefts and draw(st.booleans()):
            over, left = draw(st.sampled_from(lefts))
        else:
            over = "k" if signature.row_grouped else "m"
            if signature.row_grouped and draw(st.integers(0, 3)) == 0:
                over = "k2"
                build.indices.setdefault("k2", sized("k2"))
            order = order_of(signature.rows, over)
            via = "m" if (all_rows_mapped if boxes else sometimes()) else None
            left = build.access(f"x{number}", Role.INPUT, dtype, order, via)
            lefts.append((over, left))
        order = order_of(signature.columns, over)
        via = "m" if over == "m" and not boxes and sometimes() else None
        if signature.row_grouped and draw(st.integers(0, 4)):
            order = ("e", *order)
        right = build.access(f"w{number}", Role.INPUT, dtype, order, via)
        result = build.result(domain_of(signature))
        build.body.append(Contract(result, over, left, right, build.span()))


def _epilogue(build: _Builder, signature: Signature) -> None:
    draw = build.draw
    domain = ("e", signature.rows, signature.columns)
    for number in range(draw(st.integers(0, 5))):
        match draw(st.integers(0, 3)):
            case 0:
                dims = tuple(dim for dim in domain if draw(st.booleans()))
                if "m" in dims:  # a ragged row says which expert it belongs to
                    dims = tuple(dim for dim in dims if dim != "e")
                via = "m" if "m" in dims and draw(st.integers(0, 3)) == 0 else None
                dtype = draw(st.sampled_from(FLOATS))
                access = build.access(f"b{number}", Role.INPUT, dtype, dims, via)
                build.body.append(Load(build.result(dims), access, build.span()))
            case 1:
                # Representable in f32, as the language's own constants are after rounding.
                literal = draw(st.floats(-8, 8, width=32))
                build.body.append(Constant(build.result(()), literal, build.span()))
            case _:
                apply(build, draw(st.sampled_from(Function)))


def apply(build: _Builder, function: Function, first: Value | None = None) -> Value:
    """Append ``function`` of drawn values, the first of them ``first`` if given."""
    count = function.arity - (first is not None)
    drawn = [build.draw(st.sampled_from(build.values)) for _ in range(count)]
    operands = (*(() if first is None else (first,)), *drawn)
    dims = tuple(dict.fromkeys(dim for value in operands for dim in value.dims))
    result = build.result(dims)
    build.body.append(Apply(result, function, operands, build.span()))
    return result


def _stores(build: _Builder, signature: Signature, contracted: list[Value]) -> None:
    draw = build.draw
    for number in range(draw(st.integers(1, 2))):
        value = draw(st.sampled_from(contracted))
        if draw(st.booleans()):
            value = apply(build, draw(st.sampled_from((Function.ADD, Function.MUL))), value)
        accumulate = draw(st.integers(0, 2)) == 0
        via = "m" if signature.row_grouped and draw(st.integers(0, 3)) == 0 else None
        dtype = DType.F32 if accumulate and via else draw(st.sampled_from(FLOATS))
        role = Role.ACCUMULATED if accumulate else Role.OUTPUT
        access = build.access(f"y{number}", role, dtype, domain_of(signature), via)
        build.body.append(Store(value, access, accumulate, build.span()))


@st.composite
def schedules(
    draw: st.DrawFn,
    *,
    row_grouped: bool = True,
    compute: Compute = Compute.BF16,
    largest: int = 64,
    deepest: int = 64,
    splits: int = 3,
    clusters: tuple[tuple[int, int], ...] = ((1, 1),),
) -> Schedule:
    """A schedule of shapes that the portable path takes; its demands are not looked at.

    Tiles are up to ``largest`` in either direction, stages up to ``deepest``, parts ``splits``.
    More ``clusters``, of CTAs along rows and columns, are for those who look at the plan alone.
    """
    swap = draw(st.booleans())
    step = step_shape(compute, swap)
    consumers = draw(st.sampled_from((1, 2)))

    def heights(columns: int) -> list[int]:
        """Heights of which the warps get a whole grid each."""
        every = range(step.rows, largest + 1, step.rows)
        return [h for h in every if share_tile(h, columns, consumers * 128 // WARP, step)]

    every = range(step.columns, largest + 1, step.columns)
    columns = draw(st.sampled_from([width for width in every if heights(width)]))
    rows = draw(st.sampled_from(heights(columns)))
    tails: list[int] = []
    lower = [height for height in heights(columns) if height < rows]
    if lower:
        tails = sorted(draw(st.sets(st.sampled_from(lower), max_size=3)), reverse=True)
    cluster = draw(st.sampled_from(clusters))
    whole_units = bool(tails) and rows % tails[-1] == 0
    if cluster[0] > 1 and not whole_units:
        tails = []
    balanced = bool(tails) and whole_units and (cluster[0] > 1 or draw(st.booleans()))
    least = LINE_BYTES[0] // element_bytes(compute)
    depths = [depth for depth in (16, 32, 64, 128) if least <= depth <= max(deepest, least)]
    return Schedule(
        tile=TileShape(rows, columns, draw(st.sampled_from(depths))),
        tails=tuple(tails),
        balanced=balanced,
        swap_ab=swap,
        stages=draw(st.integers(2, 4)),
        consumers=consumers,
        cluster_rows=cluster[0],
        cluster_columns=cluster[1],
        persistent=draw(st.sampled_from(Persistence)),
        order=draw(st.sampled_from(ExpertOrder)) if row_grouped else ExpertOrder.INDEX,
        raster=Raster(draw(st.sampled_from(Along)), draw(st.integers(1, 9)), draw(st.booleans())),
        fuse_rows=draw(st.integers(0, rows)) if row_grouped else 0,
        split_k=draw(st.integers(1, splits)),
    )


@st.composite
def specialised_schedules(
    draw: st.DrawFn, kernel: MoeKernel, target: Target, largest: int = 128
) -> Schedule:
    """A schedule of specialised warps; the rest is what any schedule may have."""
    signature = kernel.signature
    shape = draw(specialised_shapes(kernel, target, largest))
    order = draw(schedules(row_grouped=signature.row_grouped, compute=signature.compute))
    return replace(
        shape,
        persistent=order.persistent,
        order=order.order,
        raster=order.raster,
        fuse_rows=min(order.fuse_rows, shape.tile.rows),
        split_k=order.split_k,
    )


def legal_schedules(
    kernel: MoeKernel, target: Target, largest: int = 64
) -> st.SearchStrategy[Schedule]:
    """Schedules that no legality rule refuses for ``kernel`` on ``target``, of either path."""
    signature = kernel.signature
    extents = [
        signature.index(op.over).extent or 1 for op in kernel.body if isinstance(op, Contract)
    ]
    drawn: st.SearchStrategy[Schedule] = schedules(
        row_grouped=signature.row_grouped,
        compute=signature.compute,
        largest=largest,
        splits=min(3, max(1, min(extents) // 32)),
    )
    if can_specialise(kernel, target):
        drawn |= specialised_schedules(kernel, target)
    return drawn.filter(lambda schedule: not check_schedule(kernel, schedule, None, target))


@st.composite
def scheduled_kernels(draw: st.DrawFn, source: Source | None = None) -> ScheduledKernel:
    """A kernel with a schedule and target, before it is cut into tiles."""
    kernel = draw(moe_kernels(source=source))
    signature = kernel.signature
    schedule = draw(schedules(row_grouped=signature.row_grouped, compute=signature.compute))
    schedule = replace(
        schedule,
        row_eviction=draw(st.sampled_from(Eviction)),
        column_eviction=draw(st.sampled_from(Eviction)),
    )
    target = draw(st.sampled_from(sorted(TARGETS)))
    return ScheduledKernel(signature, target, schedule, kernel.body, kernel.source)


@st.composite
def tile_kernels(draw: st.DrawFn, source: Source | None = None) -> TileKernel:
    """A kernel of the tile level."""
    chosen = draw(scheduled_kernels(source))
    return build_tile(chosen.kernel, chosen.schedule, TARGETS[chosen.target])


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """A module of one kernel at any built-in level, with or without its source text."""
    source = draw(sources)
    level = draw(st.sampled_from(("moe", "scheduled", "tile")))
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "moe": moe_kernels(source=source),
        "scheduled": scheduled_kernels(source),
        "tile": tile_kernels(source),
    }
    kernel = draw(kinds[level])
    return Module(level, (kernel,), source)
