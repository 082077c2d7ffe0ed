"""``moedsl cache``: what was compiled and kept, and how to be rid of it."""

from __future__ import annotations

import argparse
import math
import time
from typing import TYPE_CHECKING

from moedsl.backend import Caching, backends
from moedsl.cli.console import Column
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moedsl.backend import Cache, CacheEntry
    from moedsl.cli.console import Console

COLUMNS = (
    Column("kernel", words=True),
    Column("for", words=True),
    Column("size"),
    Column("compiled", words=True),
    Column("key", words=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``ls``, ``prune [--days N]`` or ``clear``."""
    parser.add_argument(
        "action",
        choices=("ls", "prune", "clear"),
        help="list kernels, newest first; remove those compiled long ago; remove all",
    )
    parser.add_argument(
        "--days", type=_days, default=30.0, help="how long ago is long, for prune (default: 30)"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Do it for the cache of every backend that has one."""
    try:
        for name, backend in backends().items():
            if isinstance(backend, Caching):
                _act(arguments, console, name, backend.cache())
    except OSError as error:
        raise UnavailableError(
            f"the cache cannot be used: {error}", "moedsl doctor says where it lies"
        ) from error
    return 0


def _act(arguments: argparse.Namespace, console: Console, name: str, cache: Cache) -> None:
    match arguments.action:
        case "ls":
            entries = cache.entries()
            console.result(**{name: {"folder": str(cache.folder), "kernels": _plain(entries)}})
            if entries:
                console.table(COLUMNS, [_row(entry) for entry in entries])
            total = sum(entry.bytes for entry in entries)
            console.write(f"{len(entries)} kernels, {total / 1e6:.1f} MB in {cache.folder}")
        case "prune":
            gone = cache.prune(arguments.days)
            console.result(**{name: {"folder": str(cache.folder), "removed": _plain(gone)}})
            console.write(f"removed {len(gone)} kernels from {cache.folder}")
        case _:
            count = cache.clear()
            console.result(**{name: {"folder": str(cache.folder), "removed": count}})
            console.write(f"removed {count} kernels from {cache.folder}")


def _plain(entries: Sequence[CacheEntry]) -> list[dict[str, object]]:
    names = ("key", "kernel", "arch", "bytes", "made")
    return [{name: getattr(entry, name) for name in names} for entry in entries]


def _row(entry: CacheEntry) -> list[str]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made))
    return [entry.kernel, entry.arch, f"{entry.bytes / 1e3:.1f} kB", made, entry.key[:12]]


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days")
    return days
