"""Compiled kernels on disk, shared by all processes of a user.

The cubins lie in cuda.core's program cache (atomic, least recently used goes first). Beside them,
under ``notes/``, stand for each the CUDA C it came from and what ptxas said, which a cache hit
would otherwise lose. A folder that cannot be written means no cache, never a failure.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from moedsl.backends.cuda.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cuda.core.utils import FileStreamProgramCache

MOST_BYTES = 1 << 30
"""Cubins beyond this much are evicted, the longest unread first."""


def cache_folder() -> Path:
    """``$MOEDSL_CACHE_DIR``, else the user's cache folder for moedsl. It need not exist."""
    if chosen := os.environ.get("MOEDSL_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("moedsl", appauthor=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One compiled kernel: ``key`` is a hexadecimal digest, ``bytes`` the size of the cubin,
    ``made`` when it was compiled in seconds since the epoch.
    """

    key: str
    kernel: str
    arch: str
    bytes: int
    made: float
    notes: Notes


class KernelCache:
    """The cache in one folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = folder / "notes"

    @cached_property
    def _programs(self) -> FileStreamProgramCache:
        from cuda.core.utils import FileStreamProgramCache

        return FileStreamProgramCache(self.folder / "programs", max_size_bytes=MOST_BYTES)

    def find(self, key: str) -> tuple[bytes, Notes] | None:
        """The cubin under ``key`` and its notes, if both are whole."""
        entry = self._entry(self._notes / f"{key}.json")
        cubin = self._programs.get(key) if entry else None
        return (cubin, entry.notes) if entry and cubin else None

    def store(
        self, key: str, kernel: str, arch: str, source: str, built: tuple[bytes, Notes]
    ) -> None:
        """Keep ``built``; the cubin comes last, so that what is found is whole."""
        cubin, notes = built
        self.keep_source(key, source)
        entry = Entry(key, kernel, arch, len(cubin), time.time(), notes)
        self._publish(f"{key}.json", json.dumps(asdict(entry)))
        self._programs[key] = cubin

    def keep_source(self, key: str, source: str) -> Path:
        """Write the CUDA C of ``key`` and say where."""
        return self._publish(f"{key}.cu", source)

    def entries(self) -> list[Entry]:
        """What is there, newest first."""
        if not self._notes.is_dir():
            return []
        found = (self._entry(path) for path in self._notes.glob("*.json"))
        return sorted((e for e in found if e), key=lambda e: -e.made)

    def prune(self, days: float) -> list[Entry]:
        """Remove what was compiled more than ``days`` days ago, and notes that lost their cubin.

        Returns what was removed.
        """
        limit = time.time() - days * 86400
        gone = [e for e in self.entries() if e.made < limit or self._programs.get(e.key) is None]
        for entry in gone:
            self._remove(entry.key)
        kept = {entry.key for entry in self.entries()}
        for path in self._files():
            if path.stem not in kept and path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
        return gone

    def clear(self) -> int:
        """Remove everything; returns how many kernels there were."""
        count = len(self.entries())
        if self.folder.is_dir():
            self._programs.clear()
        for path in self._files():
            path.unlink(missing_ok=True)
        return count

    def _files(self) -> Iterator[Path]:
        return self._notes.iterdir() if self._notes.is_dir() else iter(())

    def _remove(self, key: str) -> None:
        with suppress(KeyError):
            del self._programs[key]
        for suffix in (".json", ".cu"):
            (self._notes / (key + suffix)).unlink(missing_ok=True)

    def _entry(self, path: Path) -> Entry | None:
        try:
            fields = json.loads(path.read_text())
            notes = fields.pop("notes")
            messages = tuple(notes.pop("messages"))
            return Entry(**fields, notes=Notes(**notes, messages=messages))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _publish(self, name: str, text: str) -> Path:
        """Write a file whole or not at all, whoever else writes it."""
        self._notes.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=self._notes, suffix=".part", delete=False) as file:
            file.write(text)
        return Path(file.name).replace(self._notes / name)


@cache
def kernel_cache(folder: Path) -> KernelCache:
    """The cache in ``folder``, opened once a process."""
    return KernelCache(folder)
