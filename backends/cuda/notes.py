"""What ptxas says about a kernel, read from its log."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOTE = re.compile(r"\(C\d{4}\)|\bwarning\b|\berror\b|serialized", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notes:
    """The cost of a kernel. ``registers`` and ``barriers`` are counts, the highest of any entry of
    the unit; the other numbers are bytes a thread (``static_shared``: a CTA). ``messages`` are
    the log's remarks and warnings, such as C7510, "wgmma serialized".
    """

    registers: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    stack: int = 0
    static_shared: int = 0
    barriers: int = 0
    messages: tuple[str, ...] = ()

    @property
    def spills(self) -> bool:
        """Whether registers went to local memory."""
        return self.spill_stores + self.spill_loads > 0

    @property
    def serialized(self) -> tuple[str, ...]:
        """Why products wait for one another, as ptxas says it; empty if they overlap."""
        return tuple(line for line in self.messages if "serialized" in line)


def read_notes(log: str) -> Notes:
    """Notes of an NVRTC log made with ``--ptxas-options=-v``."""

    def most(pattern: str) -> int:
        return max(map(int, re.findall(pattern, log)), default=0)

    lines = (line.strip(" \0") for line in log.splitlines())
    return Notes(
        registers=most(r"Used (\d+) registers"),
        spill_stores=most(r"(\d+) bytes spill stores"),
        spill_loads=most(r"(\d+) bytes spill loads"),
        stack=most(r"(\d+) bytes stack frame"),
        static_shared=most(r"(\d+) bytes smem"),
        barriers=most(r"used (\d+) barriers"),
        messages=tuple(dict.fromkeys(line for line in lines if _NOTE.search(line))),
    )
