"""Boxes that end where their coordinates say: loaded with zeros behind it, stored up to it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from moedsl.arrays import ArrayView
from moedsl.backends.cuda.abi import TensorMapOf
from moedsl.backends.cuda.tensor_map import CLIP_EXTENT, map_of
from moedsl.backends.emulator.process import Grid
from moedsl.ir.core import DType
from moedsl.work import ceil_div
from tests.conformance.case import UNWRITTEN, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from moedsl.backends.cuda.tensor_map import TensorMap
    from tests.conformance.case import Arrays, Random

_BLOCKS, _ROUNDS = 16, 20
_VECTORS = _BLOCKS * _ROUNDS
_PITCH = 80
_UNIT = 8
"""Elements of 16 bytes, of which a row is stored to the last one that it begins."""
_STAGE = 1024


@dataclass(frozen=True)
class Clip:
    """A tensor of bf16 and the box of it that is copied, clipped in one dimension."""

    name: str
    shape: tuple[int, ...]
    box: tuple[int, ...]
    clip: int

    @property
    def room(self) -> int:
        """Positions in the result's clipped dimension that belong to one vector."""
        return self.box[self.clip] + 2

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the result, in which vectors lie side by side in the clipped dimension."""
        shape = list(self.shape)
        shape[self.clip] = _VECTORS * self.room
        return tuple(shape)

    def map(self, shape: tuple[int, ...]) -> TensorMap:
        """The map of a tensor of this shape, whose rows are padded."""
        strides = np.empty((*shape[:-1], _PITCH), np.uint16).strides
        elements = tuple(stride // 2 for stride in strides)
        view = ArrayView(0, shape, elements, DType.BF16, None, None)
        return map_of(TensorMapOf("tensor", self.box, self.clip), view)


CLIPS = (
    Clip("2d", (97, 72), (8, 64), 0),
    Clip("2d odd", (97, 67), (8, 64), 0),
    Clip("3d outermost", (41, 3, 72), (6, 1, 64), 0),
    Clip("3d middle", (3, 41, 72), (1, 8, 64), 1),
    Clip("3d middle odd", (3, 41, 67), (1, 8, 64), 1),
)


def cases() -> Iterator[Case]:
    """One for each of CLIPS."""
    yield from map(clip_case, CLIPS)


def clip_case(clip: Clip) -> Case:
    """Copies boxes from a tensor to a result, either clipped at an end of its own."""
    rank = len(clip.shape) + 2
    at = [f"global_load(a.CORNER + vector * {rank} + {i})" for i in range(rank)]
    box = f"Box<{rank}>{{{{{', '.join(at)}}}}}"
    source, target = clip.map(clip.shape), clip.map(clip.result)
    body = f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    if (thread_index() != 0) return;
    barrier_init(0, 1);
    fence_barrier_init();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round;
        barrier_arrive_expect(0, {source.box_bytes});
        tensor_load({_STAGE}, a.from, {box.replace("CORNER", "source")}, 0);
        barrier_wait(0, round & 1);
        tensor_store(a.to, {box.replace("CORNER", "target")}, {_STAGE});
        bulk_commit();
        bulk_wait_read<0>();
    }}
    bulk_wait<0>();
}}"""
    return Case(
        name=f"tensor_clip {clip.name}",
        body=body,
        grid=Grid(_BLOCKS, 32, _STAGE + source.box_bytes),
        vectors=_VECTORS,
        inputs=lambda random: _inputs(random, clip),
        outputs={"result": ((*clip.result[:-1], _PITCH), "uint16")},
        launches=11,
        maps={"from": ("tensor", source), "to": ("result", target)},
    )


def expected(case: Case, clip: Clip, launch: int) -> NDArray[np.uint16]:
    """The result of a launch, from the plain corners and ends of its boxes."""
    tensor = case.arrays(launch)["tensor"]
    result = np.full((*clip.result[:-1], _PITCH), UNWRITTEN * 257, np.uint16)
    random = case.random(launch)
    random.words(*tensor.shape)
    (source, ends), (target, target_ends) = _plain(random, clip)
    offsets = list(product(*map(range, clip.box[:-1])))
    width = clip.shape[-1]
    for vector in range(_VECTORS):
        for offset in offsets:
            to, begin = target[vector, :-1] + offset, target[vector, -1]
            if not _inside(to, clip, clip.result, target_ends[vector]):
                continue
            row = np.zeros(64, np.uint16)
            at, first = source[vector, :-1] + offset, source[vector, -1]
            if _inside(at, clip, clip.shape, ends[vector]):
                values = tensor[tuple(at)][first : min(first + 64, width)]
                row[: len(values)] = values
            stop = min(begin + 64, ceil_div(width, _UNIT) * _UNIT)
            result[tuple(to)][begin:stop] = row[: stop - begin]
    return result


def _inside(at: NDArray[np.int64], clip: Clip, shape: tuple[int, ...], end: int) -> bool:
    pairs = enumerate(zip(at, shape, strict=False))
    return all(0 <= i < (end if d == clip.clip else extent) for d, (i, extent) in pairs)


def _inputs(random: Random, clip: Clip) -> Arrays:
    tensor = random.words(*clip.shape[:-1], _PITCH).astype(np.uint16)
    (source, ends), (target, target_ends) = _plain(random, clip)
    return {
        "tensor": tensor,
        "source": _coordinates(source, ends, clip),
        "target": _coordinates(target, target_ends, clip),
    }


def _plain(random: Random, clip: Clip) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
    """Corners, outermost first, and ends of the boxes to load and of those to store."""

    def corners(shape: tuple[int, ...], row: NDArray[np.int32]) -> NDArray[np.int64]:
        columns = [
            random.integers(1 - b, n - 1, _VECTORS) for b, n in zip(clip.box, shape, strict=True)
        ]
        columns[-1] = 8 * random.integers(0, 2, _VECTORS)
        columns[clip.clip] = row
        return np.stack(columns, axis=1).astype(np.int64)

    rows, height = clip.shape[clip.clip], clip.box[clip.clip]
    end = random.integers(0, rows, _VECTORS)
    source = corners(clip.shape, np.maximum(end - random.integers(-2, height + 2, _VECTORS), 0))
    start = (np.arange(_VECTORS) * clip.room + random.integers(0, 2, _VECTORS)).astype(np.int32)
    most = np.arange(1, _VECTORS + 1) * clip.room
    target_end = np.minimum(start + random.integers(0, height + 1, _VECTORS), most)
    target = corners(clip.result, start)
    return (source, end.astype(np.int64)), (target, target_end.astype(np.int64))


def _coordinates(
    corners: NDArray[np.int64], ends: NDArray[np.int64], clip: Clip
) -> NDArray[np.int32]:
    """The coordinates that an instruction takes, innermost first."""
    at = corners.copy()
    at[:, clip.clip] += CLIP_EXTENT - ends
    last = np.full(_VECTORS, CLIP_EXTENT)
    return np.column_stack([at[:, ::-1], ends, last]).astype(np.int32)
