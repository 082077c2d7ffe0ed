"""The emulator's form of tensor maps."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from moedsl.backends.cuda.tensor_map import MAP_BYTES, TensorFill

if TYPE_CHECKING:
    from moedsl.backends.cuda.tensor_map import TensorMap


def record(description: TensorMap) -> bytes:
    """A tensor map (EmuTensorMap of the runtime's ABI) of MAP_BYTES, the address still 0."""

    def padded(values: tuple[int, ...], count: int, absent: int) -> list[int]:
        return [*values, *(absent,) * (count - len(values))]

    data = struct.pack(
        "<Q4Q5I5H5B5B",
        0,
        *padded(description.strides, 4, 0),
        *padded(description.shape, 5, 1),
        *padded(description.box, 5, 1),
        *padded(description.all_steps, 5, 1),
        description.rank,
        description.dtype.bytes,
        int(description.swizzle),
        description.fill is TensorFill.NAN,
        description.tf32,
    )
    return data.ljust(MAP_BYTES, b"\0")
