"""Cases of the copy engine: boxes of tensors in all dimensions and swizzles, bulk copies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.cuda.tensor_map import TensorFill, TensorMap, TensorSwizzle
from moedsl.backends.emulator.process import Grid
from moedsl.ir.core import DType
from tests.conformance.case import Case, Random

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Arrays

_BLOCKS = 32
_ROUNDS = 20
_VECTORS = _BLOCKS * _ROUNDS
_FAR = 2**30


def cases() -> Iterator[Case]:
    """All of them."""
    for number, layout in enumerate(_layouts()):
        yield _load(number, layout)
        yield _store(number, layout)
    # The other elements that are outside a tensor, and boxes that skip elements.
    for number, layout in enumerate(_layouts()):
        if number % 4 == 3:
            yield _load(number, replace(layout, fill=TensorFill.NAN))
        if layout.rank > 2 and number % 2:
            steps = (1, 2, 3, 1, 2)[: layout.rank]
            yield _load(number, replace(layout, steps=steps))
    for size in (2, 4):
        yield _multicast(size)
    yield _bulk()


@dataclass(frozen=True)
class Layout:
    """A small tensor and its box, ``depth`` elements in the outermost dimension if given."""

    dtype: DType
    rank: int
    swizzle: TensorSwizzle
    narrow: bool = False
    odd: bool = False
    depth: int = 0
    fill: TensorFill = TensorFill.ZEROS
    steps: tuple[int, ...] = ()

    @property
    def row(self) -> int:
        """Bytes of a row of the box."""
        widest = int(self.swizzle) or 96
        return 16 if self.narrow else widest

    @property
    def box(self) -> tuple[int, ...]:
        """Elements of the box."""
        outer = (9, 3, 2, 2)[: self.rank - 1]
        if self.depth:
            outer = (*outer[:-1], self.depth)
        return (self.row // self.dtype.bytes, *outer)

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements of the tensor: no multiples of the box, nor of 16 bytes if ``odd``."""
        return (2 * self.box[0] + self.rest, *(21, 7, 5, 3)[: self.rank - 1])

    @property
    def rest(self) -> int:
        """Elements by which a row of the tensor is more than a multiple of the box."""
        return 3 if self.odd else 16 // self.dtype.bytes

    def map_of(self, shape: tuple[int, ...]) -> TensorMap:
        """The map of a tensor of this shape whose rows have a little padding."""
        strides = [(shape[0] * self.dtype.bytes + 31) // 16 * 16]
        for extent in shape[1:-1]:
            strides.append(strides[-1] * extent + 16)
        return TensorMap(
            self.dtype, shape, tuple(strides), self.box, self.steps, self.swizzle, self.fill
        )

    def __str__(self) -> str:
        words = [f"{self.rank}d", f"swizzle-{int(self.swizzle)}", str(self.dtype)]
        words += (
            ["odd"] * self.odd + ["narrow"] * self.narrow + ["nan"] * (self.fill is TensorFill.NAN)
        )
        return " ".join(words)


def _layouts() -> Iterator[Layout]:
    """Every number of dimensions with every swizzle."""
    for rank in (2, 3, 4, 5):
        for place, swizzle in enumerate(TensorSwizzle):
            dtype = (DType.BF16, DType.F32, DType.F16)[(rank + place) % 3]
            narrow, odd = swizzle is TensorSwizzle.NONE and rank == 5, (rank + place) % 2 == 1
            yield Layout(dtype, rank, swizzle, narrow=narrow, odd=odd)


def _tensor_words(description: TensorMap) -> int:
    return description.strides[-1] * description.shape[-1] // 4


def _boxes(random: Random, layout: Layout, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Corners of boxes: most boxes touch the tensor, many cross its edge, a few are far away.

    The innermost coordinate is a multiple of 16 bytes: with any other an H200 has stopped.
    """
    corners = [
        random.integers(-box, extent, _VECTORS)
        for box, extent in zip(layout.box, shape, strict=True)
    ]
    far = np.where(random.words(_VECTORS) % 2, _FAR, -_FAR)
    corners[0] = np.where(random.words(_VECTORS) % 32 == 0, far, corners[0])
    corners[0] -= corners[0] % (16 // layout.dtype.bytes)
    return np.stack(corners, axis=1).astype(np.int32)


def _box_expression(rank: int) -> str:
    loads = ", ".join(f"global_load(a.corner + vector * {rank} + {i})" for i in range(rank))
    return f"Box<{rank}>{{{{{loads}}}}}"


def _load(number: int, layout: Layout) -> Case:
    description = layout.map_of(layout.shape)
    words = description.box_bytes // 4
    offset = 1024 + 128 * (number % 8)
    body = f"""
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    if (thread_index() == 0) {{
        prefetch_map(a.map);
        barrier_init(0, 1);
        fence_barrier_init();
    }}
    sync_cta();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round;
        if (thread_index() == 0) {{
            barrier_arrive_expect(0, {description.box_bytes});
            tensor_load({offset}, a.map, {_box_expression(layout.rank)}, 0);
        }}
        barrier_wait(0, round & 1);
        for (int i = thread_index(); i < {words}; i += 128) {{
            global_store(a.result + vector * {words} + i, shared_load<u32>({offset} + i * 4));
        }}
        sync_cta();
    }}
}}"""

    def inputs(random: Random) -> Arrays:
        return {
            "tensor": random.words(_tensor_words(description)),
            "corner": _boxes(random, layout, layout.shape),
        }

    return Case(
        name=f"{'tensor_load_steps' if layout.steps else 'tensor_load'} {layout}",
        body=body,
        grid=Grid(_BLOCKS, 128, 2048 + description.box_bytes),
        vectors=_VECTORS,
        inputs=inputs,
        outputs={"result": ((_VECTORS, words), "uint32")},
        maps={"map": ("tensor", description)},
        launches=3 if layout.steps else 1,
    )


def _store(number: int, layout: Layout) -> Case:
    # The outermost index keeps vectors apart; in two dimensions it counts rows of all of them.
    if layout.rank > 2:
        layout = replace(layout, depth=1)
    room = layout.box[-1] + (3 if layout.rank == 2 else 1)
    shape = (
        layout.box[0] + layout.rest,
        *(extent + 2 for extent in layout.box[1:-1]),
        _VECTORS * room,
    )
    description = layout.map_of(shape)
    words = description.box_bytes // 4
    offset = 1024 + 128 * (number % 8)
    body = f"""
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round;
        for (int i = thread_index(); i < {words}; i += 128) {{
            shared_store({offset} + i * 4, global_load(a.data + vector * {words} + i));
        }}
        fence_async();
        sync_cta();
        if (thread_index() == 0) {{
            tensor_store(a.map, {_box_expression(layout.rank)}, {offset});
            bulk_commit();
            bulk_wait_read<0>();
        }}
        sync_cta();
    }}
    if (thread_index() == 0) bulk_wait<0>();
}}"""

    def inputs(random: Random) -> Arrays:
        corners = _boxes(random, layout, shape)
        # An H100 has stopped at stores that begin before a tensor, or far away from it.
        unit = 16 // layout.dtype.bytes
        corners[:, 0] = np.clip(corners[:, 0], 0, shape[0] // unit * unit)
        corners[:, 1:] = np.maximum(corners[:, 1:], 0)
        own = np.arange(_VECTORS) * room
        corners[:, -1] = own + random.integers(0, room - layout.box[-1], _VECTORS)
        corners[0, -1], corners[-1, -1] = own[0], own[-1]
        return {"data": random.words(_VECTORS, words), "corner": corners}

    return Case(
        name=f"tensor_store {layout}",
        body=body,
        grid=Grid(_BLOCKS, 128, 2048 + description.box_bytes),
        vectors=_VECTORS,
        inputs=inputs,
        outputs={"tensor": ((_tensor_words(description),), "uint32")},
        maps={"map": ("tensor", description)},
    )


def _multicast(size: int) -> Case:
    # Every CTA sends a box to a random set of ranks; the sets are known to all.
    layout = Layout(DType.BF16, 2, TensorSwizzle.B64)
    description = layout.map_of(layout.shape)
    words, slot = description.box_bytes // 4, -(-description.box_bytes // 1024) * 1024
    body = f"""
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int rank = cluster_rank();
    if (thread_index() == 0) {{
        barrier_init(0, 1);
        fence_barrier_init();
    }}
    sync_cluster();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round;
        const int group = (cta_index() / {size} * {_ROUNDS} + round) * {size};
        int boxes = 0;
        for (int i = 0; i < {size}; ++i) boxes += global_load(a.ranks + group + i) >> rank & 1;
        if (thread_index() == 0) {{
            const u16 ranks = static_cast<u16>(global_load(a.ranks + group + rank));
            barrier_arrive_expect(0, boxes * {description.box_bytes});
            if (ranks) {{
                tensor_load_multicast(1024 + rank * {slot}, a.map, {_box_expression(2)}, 0, ranks);
            }}
        }}
        barrier_wait(0, round & 1);
        for (int from = 0; from < {size}; ++from) {{
            if (!(global_load(a.ranks + group + from) >> rank & 1)) continue;
            for (int i = thread_index(); i < {words}; i += 128) {{
                global_store(a.result + (vector * {size} + from) * {words} + i,
                             shared_load<u32>(1024 + from * {slot} + i * 4));
            }}
        }}
        sync_cluster();
    }}
}}"""

    def inputs(random: Random) -> Arrays:
        return {
            "tensor": random.words(_tensor_words(description)),
            "corner": _boxes(random, layout, layout.shape),
            "ranks": random.integers(0, 2**size - 1, _VECTORS),
        }

    return Case(
        name=f"tensor_load_multicast to {size}",
        body=body,
        grid=Grid(_BLOCKS, 128, 1024 + size * slot, resident=size, cluster=size),
        vectors=_VECTORS,
        inputs=inputs,
        outputs={"result": ((_VECTORS, size, words), "uint32")},
        maps={"map": ("tensor", description)},
        launches=8,
    )


def _bulk() -> Case:
    # Sizes and offsets count 16 bytes.
    most, room = 64, 80
    body = f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index();
    if (lane == 0) {{
        barrier_init(0, 1);
        fence_barrier_init();
    }}
    sync_cta();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round;
        const int size = global_load(a.size + vector) * 16;
        const u32 offset = 16 + global_load(a.offset + vector) * 16;
        if (lane == 0) {{
            barrier_arrive_expect(0, size);
            bulk_load(offset, a.data + 4 * global_load(a.start + vector), size, 0);
        }}
        barrier_wait(0, round & 1);
        for (int i = lane * 4; i < size; i += 128) {{
            shared_store(offset + i, shared_load<u32>(offset + i) + 1);
        }}
        fence_async();
        sync_warp();
        if (lane == 0) {{
            bulk_store(a.result + (vector * {room} + global_load(a.place + vector)) * 4, offset,
                       size);
            bulk_commit();
            bulk_wait_read<0>();
        }}
        sync_warp();
    }}
    if (lane == 0) bulk_wait<0>();
}}"""

    def inputs(random: Random) -> Arrays:
        return {
            "data": random.words(4 * 4096),
            "size": random.integers(1, most, _VECTORS),
            "offset": random.integers(0, 15, _VECTORS),
            "start": random.integers(0, 4096 - most, _VECTORS),
            "place": random.integers(0, room - most, _VECTORS),
        }

    return Case(
        name="bulk load and store",
        body=body,
        grid=Grid(_BLOCKS, 32, 2048),
        vectors=_VECTORS,
        inputs=inputs,
        outputs={"result": ((_VECTORS, room, 4), "uint32")},
        launches=16,
    )
