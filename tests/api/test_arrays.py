"""Arrays of several libraries, seen alike."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.arrays import ArrayError, ArrayView, ElementTypeError, overlap, packed_strides
from moedsl.ir.core import DType
from moedsl.libraries import library_of, numpy_type
from tests.api.fakes import DlpackOnly, tensor

VIEWS = st.lists(st.tuples(st.integers(1, 4), st.integers(-5, 6)), min_size=1, max_size=3)


def view_of(dims: list[tuple[int, int]], start: int) -> ArrayView:
    shape, strides = zip(*dims, strict=True)
    return ArrayView((1 << 20) + 4 * start, shape, strides, DType.F32, 0, None)


def addresses(view: ArrayView) -> list[int]:
    found = [view.pointer]
    for extent, stride in zip(view.shape, view.strides, strict=True):
        found = [a + 4 * stride * i for a in found for i in range(extent)]
    return found


@given(VIEWS, VIEWS, st.integers(0, 12))
def test_overlap_is_exact(
    one: list[tuple[int, int]], other: list[tuple[int, int]], gap: int
) -> None:
    first, second = view_of(one, 0), view_of(other, gap)
    assert overlap(first, second) == bool(set(addresses(first)) & set(addresses(second)))


@given(VIEWS)
def test_distinct_is_sound_and_extent_tight(dims: list[tuple[int, int]]) -> None:
    view = view_of(dims, 0)
    found = addresses(view)
    low, high = view.extent
    assert (view.pointer + low, view.pointer + high) == (min(found), max(found) + 4)
    if view.distinct:
        assert len(set(found)) == len(found)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0, 3), (4, 1, 2)])
def test_packed_arrays_are_distinct(shape: tuple[int, ...]) -> None:
    view = ArrayView(0, shape, packed_strides(shape), DType.BF16, None, None)
    assert view.distinct
    assert view.extent == (0, 2 * int(np.prod(shape)))


@pytest.mark.parametrize("dtype", list(DType))
def test_numpy(dtype: DType) -> None:
    array = np.zeros((4, 6), numpy_type(dtype))[::2, ::-1]
    view = library_of(array).view(array, None)
    assert (view.shape, view.strides, view.dtype) == ((2, 6), (12, -1), dtype)
    assert view.pointer == array.ctypes.data
    assert view.device is None and view.owner is array


def test_numpy_refuses_what_it_cannot_show() -> None:
    library = library_of(np.zeros(1))
    with pytest.raises(ElementTypeError) as caught:
        library.view(np.zeros(3), None)
    assert caught.value.got == "float64"
    with pytest.raises(ArrayError, match="byte order"):
        library.view(np.zeros(3, ">f4"), None)
    packed = np.zeros(3, np.dtype([("a", "f4"), ("b", "i2")]))
    with pytest.raises(ArrayError, match="strides"):
        library.view(packed["a"], None)


def test_dlpack_arrays_on_the_host() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    wrapped = DlpackOnly(array)
    view = library_of(wrapped).view(wrapped, None)
    assert (view.shape, view.strides, view.dtype) == ((3, 2), (4, 2), DType.F32)
    assert isinstance(view.owner, np.ndarray)
    np.testing.assert_array_equal(view.owner, array)
    with pytest.raises(ArrayError, match="cannot be made") as caught:
        library_of(wrapped).maker(wrapped, (2,), DType.F32, zero=False)
    assert "out=" in caught.value.help


def test_torch_tensors_are_read_by_their_attributes() -> None:
    array = tensor((2, 3), "bfloat16", pointer=4096 + 6)
    library = library_of(array)
    view = library.view(array, None)
    assert (view.pointer, view.shape, view.strides) == (4102, (2, 3), (3, 1))
    assert (view.dtype, view.device) == (DType.BF16, 0)
    pointer, mark = library.mark(array, None)
    assert pointer == 4102
    assert library.mark(tensor((2, 3), "bfloat16", 8192 + 6), None) == (8198, mark)
    others = [
        tensor((3, 2), "bfloat16", 4102),
        tensor((2, 3), "float16", 4102),
        tensor((2, 3), "bfloat16", 4104),
        tensor((2, 3), "bfloat16", 4102, strides=(4, 1)),
        tensor((2, 3), "bfloat16", 4102, device=1),
    ]
    marks = {library.mark(other, None)[1] for other in (array, *others)}
    assert len(marks) == 6
    made = library.maker(array, (5,), DType.F16, zero=True)()
    assert (made.shape, made.dtype) == ((5,), "torch.float16")


def test_what_is_no_array_is_refused() -> None:
    for thing in ([1, 2], 3.0, "x", None):
        with pytest.raises(ArrayError, match="no array"):
            library_of(thing)
    assert library_of(np.float32(1)).view(np.float32(1), None).shape == ()


def test_bf16_is_that_of_ml_dtypes() -> None:
    assert numpy_type(DType.BF16) == ml_dtypes.bfloat16
    made = library_of(np.zeros(1)).maker(np.zeros(1), (2,), DType.BF16, zero=True)()
    assert made.dtype == ml_dtypes.bfloat16 and not made.any()
