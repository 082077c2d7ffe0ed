"""Accesses of NumPy arrays: which elements ``x[src[m], k]`` means at given index positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from moedsl.ir.core import Access

    Array = NDArray[Any]
    Positions = int | slice | NDArray[np.integer[Any]]


def locate(
    arrays: Mapping[str, Array], access: Access, where: Mapping[str, Positions]
) -> tuple[Positions, ...]:
    """The positions of ``access`` in each dimension of its tensor, maps followed.

    ``where`` holds the positions of every index that the access uses: one (int), consecutive ones
    (slice) or any (i32 or i64 array). IndexError if a map points outside an i32 array's range.
    """
    spots: list[Positions] = []
    for coordinate in access.coordinates:
        spot = where[coordinate.index]
        if coordinate.via is not None:
            looked_up = arrays[coordinate.via][spot]
            spot = int(looked_up) if isinstance(spot, int) else looked_up
        spots.append(spot)
    return tuple(spots)


def read(
    arrays: Mapping[str, Array],
    access: Access,
    where: Mapping[str, Positions],
    order: tuple[str, ...],
) -> Array:
    """The elements of ``access``, one axis for each index of ``order``, of extent 1 if unused.

    Indices with a single position in ``where`` have no axis. A view where nothing is gathered.
    """
    spots = locate(arrays, access, where)
    array = arrays[access.tensor][
        tuple(slice(None) if isinstance(spot, np.ndarray) else spot for spot in spots)
    ]
    axes = [
        (index, spot)
        for index, spot in zip(access.indices, spots, strict=True)
        if not isinstance(spot, int)
    ]
    for axis, (_, spot) in enumerate(axes):
        if isinstance(spot, np.ndarray):
            array = array.take(spot, axis=axis)
    names = [index for index, _ in axes]
    array = array.transpose([names.index(index) for index in order if index in names])
    return array[tuple(slice(None) if index in names else None for index in order)]


def open_mesh(spots: tuple[Positions, ...], shape: tuple[int, ...]) -> tuple[Array, ...]:
    """``spots`` as index arrays that broadcast to their outer product, for scattered writes.

    ``shape`` is the extent of each dimension. Single positions keep an axis of extent 1.
    """
    flat = [
        np.arange(*spot.indices(extent)) if isinstance(spot, slice) else np.atleast_1d(spot)
        for spot, extent in zip(spots, shape, strict=True)
    ]
    return np.ix_(*flat)


def round_tf32(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32 rounded to tf32 (10 fraction bits), ties away from zero, as ``cvt.rna.tf32.f32``.

    Values that round beyond the largest finite one become infinite; NaN stays NaN.
    """
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isnan(array), array, rounded)


def tf32_ties(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far from an f32 both tf32 numbers are of which neither is nearer; 0 where one is, and
    where one is infinite, which is the even one.
    """
    bits = np.ascontiguousarray(array).view(np.uint32)
    half_way = (bits & 0x1FFF == 0x1000) & np.isfinite(round_tf32(array))
    lower = (bits & np.uint32(0xFFFFE000)).view(np.float32)
    distance = np.zeros_like(array)
    np.subtract(array, lower, out=distance, where=half_way)
    return np.abs(distance, out=distance)
