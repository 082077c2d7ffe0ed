"""Arguments for a kernel, made up: data for each test, maps, canaries around every array.

Every array lies in a buffer of its own, with canary bytes before, behind and in the gaps between
its rows. Outputs that are not read hold NaN, and so do input rows that belong to no expert, so
that whoever reads or keeps what it should not is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from moedsl.arrays import ArrayView
from moedsl.backend import Call
from moedsl.contents import accesses
from moedsl.ir.core import DType, Role, Tensor
from moedsl.ir.moe import Contract
from moedsl.meaning import NUMPY_TYPES, Mode
from moedsl.rows import offs_from_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from moedsl.ir.moe import MoeKernel
    from moedsl.subscript import Array

_CANARY = 0xA5
_POISON = 0xFF
"""In every byte of a float it makes a NaN."""
_PART = 1 << 18
_POOL = 1 << 23
"""Elements drawn one by one; larger arrays are windows of as many, at random places."""
_GUARD = 1024
"""Canary bytes before and behind an array, at least."""
ALIGNMENT = 256
"""What ``Layout.shift`` 0 is aligned to, in bytes; as memory from CUDA is."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array lies in memory.

    ``order`` are its dimensions from outermost to innermost, empty for as declared; ``padding``
    the unused elements after each run of the innermost dimension; ``gap`` the elements from one of
    the innermost dimension to the next (1 without gaps); ``shift`` the elements by which its base
    misses the alignment.
    """

    order: tuple[int, ...] = ()
    padding: int = 0
    gap: int = 1
    shift: int = 0

    def strides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Strides in elements of an array of ``shape`` laid out so."""
        order = self.order or tuple(range(len(shape)))
        strides = [0] * len(shape)
        step = self.gap
        for number, dim in enumerate(reversed(order)):
            strides[dim] = step
            step = step * max(shape[dim], 1) + (self.padding if number == 0 else 0)
        return tuple(strides)


class GuardedArray:
    """A host array between canaries. ``array`` is the view, ``memory`` all its bytes."""

    def __init__(self, dtype: DType, shape: tuple[int, ...], layout: Layout) -> None:
        self.dtype, self.shape, self.strides = dtype, shape, layout.strides(shape)
        reach = [(n - 1) * s for n, s in zip(shape, self.strides, strict=True)]
        size = 0 if 0 in shape else (sum(reach) + 1) * dtype.bytes
        self.memory = np.full(size + 2 * (_GUARD + ALIGNMENT), _CANARY, np.uint8)
        first = self.memory.ctypes.data + _GUARD
        self.offset = _GUARD + -first % ALIGNMENT + layout.shift * dtype.bytes
        self.array: Array = np.ndarray(
            shape,
            NUMPY_TYPES[dtype],
            self.memory.data,
            self.offset,
            tuple(stride * dtype.bytes for stride in self.strides),
        )
        self._before: NDArray[np.uint8] | None = None

    def view(self) -> ArrayView:
        """The array as an argument of a host backend."""
        pointer = self.memory.ctypes.data + self.offset
        return ArrayView(pointer, self.shape, self.strides, self.dtype, None, self.array)

    def arm(self) -> None:
        """Remember all bytes, to compare with later."""
        self._before = self.memory.copy()

    @property
    def armed(self) -> bool:
        """Whether ``arm`` remembered what there was."""
        return self._before is not None

    def rearm(self) -> None:
        """Put back what ``arm`` remembered."""
        assert self._before is not None
        self.memory[:] = self._before

    @property
    def initial(self) -> Array:
        """What the array held when it was armed."""
        assert self._before is not None
        steps = tuple(stride * self.dtype.bytes for stride in self.strides)
        return np.ndarray(self.shape, self.array.dtype, self._before.data, self.offset, steps)

    def trespass(self, output: bool) -> str:
        """What was written that must not be, in words; empty if nothing.

        An output's own elements may change, its canaries not; an input may not change at all.
        What was not armed was not watched.
        """
        if self._before is None:
            return ""
        expected = self._before
        if output:
            expected = expected.copy()
            steps = tuple(stride * self.dtype.bytes for stride in self.strides)
            mine = np.ndarray(self.shape, self.array.dtype, expected.data, self.offset, steps)
            mine[...] = self.array
        changed = np.flatnonzero(expected != self.memory)
        if not len(changed):
            return ""
        where = int(changed[0]) - self.offset
        kind = "outside of it" if output else "of an input or around it"
        return f"{len(changed)} bytes {kind} were written, the first {where} bytes from its start"


