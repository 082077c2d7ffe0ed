"""The ``gpu`` dialect: roles, memory and pipelines of one CTA.

A kernel's body is one :class:`TileLoop`, which runs for every tile that the CTA takes. In it
stand pipelines, each a loop over stages of depth, then, with split_k, :class:`JoinParts`, and last
the epilogue. Buffers are named places in a stage of shared memory.

Where warps are specialised, the loop holds roles instead: a scheduler publishes the tiles,
producers fill the stages, and consumers run pipelines without copies, and the epilogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moedsl.backends.cuda.abi import AccessMode
from moedsl.ir.core import Access, Value
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.module import register_dialect
from moedsl.ir.moe import Signature
from moedsl.ir.schedule import EpilogueStore, Persistence, Schedule
from moedsl.lower.resources import Resources
from moedsl.source.span import NOWHERE, Source, Span


class Side(StrEnum):
    """Which positions of the output an operand holds."""

    ROWS = "rows"
    COLUMNS = "columns"


class CopyWay(StrEnum):
    """VECTOR: asynchronous, 16 bytes each; MAPPED: the same, lines found through an i32 map;
    ELEMENT: through registers, one element at a time, any strides and maps; TENSOR: boxes of the
    copy engine (TMA).
    """

    VECTOR = "vector"
    MAPPED = "mapped"
    ELEMENT = "element"
    TENSOR = "tensor"


class RoleName(StrEnum):
    """What specialised warps do: hand out tiles, bring in one side's operands, or multiply."""

    SCHEDULER = "scheduler"
    COLUMNS = "columns"
    ROWS = "rows"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Buffer:
    """One operand's part of a stage: ``positions`` × ``depth`` elements at byte ``offset``.

    With specialised warps ``offset`` counts within one block of depth; a stage has several.
    Lines are positions if ``depth_inner``, else steps of depth; 16-byte chunks of a line are
    swizzled over the banks.
    """

    name: str
    side: Side
    positions: int
    depth: int
    depth_inner: bool
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """Bring the next stage of ``access`` into ``buffer``; what lies outside the tensor is zero."""

    access: Access
    buffer: str
    way: CopyWay = CopyWay.ELEMENT
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class MultiplyAdd:
    """Add the product of two buffers to the pipeline's result ``sum``, in every warp."""

    sum: str
    rows: str
    columns: str
    span: Span = NOWHERE


PipelineOp = Copy | MultiplyAdd


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Sum over index ``over`` in stages of ``depth``: copies run ahead of the products.

    ``results`` are the sums, f32 tiles kept in registers.
    """

    results: tuple[Value, ...]
    over: str
    depth: int
    buffers: tuple[Buffer, ...]
    body: tuple[PipelineOp, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class JoinParts:
    """Leave ``operands`` as one of ``parts`` partial sums in the workspace.

    The CTA that is last to do so goes on with the sums over all parts; the others skip the
    epilogue.
    """

    operands: tuple[Value, ...]
    parts: int
    span: Span = NOWHERE


EpilogueOp = Load | Constant | Apply | Store


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Take the sums through shared memory, ``staged_rows`` at a time in each warp, or consumer.

    A thread then runs ``body`` on ``vector`` consecutive columns of one row. With ``store`` TMA,
    it does so in registers before, and the outputs go through shared memory to the copy engine.
    """

    staged_rows: int
    vector: int
    body: tuple[EpilogueOp, ...]
    store: EpilogueStore = EpilogueStore.STAGED
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Publish:
    """Take the tiles of this CTA, up to ``slots`` of them ahead of the roles that read them."""

    slots: int
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Fill:
    """Run the copies in ``body`` for every stage of the sum over ``over``, once it is free."""

    over: str
    body: tuple[Copy, ...]
    span: Span = NOWHERE


RoleOp = Publish | Fill | Pipeline | JoinParts | Epilogue


@dataclass(frozen=True, slots=True)
class Role:
    """Run ``body`` in ``warps`` warps of the CTA, ``registers`` to a thread."""

    name: RoleName
    warps: int
    registers: int
    body: tuple[RoleOp, ...]
    span: Span = NOWHERE

    @property
    def gathers(self) -> bool:
        """Whether the warps of a producer copy by themselves, through a map."""
        fills = [op for op in self.body if isinstance(op, Fill)]
        return any(copy.way is CopyWay.MAPPED for fill in fills for copy in fill.body)


TileOp = Pipeline | JoinParts | Epilogue | Role


@dataclass(frozen=True, slots=True)
class TileLoop:
    """Run ``body`` for every tile of this CTA; the pipelines stay full from tile to tile."""

    persistent: Persistence
    stages: int
    body: tuple[TileOp, ...]
    span: Span = NOWHERE


GpuOp = TileLoop | Role | Publish | Fill | Pipeline | Copy | MultiplyAdd | JoinParts | Epilogue


@dataclass(frozen=True)
class GpuKernel:
    """A kernel for one SM. ``vector`` names the tensors that allow 16-byte access, sorted."""

    signature: Signature
    target: str
    schedule: Schedule
    vector: tuple[str, ...]
    resources: Resources
    body: tuple[TileLoop, ...]
    source: Source | None = None

    @property
    def loop(self) -> TileLoop:
        """The only operation of the body."""
        return self.body[0]

    def role(self, name: RoleName) -> Role:
        """The role called ``name``; KeyError if there is none."""
        for op in self.loop.body:
            if isinstance(op, Role) and op.name is name:
                return op
        raise KeyError(name)

    @property
    def tile_body(self) -> tuple[TileOp | RoleOp, ...]:
        """What is done with a tile: the loop's body, or the consumer's if warps have roles."""
        for op in self.loop.body:
            if isinstance(op, Role) and op.name is RoleName.CONSUMER:
                return op.body
        return self.loop.body

    @property
    def joins_parts(self) -> bool:
        """Whether parts of the depth are summed apart, and joined."""
        return any(isinstance(op, JoinParts) for op in self.tile_body)

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines, in order."""
        return tuple(op for op in self.tile_body if isinstance(op, Pipeline))

    def buffer(self, name: str) -> Buffer:
        """The buffer called ``name``; KeyError if there is none."""
        for pipeline in self.pipelines:
            for buffer in pipeline.buffers:
                if buffer.name == name:
                    return buffer
        raise KeyError(name)

    def copied(self, buffer: str) -> Access:
        """What producers copy to the buffer called ``buffer``; KeyError if nobody does."""
        producers = (self.role(name) for name in (RoleName.COLUMNS, RoleName.ROWS))
        fills = (op for role in producers for op in role.body if isinstance(op, Fill))
        accesses = {copy.buffer: copy.access for fill in fills for copy in fill.body}
        return accesses[buffer]

    @property
    def epilogue(self) -> Epilogue:
        """The epilogue."""
        epilogue = self.tile_body[-1]
        assert isinstance(epilogue, Epilogue)
        return epilogue

    def access(self, tensor: str) -> AccessMode:
        """How ``tensor`` may be accessed."""
        return AccessMode.VECTOR if tensor in self.vector else AccessMode.ELEMENT


register_dialect("gpu", GpuOp, GpuKernel)
