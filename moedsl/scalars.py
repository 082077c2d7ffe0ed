"""Numbers as scalar arguments: put where the arrays of the call lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.arrays import ArrayError
from moedsl.backend import DEVICE_BACKEND, NumberKeeper, find_backend
from moedsl.libraries import library_of, numpy_type
from moedsl.source.diagnostic import DiagnosticError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.arguments import Reporter
    from moedsl.ir.core import Tensor


class Scalars:
    """The inputs of a kernel that have no dimensions."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        inputs = enumerate(reporter.signature.inputs)
        self._tensors = {position: tensor for position, tensor in inputs if not tensor.dims}

    def place(self, inputs: Sequence[object], stream: int | None) -> Sequence[object]:
        """``inputs``, with ``offs`` last, in which every number for a scalar is now an array.

        The array lies beside ``offs``, on a GPU ready for work on ``stream`` without waiting for
        it, and holds the number rounded to the declared type. Raises DiagnosticError (MOE0516) if
        a finite number is too large for that type.
        """
        numbers = [at for at in self._tensors if _is_number(inputs[at])]
        if not numbers:
            return inputs
        try:
            device = library_of(inputs[-1]).view(inputs[-1], stream).device
        except ArrayError:
            # What is wrong with `offs` is told with all else that is wrong.
            return inputs
        placed = list(inputs)
        for at in numbers:
            rounded = self._rounded(self._tensors[at], inputs[at])
            if device is None:
                placed[at] = rounded
                continue
            backend = find_backend(DEVICE_BACKEND)
            if isinstance(backend, NumberKeeper):
                dtype = self._tensors[at].dtype
                placed[at] = backend.keep_number(rounded.tobytes(), dtype, device, stream or 0)
        return placed

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


def _is_number(thing: object) -> bool:
    """Whether ``thing`` is a number of Python or NumPy; truth values are none."""
    return isinstance(thing, int | float | np.integer | np.floating) and not isinstance(thing, bool)
