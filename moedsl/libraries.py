"""The array libraries that moedsl works with. None is imported that the caller has not imported.

NumPy, torch and CuPy arrays are read by their own attributes, which costs least, and outputs are
made with them. Everything else (JAX, Numba, ...) comes in through DLPack or
``__cuda_array_interface__`` and takes an ``out`` made by the caller.
"""

from __future__ import annotations

import sys
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from moedsl import torch_shortcuts
from moedsl.arrays import (
    ArrayError,
    ArrayView,
    element_type,
    library_type,
    packed_strides,
    unread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from moedsl.arrays import Reader
    from moedsl.ir.core import DType

LEGACY_STREAM = 1
"""The handle of CUDA's legacy default stream; DLPack forbids the other one, 0."""


_DLPACK_CPU = 1


class Library(Protocol):
    """How to read and make one library's arrays."""

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        """Address, and a key equal for arrays that differ in nothing but address modulo 16."""

    def address(self, array: Any) -> int:
        """Address of an array that this library's ``maker`` made."""

    def view(self, array: Any, stream: int | None) -> ArrayView:
        """The array, ready to be used on CUDA stream ``stream``; ArrayError if it cannot be."""

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        """What makes arrays on the device of ``like``, zeroed or with any contents.

        ArrayError if the library cannot.
        """

    def reader(self, arrays: Sequence[Any]) -> Reader:
        """Tells which arrays have marks like these but for address, quicker than marks do.

        It may miss some. The first array is the library's, and it misses all if others are not.
        """
        return unread

    def stream(self, array: Any) -> Callable[[], int | None]:
        """What tells the stream on which the library works on the array's device, if any."""

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        """The contents on the host, all work on them finished."""


LIBRARIES: dict[type, Library] = {}
"""The library of every type of array seen so far."""


def library_of(array: object) -> Library:
    """The library of an array; ArrayError if the object is no array at all."""
    kind = type(array)
    found = LIBRARIES.get(kind)
    if found is None:
        found = LIBRARIES[kind] = _library(kind)
    return found


def _library(kind: type) -> Library:
    if kind is ArrayView:
        return _Views()
    for base in kind.__mro__:
        match base.__module__.partition(".")[0], base.__name__:
            case "numpy", "ndarray" | "generic":
                return _Numpy()
            case "torch", "Tensor":
                return _Torch()
            case "cupy", "ndarray":
                return _Cupy()
            case _:
                continue
    if hasattr(kind, "__dlpack__") or hasattr(kind, "__cuda_array_interface__"):
        return _Other(mutable=kind.__module__.partition(".")[0] not in ("jax", "jaxlib"))
    raise ArrayError(
        f"is no array but of type {kind.__name__}",
        "pass an array of NumPy, torch, CuPy or JAX, or one with DLPack",
    )


def _no_stream() -> None:
    """The stream of arrays on the host."""


def _legacy_stream() -> int:
    return LEGACY_STREAM


def _mark(view: ArrayView) -> tuple[int, Hashable]:
    key = view.shape, view.strides, view.dtype, view.device, view.pointer & 15, view.writable
    return view.pointer, key


def numpy_type(dtype: DType) -> np.dtype[Any]:
    """The NumPy type of ``dtype``; bf16 is that of ml_dtypes."""
    import ml_dtypes

    name = library_type(dtype)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def host_view(array: np.ndarray[Any, Any], *, writable: bool | None = None) -> ArrayView:
    """The view of a NumPy array."""
    dtype = element_type(array.dtype.name)
    if not array.dtype.isnative:
        raise ArrayError("has foreign byte order", "convert it to native byte order")
    if any(stride % dtype.bytes for stride in array.strides):
        raise ArrayError("has strides that are no multiples of its element size", "copy it")
    return ArrayView(
        pointer=array.__array_interface__["data"][0],
        shape=array.shape,
        strides=tuple(stride // dtype.bytes for stride in array.strides),
        dtype=dtype,
        device=None,
        owner=array,
        writable=array.flags.writeable if writable is None else writable,
    )


class _Views(Library):
    """Memory that moedsl itself has put somewhere."""

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        return _mark(array)

    def address(self, array: Any) -> int:
        raise AssertionError("it makes no arrays")

    def view(self, array: ArrayView, stream: int | None) -> ArrayView:
        return array

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        raise AssertionError("it makes no arrays")

    def stream(self, array: Any) -> Callable[[], int | None]:
        return _no_stream

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        raise AssertionError("it holds no offs and no map")


class _Numpy(Library):
    """NumPy, with ml_dtypes for bf16."""

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        return _mark(self.view(array, stream))

    def address(self, array: Any) -> int:
        return int(array.__array_interface__["data"][0])

    def view(self, array: Any, stream: int | None) -> ArrayView:
        return host_view(np.asarray(array))

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        return partial(np.zeros if zero else np.empty, shape, numpy_type(dtype))

    def stream(self, array: Any) -> Callable[[], int | None]:
        return _no_stream

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        return np.asarray(array)


class _Torch:
    """torch, on CUDA devices and, for CPU tensors, as NumPy arrays."""

    def __init__(self) -> None:
        torch = sys.modules["torch"]
        # A torch without CUDA lacks it, and has no device tensors.
        self._current_stream: Any = getattr(torch._C, "_cuda_getCurrentRawStream", None)

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        try:
            pointer = array.data_ptr()
            # One flat tuple: torch.Size is slow to hash and slower to compare.
            key = (
                *array.shape,
                *array.stride(),
                array.dtype,
                array.get_device(),
                array.is_neg(),
                pointer & 15,
            )
        except RuntimeError as error:
            raise ArrayError(f"cannot be read: {error}") from error
        return pointer, key

    address = staticmethod(methodcaller("data_ptr"))

    def view(self, array: Any, stream: int | None) -> ArrayView:
        if str(array.layout) != "torch.strided":
            raise ArrayError(f"has layout {array.layout}", "pass a dense tensor")
        if array.is_neg():
            raise ArrayError(
                "is negated where it is read, not in memory", "call resolve_neg() on it"
            )
        if array.device.type == "cpu":
            return host_view(self.fetch(array), writable=True)
        if array.device.type != "cuda":
            raise ArrayError(f"lies on device '{array.device}'", "move it to a CUDA device")
        return ArrayView(
            pointer=array.data_ptr(),
            shape=tuple(array.shape),
            strides=tuple(array.stride()),
            dtype=element_type(str(array.dtype).removeprefix("torch.")),
            device=array.get_device(),
            owner=array,
        )

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        torch, device = sys.modules["torch"], like.device
        kind = getattr(torch, library_type(dtype))
        if zero:
            return partial(torch.zeros, shape, dtype=kind, device=device)
        return torch_shortcuts.empty(torch, shape, packed_strides(shape), kind, device)

    def reader(self, arrays: Sequence[Any]) -> Reader:
        return torch_shortcuts.reader(sys.modules["torch"], arrays)

    def stream(self, array: Any) -> Callable[[], int | None]:
        device = array.get_device()
        if device < 0 or self._current_stream is None:
            return _no_stream
        return partial(self._current_stream, device)

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        host = array.detach().cpu()
        if str(host.dtype) != "torch.bfloat16":
            return np.asarray(host.numpy())
        import ml_dtypes

        return np.asarray(host.view(sys.modules["torch"].int16).numpy().view(ml_dtypes.bfloat16))


class _Cupy(Library):
    """CuPy."""

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        pointer = array.data.ptr
        return pointer, (array.shape, array.strides, array.dtype, array.device.id, pointer & 15)

    def address(self, array: Any) -> int:
        return int(array.data.ptr)

    def view(self, array: Any, stream: int | None) -> ArrayView:
        dtype = element_type(array.dtype.name)
        return ArrayView(
            pointer=array.data.ptr,
            shape=array.shape,
            strides=tuple(stride // dtype.bytes for stride in array.strides),
            dtype=dtype,
            device=array.device.id,
            owner=array,
        )

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        cupy, device = sys.modules["cupy"], like.device
        make = cupy.zeros if zero else cupy.empty

        def on_device() -> Any:
            with device:
                return make(shape, numpy_type(dtype))

        return on_device

    def stream(self, array: Any) -> Callable[[], int | None]:
        device, current = array.device, sys.modules["cupy"].cuda.get_current_stream

        def on_device() -> int:
            with device:
                return int(current().ptr)

        return on_device

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        return np.asarray(array.get())


class _Other(Library):
    """Any library with DLPack or ``__cuda_array_interface__``, ordered behind the producer."""

    def __init__(self, *, mutable: bool) -> None:
        self._mutable = mutable

    def mark(self, array: Any, stream: int | None) -> tuple[int, Hashable]:
        return _mark(self.view(array, stream))

    def address(self, array: Any) -> int:
        raise AssertionError("it makes no arrays")

    def view(self, array: Any, stream: int | None) -> ArrayView:
        from cuda.core.utils import StridedMemoryView

        on_host = _on_host(array)
        try:
            seen = StridedMemoryView.from_any_interface(
                array, stream_ptr=-1 if on_host else stream or LEGACY_STREAM
            )
        except (BufferError, TypeError, ValueError, RuntimeError) as error:
            raise ArrayError(f"cannot be read: {error}") from error
        dtype = element_type(seen.dtype.name)
        if on_host:
            return host_view(np.asarray(_HostMemory(seen, dtype.bytes)).view(numpy_type(dtype)))
        return ArrayView(
            pointer=seen.ptr,
            shape=seen.shape,
            strides=packed_strides(seen.shape) if seen.strides is None else tuple(seen.strides),
            dtype=dtype,
            device=seen.device_id,
            owner=seen,
            writable=self._mutable and not seen.readonly,
        )

    def maker(
        self, like: Any, shape: tuple[int, ...], dtype: DType, *, zero: bool
    ) -> Callable[[], Any]:
        kind = type(like)
        raise ArrayError(
            f"cannot be made by moedsl as {kind.__module__}.{kind.__qualname__}",
            "pass a writable torch, CuPy or NumPy array as out=",
        )

    def stream(self, array: Any) -> Callable[[], int | None]:
        return _no_stream if _on_host(array) else _legacy_stream

    def fetch(self, array: Any) -> np.ndarray[Any, Any]:
        return np.asarray(array)


def _on_host(array: Any) -> bool:
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == _DLPACK_CPU


class _HostMemory:
    """Host memory that cuda.core sees, for NumPy, which keeps this object alive."""

    def __init__(self, seen: Any, size: int) -> None:
        self.owner = seen
        strides = packed_strides(seen.shape) if seen.strides is None else seen.strides
        self.__array_interface__ = {
            "version": 3,
            "shape": seen.shape,
            "strides": tuple(stride * size for stride in strides),
            "typestr": f"|V{size}",
            "data": (seen.ptr, seen.readonly),
        }
