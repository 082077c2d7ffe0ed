"""Numbers as scalar arguments: put where the arrays of the call lie."""

from __future__ import annotations

import math
from struct import pack
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.arrays import ArrayError, ArrayView
from moedsl.backend import DEVICE_BACKEND, NumberKeeper, find_backend
from moedsl.libraries import library_of, numpy_type
from moedsl.source.diagnostic import DiagnosticError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moedsl.arguments import Reporter
    from moedsl.ir.core import Tensor


MOST_ROUNDED = 4096
"""Numbers whose rounded form is remembered before all are forgotten."""


class Scalars:
    """The inputs of a kernel that have no dimensions."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        inputs = enumerate(reporter.signature.inputs)
        self._tensors = {position: tensor for position, tensor in inputs if not tensor.dims}
        self._remembered: dict[tuple[int, bytes], bytes] = {}

    def split(
        self, inputs: Sequence[object]
    ) -> tuple[Sequence[object], tuple[int, ...], tuple[bytes, ...]]:
        """``inputs`` without numbers for scalars; where those were; their bytes, rounded.

        Raises DiagnosticError (MOE0516) if a finite number is too large for the declared type.
        """
        at = tuple([position for position in self._tensors if _is_number(inputs[position])])
        if not at:
            return inputs, (), ()
        arrays = [thing for position, thing in enumerate(inputs) if position not in at]
        return arrays, at, tuple([self._bytes(position, inputs[position]) for position in at])

    def place(self, inputs: Sequence[object], stream: int | None) -> Sequence[object]:
        """``inputs``, with ``offs`` last, in which every number for a scalar is now an array.

        The array lies beside ``offs``, on a GPU ready for work on ``stream`` without waiting for
        it, and holds the number rounded to the declared type. Raises as ``split``.
        """
        _, at, numbers = self.split(inputs)
        if not numbers:
            return inputs
        try:
            device = library_of(inputs[-1]).view(inputs[-1], stream).device
        except ArrayError:
            # What is wrong with `offs` is told with all else that is wrong.
            return inputs
        placed = list(inputs)
        for position, data in zip(at, numbers, strict=True):
            dtype = self._tensors[position].dtype
            if device is None:
                placed[position] = np.frombuffer(data, numpy_type(dtype)).reshape(())
            elif keep := number_keeper(device):
                address = keep(data, stream or 0)
                placed[position] = ArrayView(
                    address, (), (), dtype, device, owner=None, writable=False
                )
        return placed

    def _bytes(self, position: int, number: Any) -> bytes:
        """``number`` rounded to the type of the scalar at ``position``."""
        try:
            # Unlike the numbers themselves, bytes tell -0.0 from 0.0, and a NaN is equal to itself.
            key = position, pack("d", float(number))
        except OverflowError:
            return self._rounded(self._tensors[position], number).tobytes()
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= MOST_ROUNDED:
                self._remembered.clear()
            found = self._rounded(self._tensors[position], number).tobytes()
            self._remembered[key] = found
        return found

    def _rounded(self, tensor: Tensor, number: Any) -> np.ndarray[Any, Any]:
        """``number`` as an array of the tensor's type and shape."""
        try:
            exact = float(number)
        except OverflowError:
            exact = math.inf
        with np.errstate(over="ignore"):
            rounded = np.array(exact).astype(numpy_type(tensor.dtype))
        if np.isinf(rounded) and number not in (math.inf, -math.inf):
            text = f"{exact:.3g}" if math.isfinite(exact) else "beyond 1e308"
            message = f"'{tensor.name}' is {text}, too large for {tensor.dtype}"
            label = f"declared {tensor.dtype}"
            found = self._reporter.report("MOE0516", message, tensor.name, label=label)
            raise DiagnosticError([found])
        return rounded


_NUMBERS = int, float, np.integer, np.floating


def _is_number(thing: object) -> bool:
    """Whether ``thing`` is a number of Python or NumPy; truth values are none."""
    return isinstance(thing, _NUMBERS) and not isinstance(thing, bool)


def number_keeper(device: int) -> Callable[[bytes, int], int] | None:
    """What puts numbers on a CUDA device, as NumberKeeper says; None if nothing does."""
    backend = find_backend(DEVICE_BACKEND)
    return backend.number_keeper(device) if isinstance(backend, NumberKeeper) else None
