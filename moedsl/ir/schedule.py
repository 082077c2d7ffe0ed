"""How a kernel is computed: the complete schedule, every decision filled in.

Rows, columns and depth name the output's first index (per expert), its second index and the
summed index; the language writes them with the kernel's own index names
(``tile m=128 n=256 k=64``; in a weight gradient ``tile n=128 k=128 m=64``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from moedsl.source.span import NOWHERE, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.source.span import Source


class Persistence(StrEnum):
    """Who takes the next work item: a fixed stride, a shared counter, or one CTA for each item."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    OFF = "off"


class Cooperation(StrEnum):
    """COOPERATIVE: all consumers share a tile; PINGPONG: they alternate whole tiles."""

    COOPERATIVE = "cooperative"
    PINGPONG = "pingpong"


class Along(StrEnum):
    """The direction in which consecutive tiles of a raster group walk."""

    ROWS = "rows"
    COLUMNS = "columns"


class ExpertOrder(StrEnum):
    """INDEX: experts as numbered; LONGEST: by falling row count, ties by number; INTERLEAVED: those
    with more than one row tile, which compute, spread evenly among the others, which wait for
    weights, each as numbered.
    """

    INDEX = "index"
    LONGEST = "longest"
    INTERLEAVED = "interleaved"


class EpilogueStore(StrEnum):
    """How accumulators leave: STAGED through shared memory; TMA by bulk tensor stores."""

    STAGED = "staged"
    TMA = "tma"


class Eviction(StrEnum):
    """What the second cache level gives up FIRST or LAST to make room; NORMAL: in its own order.

    ONCE: first what no other tile reads, if some tiles read what others do; else NORMAL.
    """

    NORMAL = "normal"
    FIRST = "first"
    LAST = "last"
    ONCE = "once"


class Requirement(StrEnum):
    """Properties the compiler proves of the schedule or refuses.

    DETERMINISTIC: the same inputs give the same bits. BATCH_INVARIANT: a row's bits do not
    depend on the other rows of the batch.
    """

    DETERMINISTIC = "deterministic"
    BATCH_INVARIANT = "batch_invariant"


@dataclass(frozen=True, slots=True)
class TileShape:
    """Output rows and columns of one tile, and the depth of one pipeline stage, in elements."""

    rows: int
    columns: int
    depth: int


@dataclass(frozen=True, slots=True)
class Raster:
    """Order of an expert's tiles: ``group`` tiles along one direction, then one step across.

    Along ROWS: groups of ``group`` row tiles; within a group, for each column tile, its row
    tiles. Along COLUMNS: the same with rows and columns exchanged. ``serpentine`` walks every
    second pass inside a group backwards.
    """

    along: Along = Along.ROWS
    group: int = 8
    serpentine: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every decision about one kernel on one target.

    ``tails`` are the heights allowed besides ``tile.rows``, falling. ``balanced`` tiles share an
    expert's rows evenly, in units of the lowest height; otherwise all are full but the last.
    ``consumers`` counts groups of 128 threads. ``cluster_rows`` and ``cluster_columns`` count CTAs
    that share columns or rows.
    Evictions are hints about the operands of rows and columns. ``fuse_rows`` is the most rows of an
    expert that shares its work item with its neighbours; 0 fuses nothing. ``producer_registers``
    and ``consumer_registers`` are 0 where warps are not specialised.
    """

    tile: TileShape
    tails: tuple[int, ...] = ()
    balanced: bool = False
    swap_ab: bool = False
    stages: int = 3
    consumers: int = 1
    cooperation: Cooperation = Cooperation.COOPERATIVE
    producer_registers: int = 0
    consumer_registers: int = 0
    cluster_rows: int = 1
    cluster_columns: int = 1
    row_eviction: Eviction = Eviction.NORMAL
    column_eviction: Eviction = Eviction.NORMAL
    persistent: Persistence = Persistence.STATIC
    order: ExpertOrder = ExpertOrder.INDEX
    raster: Raster = Raster()
    fuse_rows: int = 0
    split_k: int = 1
    epilogue_store: EpilogueStore = EpilogueStore.STAGED
    require: tuple[Requirement, ...] = ()

    @property
    def heights(self) -> tuple[int, ...]:
        """All tile heights the kernel may use, falling; the first is ``tile.rows``."""
        return (self.tile.rows, *self.tails)

    @property
    def specialised(self) -> bool:
        """Whether warps have roles, producers or consumers, and unequal shares of registers."""
        return self.consumer_registers > 0

    @property
    def cluster(self) -> int:
        """CTAs that share operands."""
        return self.cluster_rows * self.cluster_columns

    @property
    def unit(self) -> int:
        """The lowest height, in multiples of which balanced tiles share an expert's rows."""
        return self.heights[-1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One bound of ``when rows <= 512``: ``operator`` is one of ``< <= > >= ==``."""

    operator: str
    bound: int

    def holds(self, rows: int) -> bool:
        """Whether a call with ``rows`` rows in all is within this bound."""
        match self.operator:
            case "<":
                return rows < self.bound
            case "<=":
                return rows <= self.bound
            case ">":
                return rows > self.bound
            case ">=":
                return rows >= self.bound
            case _:
                return rows == self.bound


@dataclass(frozen=True)
class ScheduleRequest:
    """What one ``schedule`` block asks for; the compiler decides the rest.

    ``given`` maps :class:`Schedule` field names (``tile.rows``, ``raster.group`` for nested ones)
    to values of that field's type, ``spans`` the same names to where they were written. ``on`` is
    an architecture or None for any; ``when`` are bounds on the call's total rows, all of which
    must hold.
    """

    name: str
    kernel: str
    on: str | None = None
    when: tuple[Comparison, ...] = ()
    given: Mapping[str, object] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    span: Span = NOWHERE
    source: Source | None = None
