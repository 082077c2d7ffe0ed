"""Tensor maps: which ones a kernel takes, and the boxes that it copies through them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import gcd
from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import TensorMapOf
from moedsl.backends.cuda.emission.writer import identifier
from moedsl.backends.cuda.gpu import Copy, CopyWay, Fill, RoleName, Side
from moedsl.backends.cuda.tensor_map import TensorSwizzle
from moedsl.ir.core import Compute
from moedsl.ir.elementwise import Store
from moedsl.ir.schedule import EpilogueStore
from moedsl.lower.propose_specialised import DECODE
from moedsl.lower.resources.specialised import BLOCK_BYTES, block_depth, panel, staged_part

if TYPE_CHECKING:
    from moedsl.backends.cuda.gpu import Buffer, GpuKernel
    from moedsl.ir.core import Access
    from moedsl.ir.schedule import Schedule


@dataclass(frozen=True, slots=True)
class MapArray:
    """Field ``name`` of the argument struct: maps of one tensor that differ in their boxes."""

    name: str
    maps: tuple[TensorMapOf, ...]


def map_arrays(kernel: GpuKernel) -> tuple[MapArray, ...]:
    """All maps of ``kernel``, in the order of the struct."""
    loads = [
        MapArray(map_name(copy), _load_maps(kernel, fill, copy))
        for fill, copy in tensor_copies(kernel)
    ]
    stores = [
        MapArray(store_map_name(store), (_store_map(kernel, store),))
        for store in tensor_stores(kernel)
    ]
    return (*loads, *stores)


def tensor_stores(kernel: GpuKernel) -> tuple[Store, ...]:
    """The stores that the copy engine does."""
    if kernel.epilogue.store is not EpilogueStore.TMA:
        return ()
    return tuple(op for op in kernel.epilogue.body if isinstance(op, Store))


def store_map_name(store: Store) -> str:
    """The struct's field for the map of an output."""
    return f"{identifier(store.access.tensor)}_store_map"


def store_box(kernel: GpuKernel, store: Store) -> tuple[int, int]:
    """Rows and columns of a box of an output: all rows of a part, and of its columns as many as a
    line of shared memory holds and divide those of every consumer, whose next is another's.
    """
    rows, columns = staged_part(kernel.schedule.swap_ab)
    widest = BLOCK_BYTES // kernel.signature.tensor(store.access.tensor).dtype.bytes
    tile = kernel.schedule.tile.columns
    shares = (tile // layout.columns for layout in kernel.resources.layouts)
    return rows, gcd(columns, widest, *shares)


def store_clip(kernel: GpuKernel, store: Store) -> int | None:
    """The dimension of rows: a box must not reach into the next tile's."""
    return store.access.position(kernel.signature.rows)


def tensor_copies(kernel: GpuKernel) -> tuple[tuple[Fill, Copy], ...]:
    """The copies that the copy engine does, each with the sum it feeds."""
    if not kernel.schedule.specialised:
        return ()
    return tuple(
        (fill, copy)
        for name in (RoleName.COLUMNS, RoleName.ROWS)
        for fill in kernel.role(name).body
        if isinstance(fill, Fill)
        for copy in fill.body
        if copy.way is CopyWay.TENSOR
    )


def map_name(copy: Copy) -> str:
    """The struct's field for the maps of one copy."""
    return f"{identifier(copy.buffer)}_map"


class Sharing(StrEnum):
    """For which tiles the CTAs of a cluster share a block, of which each then brings in a part: a
    condition in the emitted code.
    """

    NEVER = "false"
    ALWAYS = "true"
    ONE_BELOW_THE_OTHER = "tile.below > 0"
    SIDE_BY_SIDE = "tile.below == 0"

    @property
    def varies(self) -> bool:
        """Whether it depends on the tile."""
        return self not in (Sharing.NEVER, Sharing.ALWAYS)


def sharing(schedule: Schedule, buffer: Buffer) -> Sharing:
    """When a block of ``buffer`` is shared."""
    rows = buffer.side is Side.ROWS
    if schedule.cluster_rows > 1:
        return Sharing.SIDE_BY_SIDE if rows else Sharing.ONE_BELOW_THE_OTHER
    return Sharing.ALWAYS if rows and schedule.cluster > 1 else Sharing.NEVER


def clip_of(kernel: GpuKernel, fill: Fill, copy: Copy) -> int | None:
    """The dimension whose end the coordinates say: a ragged depth, whose rows must not run into
    the next expert's.
    """
    return copy.access.position(fill.over) if fill.over == kernel.signature.ragged else None


def coordinates(access: Access, at: dict[str, str], clip: int | None, end: str) -> list[str]:
    """Of a box, innermost first: ``at`` says where each index of ``access`` stands."""
    dims = list(enumerate(access.coordinates))[::-1]
    found = [
        f"moe::clipped({at[c.index]}, {end})" if dim == clip else at[c.index] for dim, c in dims
    ]
    return found if clip is None else [*found, end, "moe::kClip"]


def _load_maps(kernel: GpuKernel, fill: Fill, copy: Copy) -> tuple[TensorMapOf, ...]:
    buffer = kernel.buffer(copy.buffer)
    clip = clip_of(kernel, fill, copy)
    tf32 = kernel.signature.compute is Compute.TF32
    heights = kernel.schedule.heights if buffer.side is Side.ROWS else (buffer.positions,)
    shares = tuple(height // kernel.schedule.cluster for height in heights)
    positions: tuple[int, ...] = (panel(kernel.signature.compute),)
    if buffer.depth_inner:
        match sharing(kernel.schedule, buffer):
            case Sharing.NEVER:
                positions = heights
            case Sharing.ALWAYS:
                positions = shares
            case _:
                positions = (*heights, *shares)
    few_rows = _few_rows(kernel)
    return tuple(
        TensorMapOf(
            copy.access.tensor, _box(kernel, fill, copy.access, extent), clip, tf32, few_rows
        )
        for extent in positions
    )


def _few_rows(kernel: GpuKernel) -> bool:
    """Whether tiles are what defaults take for few rows an expert, and no rows are gathered."""
    schedule = kernel.schedule
    low = schedule.cluster_rows > 1 or schedule.tile.rows <= DECODE.rows
    return low and not kernel.role(RoleName.ROWS).gathers


def _store_map(kernel: GpuKernel, store: Store) -> TensorMapOf:
    signature, tensor = kernel.signature, kernel.signature.tensor(store.access.tensor)
    rows, columns = store_box(kernel, store)
    sizes = {signature.rows: rows, signature.columns: columns}
    box = tuple(sizes.get(coordinate.index, 1) for coordinate in store.access.coordinates)
    line = columns * tensor.dtype.bytes
    swizzle = TensorSwizzle(line) if line >= TensorSwizzle.B32 else TensorSwizzle.NONE
    return TensorMapOf(tensor.name, box, store_clip(kernel, store), swizzle=swizzle)


def _box(kernel: GpuKernel, fill: Fill, access: Access, positions: int) -> tuple[int, ...]:
    """Elements of each dimension of the tensor: depth, positions, and one expert."""
    experts = kernel.signature.experts
    sizes = {fill.over: block_depth(kernel.signature.compute), experts: 1}
    return tuple(sizes.get(coordinate.index, positions) for coordinate in access.coordinates)