@dataclass(frozen=True)
class Arguments:
    """Everything one call takes. ``tensors`` holds the signature's tensors by name."""

    kernel: MoeKernel
    rows: tuple[int, ...]
    sizes: Mapping[str, int]
    tensors: Mapping[str, GuardedArray]
    offs: GuardedArray

    def call(self) -> Call:
        """The call on the host."""
        views = {name: guarded.view() for name, guarded in self.tensors.items()}
        return Call(views, self.offs.view(), self.sizes)

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """The tensors that are only read."""
        return {t.name: self.tensors[t.name].array for t in self.kernel.signature.inputs}

    @cached_property
    def outputs(self) -> dict[str, Array]:
        """The tensors that are written."""
        return {t.name: self.tensors[t.name].array for t in self.kernel.signature.outputs}

    @cached_property
    def initial_outputs(self) -> dict[str, Array]:
        """What the outputs held before any call."""
        return {t.name: self.tensors[t.name].initial for t in self.kernel.signature.outputs}

    @property
    def ends(self) -> list[int]:
        """``offs`` as a list."""
        return offs_from_rows(self.rows)

    def reset(self) -> None:
        """Put all arrays back to what they held before any call."""
        for guarded in self.tensors.values():
            if guarded.armed:
                guarded.rearm()

    def trespass(self) -> str:
        """What a call wrote that it must not, in words; empty if nothing."""
        for tensor in self.kernel.signature.tensors:
            found = self.tensors[tensor.name].trespass(tensor.role is not Role.INPUT)
            if found:
                return f"'{tensor.name}': {found}"
        found = self.offs.trespass(output=False)
        return f"'offs': {found}" if found else ""


def make_inputs(
    kernel: MoeKernel,
    rows: Sequence[int],
    sizes: Mapping[str, int],
    mode: Mode,
    seed: int,
    layouts: Mapping[str, Layout] | None = None,
    spare_rows: int = 0,
    *,
    watch_inputs: bool = True,
) -> Arguments:
    """Arguments for ``rows[e]`` rows of expert e.

    ``sizes`` are the extents of the indices that are known at the call only. ``spare_rows`` are
    rows behind the last expert's. Without ``watch_inputs`` only outputs are armed: half the memory
    and time where inputs are large. ``mode`` decides the data: small integers whose sums are exact;
    normal data over sixteen binades (``bound``); normal data (``statistical``). Weights are scaled
    so that contractions of inputs of unit size have unit size. Maps of ``=`` stores send no two
    rows to one place where there is room; other maps are random.
    """
    signature = kernel.signature
    fixed = {i.name: i.extent for i in signature.indices if i.extent is not None}
    total = sum(rows) + spare_rows
    extents = {**fixed, **sizes, signature.ragged: total}
    maker = _Maker(kernel, extents, mode, np.random.default_rng(seed))
    tensors = {}
    for tensor in signature.tensors:
        shape = tuple(extents[index] for index in tensor.dims)
        guarded = GuardedArray(tensor.dtype, shape, (layouts or {}).get(tensor.name, Layout()))
        maker.fill(tensor, guarded.array)
        _poison(tensor, guarded.array, signature.ragged, sum(rows))
        if watch_inputs or tensor.role is not Role.INPUT:
            guarded.arm()
        tensors[tensor.name] = guarded
    offs = GuardedArray(DType.I32, (len(rows),), Layout())
    offs.array[...] = offs_from_rows(rows)
    offs.arm()
    return Arguments(kernel, tuple(rows), extents, tensors, offs)


def _poison(tensor: Tensor, array: Array, ragged: str, owned: int) -> None:
    """NaN where nothing may be read: fresh outputs, and input rows of no expert."""
    if tensor.dtype is DType.I32:
        return
    poison = np.full(tensor.dtype.bytes, _POISON, np.uint8).view(array.dtype)
    if tensor.role is Role.OUTPUT:
        array[...] = poison[0]
    elif tensor.role is Role.INPUT and ragged in tensor.dims:
        axis = tensor.dims.index(ragged)
        array[(slice(None),) * axis + (slice(owned, None),)] = poison[0]


