"""What emitted code and its launcher agree on: the argument struct, the grid, the workspace.

A kernel takes exactly one parameter, a packed struct passed by value. ``GeneratedKernel`` says
which value stands at which byte of it, how many CTAs to launch and which scratch memory to bring.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from moedsl.backends.cuda.tensor_map import MAP_ALIGNMENT, MAP_BYTES, TensorSwizzle
from moedsl.work import ceil_div

if TYPE_CHECKING:
    from collections.abc import Mapping


class AccessMode(StrEnum):
    """VECTOR: 16 bytes at a time; ELEMENT: one element at a time, for any strides and base."""

    VECTOR = "vector"
    ELEMENT = "element"


@dataclass(frozen=True, slots=True)
class AccessModes:
    """How each tensor of a kernel may be accessed; hashable, part of what is compiled.

    A tensor is VECTOR if its innermost stride is 1, its base address and its other strides are
    multiples of 16 bytes, no stride is negative or 2^34 bytes or more (strides of dimensions of
    extent 1 do not count) and no extent is above 2^30: every VECTOR tensor can have tensor maps.
    Tensors with fewer than two dimensions are always ELEMENT, so that they make no variants.

    ``whole`` is false where the copy engine is to store outputs, which it does by whole 16 bytes,
    and rows of one of them end within some.
    """

    vector: frozenset[str]
    whole: bool = True

    def __getitem__(self, tensor: str) -> AccessMode:
        return AccessMode.VECTOR if tensor in self.vector else AccessMode.ELEMENT


class WorkspacePart(StrEnum):
    """COUNTER hands out items, SEMAPHORES order the parts of split_k, PARTIALS hold their sums.

    COUNTER and SEMAPHORES are zero before the first launch, and every launch leaves them zero;
    the contents of PARTIALS are undefined before a launch.
    """

    COUNTER = "counter"
    SEMAPHORES = "semaphores"
    PARTIALS = "partials"


@dataclass(frozen=True, slots=True)
class TensorPointer:
    """Address of element 0 of a tensor; 8 bytes."""

    tensor: str


@dataclass(frozen=True, slots=True)
class TensorStride:
    """Elements between neighbours along dimension ``dim`` (0 is outermost) of a tensor."""

    tensor: str
    dim: int


@dataclass(frozen=True, slots=True)
class IndexExtent:
    """Extent of an index; under the ragged index's name the total number of rows."""

    index: str


@dataclass(frozen=True, slots=True)
class OffsetsPointer:
    """Address of ``offs``, i32[E] cumulative ends; 8 bytes."""


@dataclass(frozen=True, slots=True)
class WorkspacePointer:
    """Address of one part of the workspace, 256-byte aligned; 8 bytes."""

    part: WorkspacePart


@dataclass(frozen=True, slots=True)
class TensorMapOf:
    """A map of ``tensor``, which is VECTOR, for the copy engine; 128 bytes, 64-byte aligned.

    ``box`` are elements of each dimension of the tensor, outermost first (as its dims), swizzled in
    shared memory by ``swizzle``. ``clip`` is the number of a dimension (0 outermost, never the
    innermost) whose end the coordinates say, or None; ``tensor_map.map_of`` tells how. ``tf32``:
    loads round to tf32. ``few_rows``: it is read by tiles of few rows, which are bound by memory.
    """

    tensor: str
    box: tuple[int, ...]
    clip: int | None = None
    tf32: bool = False
    few_rows: bool = False
    swizzle: TensorSwizzle = TensorSwizzle.B128


