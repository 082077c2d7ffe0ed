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
    from collections.abc import Iterable, Mapping, Sequence

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


def make_data(arguments: argparse.Namespace, kernels: Sequence[MoeKernel]) -> list[Data]:
    """What ``--rows --size --seed --inputs`` mean for each of ``kernels``.

    Raises DiagnosticError: MOE0607 for arrays and MOE0608 for sizes that are no kernel's.
    """
    arrays, rows = read_arrays(arguments.inputs, kernels) if arguments.inputs else ({}, None)
    _check_sizes(kernels, dict(arguments.sizes))
    return [_data(arguments, kernel, arrays, rows) for kernel in kernels]


def _data(
    arguments: argparse.Namespace,
    kernel: MoeKernel,
    arrays: Mapping[str, Array],
    rows: Sequence[int] | None,
) -> Data:
    signature, given = kernel.signature, _converted(arrays, kernel)
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
    found = {
        dim: extent
        for name, array in given.items()
        for dim, extent in zip(kernel.signature.tensor(name).dims, array.shape, strict=False)
    }
    names = [index.name for index in kernel.signature.dynamic]
    return {name: wanted.get(name, found.get(name, max(rows, 1))) for name in names}


def _check_sizes(kernels: Sequence[MoeKernel], wanted: Iterable[str]) -> None:
    names = {index.name: None for kernel in kernels for index in kernel.signature.dynamic}
    for name in wanted:
        if name not in names:
            listing = f"dynamic indices: {', '.join(names) or 'none'}"
            message = f"'{name}' is no dynamic index of {_called(kernels)}"
            raise DiagnosticError([Diagnostic("MOE0608", message, notes=(listing,))])


def _called(kernels: Sequence[MoeKernel]) -> str:
    return " or ".join(f"'{kernel.signature.name}'" for kernel in kernels)


def read_arrays(
    file: str, kernels: Sequence[MoeKernel]
) -> tuple[dict[str, Array], list[int] | None]:
    """The tensors in ``file`` by name, and the rows per expert if it holds ``offs``.

    Raises DiagnosticError (MOE0607), also for a name that is no kernel's.
    """
    try:
        with Path(file).open("rb") as stream, np.lib.npyio.NpzFile(stream) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except OSError as error:
        raise _wrong(f"cannot read '{file}': {error.strerror or error}") from error
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise _wrong(f"cannot read '{file}' as an .npz file: {error}") from error
    offs = arrays.pop("offs", None)
    known = {tensor.name: None for kernel in kernels for tensor in kernel.signature.tensors}
    for name, array in arrays.items():
        if name not in known:
            help = f"there are {', '.join(known)} and offs"
            raise _wrong(f"'{name}' is no tensor of {_called(kernels)}", help)
        if array.dtype.kind == "c":
            raise _wrong(f"'{name}' holds complex numbers")
    return arrays, None if offs is None else _rows(offs)


def _converted(arrays: Mapping[str, Array], kernel: MoeKernel) -> dict[str, Array]:
    """Those of ``arrays`` that ``kernel`` has, with its types.

    bf16 arrays are stored as such by NumPy (two bytes of no type), as f32 or as anything else
    that NumPy can convert.
    """
    types = {tensor.name: NUMPY_TYPES[tensor.dtype] for tensor in kernel.signature.tensors}
    found = {}
    for name in (name for name in arrays if name in types):
        array, dtype = arrays[name], types[name]
        raw = array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize
        try:
            found[name] = array.view(dtype) if raw else array.astype(dtype)
        except (TypeError, ValueError) as error:
            raise _wrong(f"'{name}' cannot be converted: {error}") from error
    return found


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
