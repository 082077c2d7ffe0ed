"""Boxes of tensors for Hopper's copy engine: what a tensor map says, and the driver's form of it.

A kernel takes a map as 128 bytes of its arguments, 64-byte aligned. On a GPU they are the driver's,
whose form is secret; the emulator has a form of its own, made from the same description.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any

from moedsl.ir.core import DType
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.arrays import ArrayView
    from moedsl.backends.cuda.abi import TensorMapOf

MAP_BYTES = 128
MAP_ALIGNMENT = 64

CLIP_EXTENT = 2**30
"""Extent of a dimension whose end the coordinates say."""

_MOST_DIMENSIONS = 5
_MOST_EXTENT = 2**32
_MOST_STRIDE = 2**40
_MOST_BOX = 256
_MOST_STEP = 8
_UNIT = 16
"""Bytes that addresses, strides and rows of a box are multiples of."""

CLIP_STRIDE = 2**34
"""Bytes; times CLIP_EXTENT they are 2^64, which addresses do not see."""
_UNCLIPPED_EXTENT = 0x7FFF0000
"""More than any coordinate of the dimensions that only move a clipped tensor's address."""


class TensorSwizzle(IntEnum):
    """Bytes of the rows whose 16-byte chunks are permuted by the row's number; 0 for none."""

    NONE = 0
    B32 = 32
    B64 = 64
    B128 = 128


class TensorFill(Enum):
    """What loads where the tensor has no elements."""

    ZEROS = "zeros"
    NAN = "nan"


class Promotion(IntEnum):
    """Bytes that the second cache level fetches at a time."""

    NONE = 0
    B64 = 64
    B128 = 128
    B256 = 256