ArgumentSource = (
    TensorPointer | TensorStride | IndexExtent | OffsetsPointer | WorkspacePointer | TensorMapOf
)


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """Field ``name`` of the struct: ``bytes`` (4 or 8, a signed integer or an address; 128, a
    tensor map) at byte ``offset``. C's layout rules hold: offsets are multiples of the field's
    size, those of maps of 64. Raises ValueError if not.
    """

    name: str
    source: ArgumentSource
    offset: int
    bytes: int = 8

    def __post_init__(self) -> None:
        mapped = isinstance(self.source, TensorMapOf)
        if self.bytes not in ((MAP_BYTES,) if mapped else (4, 8)):
            raise ValueError(f"field '{self.name}' has {self.bytes} bytes")
        if self.offset % min(self.bytes, MAP_ALIGNMENT):
            raise ValueError(f"field '{self.name}' of {self.bytes} bytes lies at {self.offset}")


@dataclass(frozen=True, slots=True)
class GridRule:
    """How many CTAs to launch, in one dimension.

    ``rows`` and ``columns`` name the output's indices, ``tile_rows`` and ``tile_columns`` the
    tile. ``row_grouped`` as in the signature: rows then are the ragged index. ``cluster``
    consecutive CTAs take neighbouring tiles.
    """

    persistent: bool
    row_grouped: bool
    experts: int
    rows: str
    columns: str
    tile_rows: int
    tile_columns: int
    split_k: int = 1
    cluster: int = 1

    def most_tiles(self, sizes: Mapping[str, int]) -> int:
        """Upper bound of the output tiles of any distribution of rows over experts.

        ``sizes`` is the call's: the ragged index holds the total number of rows R. The sum of
        ceil(r_e / T) over at most min(E, R) experts with rows is at most
        floor((R + min(E, R) (T - 1)) / T). Columns count in whole clusters.
        """
        rows = sizes[self.rows]
        columns = ceil_div(sizes[self.columns], self.tile_columns * self.cluster) * self.cluster
        if self.row_grouped:
            live = min(self.experts, rows)
            return (rows + live * (self.tile_rows - 1)) // self.tile_rows * columns
        return self.experts * ceil_div(rows, self.tile_rows) * columns

    def blocks(self, sizes: Mapping[str, int], resident: int) -> int:
        """CTAs to launch, in whole clusters, of which ``resident`` fit on the device at once.

        ``resident`` is a multiple of the cluster. 0 if there is no work.
        """
        items = self.most_tiles(sizes) * self.split_k
        return min(items, resident) if self.persistent else items


@dataclass(frozen=True, slots=True)
class WorkspaceRule:
    """Bytes of one part of the workspace: ``fixed`` plus so many for each possible tile
    (``GridRule.most_tiles``) and for each CTA launched.
    """

    part: WorkspacePart
    fixed: int = 0
    per_tile: int = 0
    per_block: int = 0

    @property
    def zeroed(self) -> bool:
        """Whether it must be zero before the first launch."""
        return self.part is not WorkspacePart.PARTIALS

    def bytes(self, tiles: int, blocks: int) -> int:
        """Size for ``tiles`` possible tiles and ``blocks`` launched CTAs."""
        return self.fixed + self.per_tile * tiles + self.per_block * blocks


@dataclass(frozen=True, slots=True)
class GeneratedKernel:
    """One self-contained CUDA C unit and how to launch it.

    ``entry`` is its ``extern "C"`` kernel, ``threads`` the block size, ``shared_bytes`` its
    dynamic shared memory, ``min_blocks`` the CTAs on one SM it was designed for,
    ``argument_bytes`` the size of the struct that ``arguments`` fill. A kernel without any
    workspace rule takes no workspace. ``cluster`` consecutive CTAs are a cluster, which is the
    grid's; raises ValueError if not. If it ``overlaps``, it waits for the launch before by itself,
    and may be launched with programmatic stream serialization.
    """

    source: str
    entry: str
    threads: int
    shared_bytes: int
    min_blocks: int
    arguments: tuple[ArgumentField, ...]
    argument_bytes: int
    grid: GridRule
    workspace: tuple[WorkspaceRule, ...] = ()
    cluster: int = 1
    overlaps: bool = False

    def __post_init__(self) -> None:
        if self.cluster != self.grid.cluster:
            raise ValueError(f"clusters of {self.cluster} on a grid of {self.grid.cluster}")
