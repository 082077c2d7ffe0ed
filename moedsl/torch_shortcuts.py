"""Short ways through torch: those that the code of its own compiler takes.

They are private parts of torch, so each is looked for, and gone without where it is missing. What
they answer is what the public ways answer, for a fraction of the host's time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from moedsl.arrays import unread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.arrays import Reader


def reader(torch: Any, tensors: Sequence[Any]) -> Reader:
    """What reads tensors like these: the same types, shapes, strides, element types and device.

    Some like these are not recognised, among them any two that are one object. It is ``unread``
    if the tensors themselves are such, or are not all tensors.
    """
    guards = getattr(_guards(torch), "TensorGuards", None)
    if guards is None or len({*map(id, tensors)}) < len(tensors):
        return unread
    try:
        sizes = [list(tensor.shape) for tensor in tensors]
        strides = [list(tensor.stride()) for tensor in tensors]
        check = guards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
        if check(*tensors) is not True:
            return unread
    except (AttributeError, RuntimeError, TypeError):
        return unread

    def read(arrays: Sequence[Any]) -> tuple[int, ...] | None:
        return tuple([array.data_ptr() for array in arrays]) if check(*arrays) else None

    return read


def empty(
    torch: Any, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device: Any
) -> Callable[[], Any]:
    """What makes tensors on a CUDA device that hold anything."""
    # torch.empty costs the host half as much again as this.
    public = partial(torch.empty_strided, shape, strides, dtype=dtype, device=device)
    quick = getattr(_guards(torch), "_empty_strided_cuda", None)
    current: Any = getattr(torch._C, "_cuda_getDevice", None)
    if quick is None or current is None or device.type != "cuda":
        return public
    # The quick way knows no device but the current one.
    if torch._C._cuda_getDeviceCount() == 1:
        return partial(quick, shape, strides, dtype)
    ordinal = device.index
    return lambda: quick(shape, strides, dtype) if current() == ordinal else public()


def _guards(torch: Any) -> Any:
    return getattr(getattr(torch._C, "_dynamo", None), "guards", None)