def _parts(array: Array) -> Iterator[Array]:
    """``array`` in pieces that fit a cache, so that drawing f32 for them costs no memory."""
    if array.size <= _PART or array.ndim < 2:
        yield array
        return
    step = max(1, _PART * len(array) // array.size)
    for first in range(0, len(array), step):
        part = array[first : first + step]
        yield from _parts(part[0]) if step == 1 else (part,)


@dataclass(frozen=True)
class _Maker:
    """Draws the contents of tensors by what the kernel does with them."""

    kernel: MoeKernel
    extents: Mapping[str, int]
    mode: Mode
    rng: np.random.Generator

    def fill(self, tensor: Tensor, array: Array) -> None:
        """Fill ``array``, the memory of ``tensor``."""
        if tensor.dtype is DType.I32:
            array[...] = self._map(tensor)
            return
        draw = self._draw(tensor)
        if array.size > _POOL:
            draw = self._windows(draw((_POOL,)).astype(array.dtype))
        for part in _parts(array):
            part[...] = draw(part.shape)

    def _windows(self, pool: Array) -> Callable[[tuple[int, ...]], Array]:
        def draw(shape: tuple[int, ...]) -> Array:
            size = math.prod(shape)
            start = int(self.rng.integers(0, len(pool) - size))
            return pool[start : start + size].reshape(shape)

        return draw

    def _draw(self, tensor: Tensor) -> Callable[[tuple[int, ...]], Array]:
        rng, depth = self.rng, self._depth(tensor.name)
        match self.mode:
            case Mode.EXACT if depth:
                # Six standard deviations of a sum of K products of density p² stay below 256.
                density = min(2 / 3, (1820 / depth) ** 0.25)
                odds = [density / 2, 1 - density, density / 2]
                values = np.array([-1, 0, 1], np.float32)
                limits = np.cumsum(odds[:2])
                return lambda shape: values[
                    np.searchsorted(limits, rng.random(shape, np.float32), side="right")
                ]
            case Mode.EXACT:
                values = np.array([-2, -1, 1, 2], np.float32)
                return lambda shape: values[rng.integers(0, 4, shape)]
            case Mode.BOUND:
                scale = self._scale(tensor.name)
                return lambda shape: np.ldexp(
                    rng.standard_normal(shape, np.float32) * scale, rng.integers(-8, 8, shape)
                )
            case Mode.STATISTICAL:
                scale = self._scale(tensor.name)
                return lambda shape: rng.standard_normal(shape, np.float32) * scale

    def _depth(self, name: str) -> int:
        """Extent of the longest sum that the tensor is a factor of; 0 if of none."""
        return max(
            (
                self.extents[op.over]
                for op in self.kernel.body
                if isinstance(op, Contract) and name in (op.lhs.tensor, op.rhs.tensor)
            ),
            default=0,
        )

    def _scale(self, name: str) -> np.float32:
        columns = any(isinstance(op, Contract) and op.rhs.tensor == name for op in self.kernel.body)
        depth = self._depth(name) if columns else 1
        return np.float32(max(depth, 1) ** -0.5)

    def _map(self, tensor: Tensor) -> NDArray[np.int32]:
        shape = tuple(self.extents[index] for index in tensor.dims)
        limit, distinct = self._targets(tensor.name)
        if distinct and len(shape) == 1 and shape[0] <= limit:
            return self.rng.permutation(limit)[: shape[0]].astype(np.int32)
        return self.rng.integers(0, max(limit, 1), shape, np.int32)

    def _targets(self, name: str) -> tuple[int, bool]:
        """How many positions the map may name, and whether all should be different."""
        limit, distinct = 2**31 - 1, False
        for access, store in accesses(self.kernel):
            dims = self.kernel.signature.tensor(access.tensor).dims
            for coordinate, dim in zip(access.coordinates, dims, strict=True):
                if coordinate.via == name:
                    limit = min(limit, self.extents[dim])
                    distinct |= store is not None and not store.accumulate
        return limit, distinct
