"""What a run computes with: rows per expert, sizes, tensors from a file."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.ir.core import DType
from moedsl.meaning import NUMPY_TYPES, Mode
from moedsl.rows import parse_rows
from moedsl.source.diagnostic import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from moedsl.ir.moe import MoeKernel

    Array = np.ndarray[Any, Any]

SUGGESTED_ROWS = re.compile(r"^[ \t]*#[ \t]*rows:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
"""A comment with which a file says on which rows it is best run."""

ROWS_PER_EXPERT = 64
"""Where nobody says how many rows: so many for each expert, at most MOST_ROWS in all."""

MOST_ROWS = 4096


@dataclass(frozen=True)
class Data:
    """What a trial computes with: ``given`` tensors by name, the others drawn from ``seed``."""

    rows: tuple[int, ...]
    sizes: Mapping[str, int]
    seed: int
    given: Mapping[str, Array]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The tests that this data allows: given data may be of any kind."""
        return (Mode.BOUND,) if self.given else (Mode.STATISTICAL, Mode.EXACT)


def make_data(arguments: argparse.Namespace, kernel: MoeKernel) -> Data:
    """What ``--rows --size --seed --inputs`` mean for ``kernel``."""
    signature = kernel.signature
    given, rows = read_arrays(arguments.inputs, kernel) if arguments.inputs else ({}, None)
    if arguments.rows is not None or rows is None:
        words = _default_rows(kernel) if arguments.rows is None else arguments.rows
        rows = parse_rows(words, signature.expert_count, arguments.seed)
    if len(rows) != signature.expert_count:
        raise _wrong(f"'offs' has {len(rows)} ends for {signature.expert_count} experts")
    sizes = {i.name: i.extent for i in signature.indices if i.extent is not None}
    sizes |= _dynamic_sizes(kernel, dict(arguments.sizes), given, sum(rows))
    return Data(tuple(rows), sizes, arguments.seed, given)


def _default_rows(kernel: MoeKernel) -> str:
    """What the file suggests if that fits the number of experts, else rows far from even."""
    experts = kernel.signature.expert_count
    suggested = SUGGESTED_ROWS.search(kernel.source.text) if kernel.source else None
    if suggested and (":" in suggested[1] or suggested[1].count(",") == experts - 1):
        return suggested[1]
    return f"zipf:{min(MOST_ROWS, ROWS_PER_EXPERT * experts)}:0.7"


def _dynamic_sizes(
    kernel: MoeKernel, wanted: Mapping[str, int], given: Mapping[str, Array], rows: int
) -> dict[str, int]:
    """Extents of the dynamic indices: as wanted, as the given tensors have, else ``rows``."""
    names = [index.name for index in kernel.signature.dynamic]
    for name in wanted:
        if name not in names:
            listing = f"dynamic indices: {', '.join(names) or 'none'}"
            message = f"'{name}' is no dynamic index of '{kernel.signature.name}'"
            raise DiagnosticError([Diagnostic("MOE0608", message, notes=(listing,))])
    found = {
        dim: extent
        for name, array in given.items()
        for dim, extent in zip(kernel.signature.tensor(name).dims, array.shape, strict=False)
    }
    return {name: wanted.get(name, found.get(name, max(rows, 1))) for name in names}


def read_arrays(file: str, kernel: MoeKernel) -> tuple[dict[str, Array], list[int] | None]:
    """The tensors in ``file`` by name, and the rows per expert if it holds ``offs``.

    bf16 arrays are stored as such by NumPy (two bytes of no type), as f32 or as anything else
    that NumPy can convert. Raises DiagnosticError (MOE0607).
    """
    try:
        with Path(file).open("rb") as stream, np.lib.npyio.NpzFile(stream) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except OSError as error:
        raise _wrong(f"cannot read '{file}': {error.strerror or error}") from error
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise _wrong(f"cannot read '{file}' as an .npz file: {error}") from error
    offs = arrays.pop("offs", None)
    types = {tensor.name: NUMPY_TYPES[tensor.dtype] for tensor in kernel.signature.tensors}
    for name, array in arrays.items():
        if name not in types:
            raise _wrong(
                f"'{name}' is no tensor of the kernel", f"it has {', '.join(types)} and offs"
            )
        if array.dtype.kind == "c":
            raise _wrong(f"'{name}' holds complex numbers")
        raw = array.dtype.kind == "V" and array.dtype.itemsize == types[name].itemsize
        try:
            arrays[name] = array.view(types[name]) if raw else array.astype(types[name])
        except (TypeError, ValueError) as error:
            raise _wrong(f"'{name}' cannot be converted: {error}") from error
    return arrays, None if offs is None else _rows(offs)


def _rows(offs: Array) -> list[int]:
    if offs.ndim != 1 or offs.dtype.kind not in "iu":
        raise _wrong("'offs' is not a vector of integers")
    rows = np.diff(offs.astype(np.int64), prepend=0)
    if (rows < 0).any():
        raise _wrong("'offs' falls: it holds the cumulative ends of the experts' rows")
    return [int(count) for count in rows]


def fitting(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """``array`` if it has ``shape``; else MOE0607."""
    if array.shape != shape:
        raise _wrong(f"'{name}' has shape {array.shape}, not {shape}")
    return array


def write_arrays(file: str, arrays: Mapping[str, Array]) -> None:
    """Write outputs to ``file``; bf16 becomes f32, which NumPy knows. MOE0609 if it cannot be."""
    plain = {
        name: array.astype(np.float32) if array.dtype == NUMPY_TYPES[DType.BF16] else array
        for name, array in arrays.items()
    }
    try:
        with Path(file).open("wb") as opened:
            np.savez(opened, allow_pickle=False, **plain)
    except OSError as error:
        message = f"cannot write '{file}': {error.strerror or error}"
        raise DiagnosticError([Diagnostic("MOE0609", message)]) from error


def _wrong(message: str, help: str = "") -> DiagnosticError:
    """The error about ``--inputs``."""
    return DiagnosticError([Diagnostic("MOE0607", message, help=help)])
