"""Which tensors of a call can be accessed 16 bytes at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.abi import AccessModes
from moedsl.backends.cuda.tensor_map import CLIP_EXTENT, CLIP_STRIDE
from moedsl.ir.schedule import EpilogueStore, Requirement
from moedsl.lower.resources.specialised import STORED_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from moedsl.arrays import ArrayView
    from moedsl.ir.moe import Signature
    from moedsl.ir.schedule import Schedule

VECTOR_BYTES = 16

MOST_EXTENT, MOST_STRIDE = CLIP_EXTENT, CLIP_STRIDE
"""What a map of a tensor takes whose ends the coordinates say: elements, and bytes (exclusive)."""


def every_vector(signature: Signature) -> AccessModes:
    """The modes of contiguous, aligned tensors: what is compiled before any call."""
    return AccessModes(frozenset(t.name for t in signature.tensors if len(t.dims) > 1))


def access_modes(
    signature: Signature, arrays: Mapping[str, ArrayView], schedule: Schedule
) -> AccessModes:
    """The modes of the tensors of a call under ``schedule``, by the rule of :class:`AccessModes`.

    With BATCH_INVARIANT required a stride along rows counts even where there is one row: bits may
    depend on the modes, and then would on the number of rows.
    """
    counted = {signature.ragged} if Requirement.BATCH_INVARIANT in schedule.require else set()
    vector = frozenset(
        name
        for name in every_vector(signature).vector
        if vector_obstacle(arrays[name], signature.tensor(name).dims, counted) is None
    )
    outputs = {tensor.name for tensor in signature.outputs}
    stored = schedule.epilogue_store is EpilogueStore.TMA and outputs <= vector
    return AccessModes(vector, not stored or all(whole_rows(arrays[name]) for name in outputs))


def whole_rows(view: ArrayView) -> bool:
    """Whether rows of the array end with what the copy engine stores at a time."""
    return view.shape[-1] * view.dtype.bytes % STORED_BYTES == 0


def vector_obstacle(
    view: ArrayView, dims: Sequence[str] = (), counted: Collection[str] = ()
) -> str | None:
    """Why the array cannot be accessed 16 bytes at a time, or None if it can.

    Of its dimensions ``dims``, the strides of those in ``counted`` count whatever their extent.
    """
    if 0 in view.shape:
        return None
    unit = VECTOR_BYTES // view.dtype.bytes
    names = dims or [""] * len(view.shape)
    shape = [
        max(extent, 2) if name in counted else extent
        for extent, name in zip(view.shape, names, strict=True)
    ]
    *outer, (columns, inner) = zip(shape, view.strides, strict=True)
    if columns > 1 and inner != 1:
        return f"its innermost stride is {inner} elements, not 1"
    if view.pointer % VECTOR_BYTES:
        return f"its address {view.pointer:#x} is no multiple of {VECTOR_BYTES}"
    if any(extent > 1 and stride % unit for extent, stride in outer):
        return f"its strides {view.strides} are not all multiples of {unit} elements but the last"
    most = MOST_STRIDE // view.dtype.bytes
    if any(extent > 1 and not 0 < stride < most for extent, stride in outer):
        return f"its strides {view.strides} are not all positive and below {most} elements"
    if max(view.shape) > MOST_EXTENT:
        return f"its shape {view.shape} has more than 2^30 elements in a row"
    return None
