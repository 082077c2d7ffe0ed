"""Checks what ``offs`` and the maps of a call hold, which must be read on the host for it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.moe import Contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moedsl.arguments import Reporter
    from moedsl.ir.core import Access
    from moedsl.ir.moe import MoeKernel
    from moedsl.source.diagnostic import Diagnostic


def accesses(kernel: MoeKernel) -> Iterator[tuple[Access, Store | None]]:
    """Every access of a kernel, with its store if it is one."""
    for op in kernel.body:
        match op:
            case Contract():
                yield op.lhs, None
                yield op.rhs, None
            case Load():
                yield op.access, None
            case Store():
                yield op.access, op
            case Constant() | Apply():
                pass


def scattered(kernel: MoeKernel) -> frozenset[str]:
    """Outputs that are written through a map, so perhaps not everywhere."""
    return frozenset(
        access.tensor
        for access, store in accesses(kernel)
        if store is not None and any(c.via for c in access.coordinates)
    )


def map_names(kernel: MoeKernel) -> frozenset[str]:
    """Inputs that are used as subscripts."""
    return frozenset(c.via for access, _ in accesses(kernel) for c in access.coordinates if c.via)


def check_ends(reporter: Reporter, ends: Sequence[int], rows: int) -> Iterator[Diagnostic]:
    """``offs`` must rise, from 0 or more to at most ``rows``: MOE0512."""
    for expert, (before, end) in enumerate(pairwise((0, *ends))):
        if end < before:
            yield reporter.report(
                "MOE0512",
                f"'offs' falls from {before} to {end} at expert {expert}",
                help="offs holds cumulative ends: offs[e] is offs[e-1] plus the rows of expert e",
            )
            return
    if ends and ends[-1] > rows:
        yield reporter.report(
            "MOE0512",
            f"'offs' ends at {ends[-1]}, but '{reporter.signature.ragged}' has {rows} positions",
        )


def check_maps(
    reporter: Reporter,
    kernel: MoeKernel,
    maps: Mapping[str, np.ndarray[Any, Any]],
    sizes: Mapping[str, int],
    rows: int,
) -> Iterator[Diagnostic]:
    """Maps must point into what they subscript, MOE0513, and plain stores nowhere twice, MOE0514.

    Only the first ``rows`` positions of the ragged index, which experts own, are looked at.
    """
    signature = kernel.signature
    seen: set[tuple[str, str, int]] = set()
    for access, store in accesses(kernel):
        dims = signature.tensor(access.tensor).dims
        for position, coordinate in enumerate(access.coordinates):
            if coordinate.via is None or (coordinate.via, access.tensor, position) in seen:
                continue
            seen.add((coordinate.via, access.tensor, position))
            values = maps[coordinate.via]
            if coordinate.index == signature.ragged:
                values = values[:rows]
            extent = sizes[dims[position]]
            yield from _outside(reporter, coordinate.via, values, access.tensor, extent)
            if store is not None and not store.accumulate:
                yield from _repeated(reporter, coordinate.via, values, access.tensor)


def _outside(
    reporter: Reporter, name: str, values: np.ndarray[Any, Any], tensor: str, extent: int
) -> Iterator[Diagnostic]:
    wrong = np.flatnonzero((values < 0) | (values >= extent))
    if wrong.size:
        first = int(wrong[0])
        yield reporter.report(
            "MOE0513",
            f"'{name}[{first}]' is {int(values[first])}, expected 0 to {extent - 1}",
            name,
            label=f"subscripts '{tensor}'",
        )


def _repeated(
    reporter: Reporter, name: str, values: np.ndarray[Any, Any], tensor: str
) -> Iterator[Diagnostic]:
    kept, counts = np.unique(values, return_counts=True)
    if (counts > 1).any():
        twice = int(kept[int(np.argmax(counts > 1))])
        first, second = (int(i) for i in np.flatnonzero(values == twice)[:2])
        yield reporter.report(
            "MOE0514",
            f"'{name}[{first}]' and '{name}[{second}]' are both {twice}: "
            f"'{tensor}' would be written twice there",
            name,
            help="each element is written once; += adds up",
        )