@dataclass(frozen=True, slots=True)
class TensorMap:
    """A tensor in global memory and the box of it that one instruction copies.

    Dimensions start with the innermost, whose elements are neighbours. ``strides`` are bytes, of
    all dimensions but the innermost. The box spans ``box`` elements of each dimension, of which
    every ``steps``-th one is copied (not so in the innermost dimension, whose step has no effect);
    its elements lie densely in shared memory. With ``tf32`` loads round f32 elements to the nearest
    tf32, ties to even. Layouts with interleaved channels are for images and not offered.
    """

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    steps: tuple[int, ...] = ()
    swizzle: TensorSwizzle = TensorSwizzle.NONE
    fill: TensorFill = TensorFill.ZEROS
    promotion: Promotion = Promotion.B256
    tf32: bool = False

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def all_steps(self) -> tuple[int, ...]:
        """The steps; 1 in every dimension if none were given."""
        return self.steps or (1,) * self.rank

    @property
    def box_bytes(self) -> int:
        """Bytes of a whole box in shared memory, also what an mbarrier has to expect."""
        count = self.box[0]
        for extent, step in zip(self.box[1:], self.all_steps[1:], strict=True):
            count *= -(-extent // step)
        return count * self.dtype.bytes

    def obstacle(self, address: int = 0) -> str | None:
        """Why the copy engine cannot take this tensor at ``address``, or None if it can."""
        return next(chain(self._shape_obstacles(), self._box_obstacles(address)), None)

    def _shape_obstacles(self) -> Iterator[str]:
        rank = self.rank
        if not 1 <= rank <= _MOST_DIMENSIONS:
            yield f"{rank} dimensions; it takes 1 to {_MOST_DIMENSIONS}"
        if len(self.strides) != rank - 1 or len(self.box) != rank or len(self.all_steps) != rank:
            yield "shape, strides, box and steps do not have the same number of dimensions"
        for extent in self.shape:
            if not 1 <= extent <= _MOST_EXTENT:
                yield f"an extent of {extent}; it takes 1 to 2^32"
        for stride in self.strides:
            if stride % _UNIT or not 0 <= stride < _MOST_STRIDE:
                yield f"a stride of {stride} bytes; it takes multiples of {_UNIT} below 2^40"

    def _box_obstacles(self, address: int) -> Iterator[str]:
        for extent in self.box:
            if not 1 <= extent <= _MOST_BOX:
                yield f"a box of {extent} elements; it takes 1 to {_MOST_BOX}"
        for step in self.all_steps:
            if not 1 <= step <= _MOST_STEP:
                yield f"a step of {step}; it takes 1 to {_MOST_STEP}"
        row = self.box[0] * self.dtype.bytes
        if row % _UNIT:
            yield f"rows of {row} bytes in the box; it takes multiples of {_UNIT}"
        if self.swizzle and row > self.swizzle:
            yield f"rows of {row} bytes in the box, wider than the swizzle of {self.swizzle}"
        if self.fill is TensorFill.NAN and self.dtype is DType.I32:
            yield "integers to be filled with NaN"
        if self.tf32 and self.dtype is not DType.F32:
            yield f"{self.dtype} to be rounded to tf32"
        if address % _UNIT:
            yield f"address {address:#x}; it takes multiples of {_UNIT}"


_FAST_MEMORY = 4e12
"""Bytes a second, between those of an H100 (3.35e12) and those of an H200 (4.8e12)."""


def _promotion(source: TensorMapOf, memory_bandwidth: float) -> Promotion:
    """What a miss brings into L2.

    The next 128 bytes, which the next stage needs, are there early; but the path between the halves
    of L2 has more to carry. On an H200 128 bytes alone took 2 to 6 % off skewed routings, 2 % off
    decoding, changed others with few rows an expert by at most 1 %, and seemed to add 2 % where
    rows are gathered; on an H100, whose memory is the slower part, they added up to 4 %.
    """
    fast = memory_bandwidth > _FAST_MEMORY
    return Promotion.B128 if fast and source.few_rows else Promotion.B256


def map_of(source: TensorMapOf, view: ArrayView, memory_bandwidth: float = 0) -> TensorMap:
    """The map of the array ``view``, which is VECTOR, that a kernel takes as ``source``.

    Its dimensions are the array's. With ``clip`` that dimension's extent is CLIP_EXTENT, and two
    dimensions with a box of 1 stand behind all others, with strides s, as the clipped one's, and
    2^34 - s bytes. Coordinates CLIP_EXTENT - end + row, the other dimensions', end, CLIP_EXTENT
    then address position ``row`` of the clipped dimension modulo 2^64 bytes, and what lies at
    ``end`` or behind it is outside the tensor. Raises ValueError if the copy engine cannot take it.
    """
    size = view.dtype.bytes
    # No element of an empty array is ever copied, but the map has to be a legal one.
    shape = [1] * len(view.shape) if 0 in view.shape else list(view.shape)
    row = ceil_div(shape[-1] * size, _UNIT) * _UNIT
    strides = [
        stride * size if extent > 1 else row
        for extent, stride in zip(shape[:-1], view.strides, strict=False)
    ]
    box = source.box
    if source.clip is not None:
        step = strides[source.clip]
        shape[source.clip] = CLIP_EXTENT
        shape = [_UNCLIPPED_EXTENT, _UNCLIPPED_EXTENT, *shape]
        strides = [CLIP_STRIDE - step, step, *strides]
        box = (1, 1, *box)
    description = TensorMap(
        view.dtype,
        tuple(reversed(shape)),
        tuple(reversed(strides)),
        tuple(reversed(box)),
        swizzle=source.swizzle,
        promotion=_promotion(source, memory_bandwidth),
        tf32=source.tf32,
    )
    if obstacle := description.obstacle():
        raise ValueError(f"the copy engine does not take '{source.tensor}': {obstacle}")
    return description


def encode(description: TensorMap, address: int) -> bytes:
    """The driver's map of the tensor at ``address``; RuntimeError with the driver's reason."""
    from moedsl.backends.cuda.driver import check, driver

    cuda = driver()
    types = cuda.CUtensorMapDataType
    dtypes = {
        DType.BF16: types.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        DType.F16: types.CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        DType.F32: types.CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        DType.I32: types.CU_TENSOR_MAP_DATA_TYPE_INT32,
    }
    element = dtypes[description.dtype]
    if description.tf32:
        element = types.CU_TENSOR_MAP_DATA_TYPE_TFLOAT32
    swizzle = f"CU_TENSOR_MAP_SWIZZLE_{_named(description.swizzle, 'B')}"
    promotion = f"CU_TENSOR_MAP_L2_PROMOTION_{_named(description.promotion, 'L2_B')}"
    fills = cuda.CUtensorMapFloatOOBfill
    encoded: Any = check(
        cuda.cuTensorMapEncodeTiled(
            element,
            description.rank,
            address,
            [cuda.cuuint64_t(extent) for extent in description.shape],
            [cuda.cuuint64_t(stride) for stride in description.strides],
            [cuda.cuuint32_t(extent) for extent in description.box],
            [cuda.cuuint32_t(step) for step in description.all_steps],
            cuda.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            getattr(cuda.CUtensorMapSwizzle, swizzle),
            getattr(cuda.CUtensorMapL2promotion, promotion),
            fills.CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
            if description.fill is TensorFill.NAN
            else fills.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    )
    return b"".join(int(word).to_bytes(8, "little") for word in encoded.opaque)


def _named(size: IntEnum, unit: str) -> str:
    """As the driver's enumerations end: ``NONE``, ``128B``, ``L2_128B``."""
    if not size:
        return "NONE"
    return f"{unit.removesuffix('B')}{int(size)}B"
