"""What emitted code and its launcher agree on: the argument struct, the grid, the workspace.

A kernel takes exactly one parameter, a packed struct passed by value. ``GeneratedKernel`` says
which value stands at which byte of it, how many CTAs to launch and which scratch memory to bring.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

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

    A tensor is VECTOR if its innermost stride is 1 and its base address and its other strides
    are multiples of 16 bytes (strides of dimensions of extent 1 do not count). Tensors with
    fewer than two dimensions are always ELEMENT, so that they make no variants.
    """

    vector: frozenset[str]

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


ArgumentSource = TensorPointer | TensorStride | IndexExtent | OffsetsPointer | WorkspacePointer


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """Field ``name`` of the struct: ``bytes`` (4 or 8, a signed integer or an address) at byte
    ``offset``. C's layout rules hold: offsets are multiples of the field's size.
    """

    name: str
    source: ArgumentSource
    offset: int
    bytes: int = 8


@dataclass(frozen=True, slots=True)
class GridRule:
    """How many CTAs to launch, in one dimension.

    ``rows`` and ``columns`` name the output's indices, ``tile_rows`` and ``tile_columns`` the
    tile. ``row_grouped`` as in the signature: rows then are the ragged index.
    """

    persistent: bool
    row_grouped: bool
    experts: int
    rows: str
    columns: str
    tile_rows: int
    tile_columns: int
    split_k: int = 1

    def most_tiles(self, sizes: Mapping[str, int]) -> int:
        """Upper bound of the output tiles of any distribution of rows over experts.

        ``sizes`` is the call's: the ragged index holds the total number of rows R. The sum of
        ceil(r_e / T) over at most min(E, R) experts with rows is at most
        floor((R + min(E, R) (T - 1)) / T).
        """
        rows, columns = sizes[self.rows], ceil_div(sizes[self.columns], self.tile_columns)
        if self.row_grouped:
            live = min(self.experts, rows)
            return (rows + live * (self.tile_rows - 1)) // self.tile_rows * columns
        return self.experts * ceil_div(rows, self.tile_rows) * columns

    def blocks(self, sizes: Mapping[str, int], resident: int) -> int:
        """CTAs to launch where ``resident`` fit on the device at once; 0 if there is no work."""
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
    workspace rule takes no workspace.
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
