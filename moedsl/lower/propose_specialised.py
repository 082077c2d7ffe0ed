"""Schedules for specialised warps that are worth trying, the fastest on an H100 and an H200 first.

Weights take the tensor core's tall side and rows its flat one, so that tiles of any multiple of 16
rows exist, and an expert's rows are shared evenly among them; but for rows of tf32 that come
through a map, which only the tall side can be. Consumers take turns: one multiplies while the other
stores. Where other rows come through a map they compute wider tiles together. What a request gives
of this is kept, and the rest follows.

Where experts have a few row tiles, the busiest unit of an H100 is the path between the halves of
its L2 cache, and DRAM is next. There clusters lie along the rows, so that two row tiles read their
weights once, and experts of several row tiles, which are bound by arithmetic, are mixed with the
others, which are bound by memory, a few tiles at a time that share operands. What is read once
then leaves L2 first, else the others' operands come from DRAM again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from moedsl.ir.core import IndexKind
from moedsl.ir.elementwise import Apply, Load
from moedsl.ir.moe import Contract
from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.lower.resources.specialised import (
    GROUP,
    MOST_BOX,
    TALL,
    block_depth,
    flat_obstacle,
    fragment_registers,
    gathered,
    kernel_obstacle,
    most_flat,
    starting_registers,
    store_obstacle,
)
from moedsl.lower.rules.demand import REGISTERS, STAGES
from moedsl.target import TARGETS
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moedsl.ir.core import Tensor
    from moedsl.ir.moe import MoeKernel

UNIT = 16
"""Rows by which heights differ: 8 for each CTA of a cluster of two."""
_FRAGMENT_UNIT = 32
"""The same where weights come from registers: with 16, cold compilation took 3.4 s (two cores)."""
_OTHER_REGISTERS = 40
"""Of a consumer, what sums leave to addresses and loop state."""
_EPILOGUE_REGISTERS = 16
"""Those that an epilogue that computes takes besides, and once more where it combines several sums
with what it loads.
"""
_PRODUCER_REGISTERS, _COPYING_REGISTERS = 32, 56
"""What a producer needs at least, and one that copies rows of a map by itself."""
_MOST_ROWS_ALONE = 128
"""Of a tile of the only consumer of a CTA: two CTAs share the SM."""
_WIDE_ROWS = (128, 112, 96)
"""Of a tile twice as wide, the most that leave room for _WIDE_STAGES beside what is stored."""
_WIDE_STAGES = 4
"""Three do not hide how long copies take."""
_LEAST_ROWS = 32
_GROUP, _KEPT_GROUP, _MIXED_GROUP = 16, 8, 4
"""Row tiles that walk through the columns together: they share weights in L2. Fewer where tiles of
other experts come in between, and more would be gone from L2 before they are needed again; half as
many where these others' weights leave first. With rows that come through a map more took up to 1 %
off (H200).
"""
_HOPPER = TARGETS["sm_90a"]
"""The only target with specialised warps."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``rows`` are the most of a tile, ``stages`` the most and the fewest worth having.

    With ``paired`` experts may have two row tiles, and few have many; with ``kept``, what these few
    read stays in L2 before what is read once.
    """

    rows: int
    stages: tuple[int, int]
    paired: bool = False
    kept: bool = False


MANY = Shape(192, (5, 3))
SEVERAL = Shape(192, (5, 3), paired=True, kept=True)
FEW = Shape(128, (6, 3), paired=True)
DECODE = Shape(32, (8, 3))


def propose_specialised(
    kernel: MoeKernel, shape: Shape, given: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Schedule]:
    """Schedules of ``shape`` for ``kernel``, clusters and deep pipelines first, which suit what is
    ``given`` of warps, registers and swap_ab; none if specialised warps cannot compute it, or,
    unless registers are given, only for arrays with padded strides.
    """
    if kernel_obstacle(kernel) or not (given.get("consumer_registers") or _aligned(kernel)):
        return
    swap_ab: bool = given.get("swap_ab", not flat_obstacle(kernel, swap_ab=True))
    if shape is not DECODE and swap_ab and _profits_from_width(kernel, shape, given):
        for rows in _WIDE_ROWS:
            stages = _WIDE_STAGES, _WIDE_STAGES
            wide = replace(shape, rows=min(rows, shape.rows), stages=stages)
            yield from _propose(kernel, wide, swap_ab, given, wide=True)
    yield from _propose(kernel, shape, swap_ab, given, wide=False)


def _propose(
    kernel: MoeKernel, shape: Shape, swap_ab: bool, given: Mapping[str, Any], *, wide: bool
) -> Iterator[Schedule]:
    """``wide``: consumers compute a tile of twice the columns together."""
    consumers: int = given.get("consumers", 2)
    shared = not any(gathered(op.lhs) for op in kernel.body if isinstance(op, Contract))
    usual = Cooperation.COOPERATIVE if wide or consumers == 1 else Cooperation.PINGPONG
    cooperation: Cooperation = given.get("cooperation", usual)
    sharing = consumers if cooperation is Cooperation.COOPERATIVE else 1
    producer, consumer = registers_for(consumers, copying=not shared)
    room = given.get("consumer_registers", consumer) - _OTHER_REGISTERS
    if not wide:
        room -= _epilogue_registers(kernel, shared=shared)
    start = _start((1 if shared else 2) + consumers)
    both = wide or sharing == 1
    fragments = _fragment_registers(kernel, swap_ab)
    step = _FRAGMENT_UNIT if fragments and shape is not DECODE else UNIT
    step = step if swap_ab else sharing * TALL
    limits = room, most_flat(start, fragments), step
    tile = _tile(kernel, shape, limits, consumers, sharing, swap_ab, both=both)
    if tile is None:
        return
    stores = _stores(kernel, swap_ab)
    most, fewest = shape.stages
    fewest = fewest if consumers > 1 else STAGES[0]
    for cluster in _clusters(kernel, shape, tile, given, shared=shared):
        paired = cluster[0] > 1
        mixed = paired and shape.paired and kernel.signature.row_grouped
        kept = mixed and shape.kept and shared
        group = _KEPT_GROUP if kept else _MIXED_GROUP if mixed and shared else _GROUP
        for stages, store in product(range(most, fewest - 1, -1), stores):
            yield Schedule(
                tile=tile,
                tails=tuple(range(tile.rows - step, 0, -step)),
                balanced=True,
                swap_ab=swap_ab,
                stages=stages,
                consumers=consumers,
                cooperation=cooperation,
                producer_registers=producer,
                consumer_registers=consumer,
                cluster_rows=cluster[0],
                cluster_columns=cluster[1],
                row_eviction=Eviction.LAST if paired and shared else Eviction.NORMAL,
                column_eviction=Eviction.ONCE if kept else Eviction.NORMAL,
                persistent=Persistence.DYNAMIC,
                order=ExpertOrder.INTERLEAVED if mixed else ExpertOrder.INDEX,
                raster=Raster(Along.ROWS, group),
                epilogue_store=store,
            )


def _clusters(
    kernel: MoeKernel, shape: Shape, tile: TileShape, given: Mapping[str, Any], *, shared: bool
) -> Iterator[tuple[int, int]]:
    """CTAs along rows and columns. Rows that come through a map are not ``shared``: pairs share
    the columns, unless there are few rows and hardly a pair.
    """
    if given.keys() & {"cluster_rows", "cluster_columns"}:
        yield given.get("cluster_rows", 1), given.get("cluster_columns", 1)
        return
    if _several_columns(kernel, tile.columns):
        uneven = given.get("tails") and not given.get("balanced")
        if (shape.paired or not (shared or shape is DECODE)) and not uneven:
            yield 2, 1
        if shared:
            yield 1, 2
    yield 1, 1


def registers_for(consumers: int, *, copying: bool) -> tuple[int, int]:
    """Registers of producers and consumers that use up what their CTA starts with."""
    producers, least = (2, _COPYING_REGISTERS) if copying else (1, _PRODUCER_REGISTERS)
    start = _start(producers + consumers)
    pool = start * (producers + consumers)
    consumer = min((pool - producers * least) // consumers // 8 * 8, REGISTERS[1])
    return min((pool - consumers * consumer) // producers // 8 * 8, start), consumer


def _start(groups: int) -> int:
    """Registers that the threads of so many warpgroups start with. Two alone could not use all
    registers of the SM: two CTAs share them.
    """
    return starting_registers(_HOPPER, GROUP * groups * (2 if groups == 2 else 1))


def _tile(
    kernel: MoeKernel,
    shape: Shape,
    limits: tuple[int, int, int],
    consumers: int,
    sharing: int,
    swap_ab: bool,
    *,
    both: bool,
) -> TileShape | None:
    """The largest tile for ``sharing`` consumers, each of which takes one tall block of it, or two
    if ``both`` and there is one sum.

    ``limits`` are what each has: registers for sums, and flat positions of a product; and the rows
    by which heights differ.
    """
    room, widest, step = limits
    sums = _sums(kernel)
    tall = 2 if sums == 1 and both and (swap_ab or shape.rows > TALL) else 1
    room -= tall * _fragment_registers(kernel, swap_ab)
    flat = min(room * GROUP // (sums * tall * TALL), widest)
    depth = block_depth(kernel.signature.compute)
    if not swap_ab:
        columns = min(flat, GROUP * sharing, MOST_BOX) // TALL * TALL
        return TileShape(tall * sharing * TALL, columns, depth) if columns else None
    most = shape.rows if consumers > 1 else min(shape.rows, _MOST_ROWS_ALONE)
    rows = min(most, flat) // step * step
    fits = rows >= min(_LEAST_ROWS, shape.rows)
    return TileShape(rows, tall * sharing * TALL, depth) if fits else None


def _fragment_registers(kernel: MoeKernel, swap_ab: bool) -> int:
    """Of 64 tall positions: all weights have their own, and rows one for all sums."""
    contracts = [op for op in kernel.body if isinstance(op, Contract)]
    rows = dict.fromkeys((op.lhs, op.over) for op in contracts)
    columns = [(op.rhs, op.over) for op in contracts]
    return fragment_registers(columns if swap_ab else rows, kernel.signature.compute)


def _sums(kernel: MoeKernel) -> int:
    return sum(isinstance(op, Contract) for op in kernel.body)


def _epilogue_registers(kernel: MoeKernel, *, shared: bool) -> int:
    """What the epilogue takes of those that sums leave, as compiled kernels show it. Where rows are
    not ``shared`` consumers have 32 fewer, and of one sum and up to one load nothing spills.
    """
    loads = sum(isinstance(op, Load) for op in kernel.body)
    if not any(isinstance(op, Apply) for op in kernel.body):
        return 0
    if not shared and _sums(kernel) == 1 and loads <= 1:
        return 0
    return _EPILOGUE_REGISTERS * (2 if loads and _sums(kernel) > 1 else 1)


def _profits_from_width(kernel: MoeKernel, shape: Shape, given: Mapping[str, Any]) -> bool:
    """Whether two consumers should, and may, compute a tile of twice the columns together: its rows
    come through a map. That halves the copies of 16 bytes, which else fall behind the products.

    But nobody multiplies while functions are computed that take long: where there are many, one of
    every sum, or all experts have many rows, consumers had better take turns. silu of one sum took
    5 to 16 % less time so, and 2 % more with one hot expert; of two sums 4 to 6 % less with 1024
    and 2048 rows an expert, and with fewer 7 % more to 8 % less (H200).
    """
    contracts = [op for op in kernel.body if isinstance(op, Contract)]
    slow = any(isinstance(op, Apply) and op.function.transcendental for op in kernel.body)
    if slow and "cooperation" not in given and (len(contracts) == 1 or not shape.paired):
        return False
    return (
        any(gathered(op.lhs) for op in contracts)
        and _several_columns(kernel, TALL * (2 if len(contracts) == 1 else 1))
        and given.get("consumers", 2) == 2
        and given.get("cooperation", Cooperation.COOPERATIVE) is Cooperation.COOPERATIVE
    )


def _several_columns(kernel: MoeKernel, columns: int) -> bool:
    """Whether an even number of tiles covers the columns nearly as well as an odd one."""
    extent = kernel.signature.index(kernel.signature.columns).extent
    tiles = 2 if extent is None else ceil_div(extent, columns)
    return tiles % 2 == 0 or tiles > 8


def _aligned(kernel: MoeKernel) -> bool:
    """Whether the rows of contiguous operands start at multiples of 16 bytes."""
    signature = kernel.signature
    operands = {
        a.tensor for op in kernel.body if isinstance(op, Contract) for a in (op.lhs, op.rhs)
    }
    return all(_vectors(kernel, signature.tensor(name)) for name in operands)


def _vectors(kernel: MoeKernel, tensor: Tensor) -> bool:
    last = kernel.signature.index(tensor.dims[-1])
    if last.extent is None:
        return last.kind is IndexKind.DYNAMIC
    return last.extent * tensor.dtype.bytes % 16 == 0


def _stores(kernel: MoeKernel, swap_ab: bool) -> tuple[EpilogueStore, ...]:
    """Ways to store, the best first: the copy engine's if it can store every output, and loads of
    whole matrices do not stand in its way. They are read element by element where outputs leave
    registers directly. Without swap_ab it should not take room from a stage.
    """
    if store_obstacle(kernel) or any(_whole_matrix(kernel, op) for op in kernel.body):
        return (EpilogueStore.STAGED,)
    return (EpilogueStore.TMA,) if swap_ab else (EpilogueStore.TMA, EpilogueStore.STAGED)


def _whole_matrix(kernel: MoeKernel, op: object) -> bool:
    dims = {kernel.signature.rows, kernel.signature.columns}
    return isinstance(op, Load) and dims <= set(op.access.indices)
