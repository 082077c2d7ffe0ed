"""What legality rules judge, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from moedsl.ir.moe import Contract
from moedsl.lower.build_tile import build_tile
from moedsl.lower.resources import resources
from moedsl.lower.resources.specialised import producer_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moedsl.ir.moe import MoeKernel
    from moedsl.ir.schedule import Schedule, ScheduleRequest
    from moedsl.lower.resources import Resources
    from moedsl.source.span import Span
    from moedsl.target import Target

    Rule = Callable[["Case"], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """One broken rule. ``directives`` are Schedule field names, the one to point at first."""

    directives: tuple[str, ...]
    message: str
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str = ""
    span: Span | None = None


@dataclass(frozen=True)
class Case:
    """What is judged: a kernel with a complete schedule on a target.

    ``request`` is what the user wrote of the schedule, ``others`` the kernel's other schedules
    that calls on this target may take. ``rows`` is the typical number of rows in all, if known.
    """

    kernel: MoeKernel
    schedule: Schedule
    target: Target
    request: ScheduleRequest | None = None
    others: tuple[ScheduleRequest, ...] = ()
    rows: int | None = None

    @cached_property
    def resources(self) -> Resources:
        """What the kernel takes of the target; only for schedules whose sizes make sense."""
        return resources(build_tile(self.kernel, self.schedule, self.target), self.target)

    @property
    def producer_groups(self) -> int:
        """Warpgroups that only bring operands in."""
        rows = (c.lhs for c in self.kernel.body if isinstance(c, Contract))
        return producer_groups(rows) if self.schedule.specialised else 0

    @property
    def depths(self) -> tuple[str, ...]:
        """Names of the summed indices, in order of their first contraction."""
        return tuple(dict.fromkeys(c.over for c in self.kernel.body if isinstance(c, Contract)))

    @property
    def cluster_fields(self) -> tuple[str, str]:
        """Both of the cluster's fields, the one that makes it a cluster first."""
        rows, columns = "cluster_rows", "cluster_columns"
        return (rows, columns) if self.schedule.cluster_rows > 1 else (columns, rows)

    def name(self, field: str) -> str:
        """The kernel's own name of rows, columns or depth."""
        signature = self.kernel.signature
        names = {"rows": signature.rows, "columns": signature.columns, "depth": self.depths[0]}
        return names[field]

    def words(self, field: str) -> str:
        """How a user writes a field of the schedule, without its value."""
        match field.split("."):
            case ["tile", role]:
                return f"tile {self.name(role)}"
            case ["raster", "group"]:
                return "raster group"
            case ["cluster_rows"]:
                return f"cluster {self.name('rows')}"
            case ["cluster_columns"]:
                return f"cluster {self.name('columns')}"
            case ["tails"]:
                return "tail"
            case _:
                return field
