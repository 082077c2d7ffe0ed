"""Modules: the kernels of one source, all at one level, and the levels that exist.

The levels ``moe``, ``scheduled`` and ``tile`` are built in. A backend adds its own with
:func:`register_dialect` when it is imported; nothing here knows of backends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Protocol, get_args

from moedsl.ir.elementwise import ElementwiseOp
from moedsl.ir.moe import Contract, MoeKernel, MoeOp
from moedsl.ir.tile import Multiply, TileKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moedsl.ir.moe import Signature
    from moedsl.ir.schedule import Schedule
    from moedsl.source.span import Source


class Kernel(Protocol):
    """What the kernels of every level have; the rest of their fields is printed as attributes."""

    @property
    def signature(self) -> Signature:
        """Name, indices, tensors, domain."""

    @property
    def body(self) -> tuple[Any, ...]:
        """Operations in order."""

    @property
    def source(self) -> Source | None:
        """The text the kernel came from."""


@dataclass(frozen=True)
class ScheduledKernel:
    """A moe kernel with its target (``sm_90a``) and complete schedule, before they are applied."""

    signature: Signature
    target: str
    schedule: Schedule
    body: tuple[MoeOp, ...]
    source: Source | None = None

    @property
    def kernel(self) -> MoeKernel:
        """What is computed, without the decisions."""
        return MoeKernel(self.signature, self.body, self.source)


@dataclass(frozen=True)
class Module:
    """Kernels of one level, in the order of their source, which they share."""

    level: str
    kernels: tuple[Kernel, ...]
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule an IR object breaks. ``where`` is that op, index, tensor or kernel itself."""

    message: str
    where: object


@dataclass(frozen=True, slots=True)
class Level:
    """A dialect with kernels. ``verify`` checks what :mod:`moedsl.ir.verify` cannot know."""

    name: str
    kernel: type[Any]
    verify: Callable[[Any], Iterable[Violation]] | None = None


_levels: dict[str, Level] = {}
_mnemonics: dict[type[Any], str] = {}
_ops: dict[str, type[Any]] = {}


def register_dialect(
    prefix: str,
    ops: UnionType | type[Any],
    kernel: type[Any] | None = None,
    verify: Callable[[Any], Iterable[Violation]] | None = None,
) -> None:
    """Make ops printable and parseable as ``prefix.snake_case_name``.

    ``ops`` is the dialect's union of frozen dataclasses; members that another dialect registered
    keep their names. ``kernel``, a dataclass with the fields of :class:`Kernel`, makes the
    dialect a level of its own, which ``verify`` may check further. Registering twice changes
    nothing.
    """
    for op in get_args(ops) or (ops,):
        if op not in _mnemonics:
            snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", op.__name__).lower()
            _mnemonics[op] = f"{prefix}.{snake}"
            _ops[_mnemonics[op]] = op
    if kernel is not None:
        _levels[prefix] = Level(prefix, kernel, verify)


def mnemonic(op: type[Any]) -> str:
    """The name of an op class in IR text; KeyError if it belongs to no dialect."""
    return _mnemonics[op]


def op_named(name: str) -> type[Any] | None:
    """The op class that IR text calls ``name``."""
    return _ops.get(name)


def is_op(kind: object) -> bool:
    """Whether ``kind`` is the class of an operation of some dialect."""
    return isinstance(kind, type) and kind in _mnemonics


def levels() -> dict[str, Level]:
    """Every level by name, built-in ones first."""
    return dict(_levels)


def op_names() -> tuple[str, ...]:
    """Every operation's name in IR text, sorted."""
    return tuple(sorted(_ops))


register_dialect("elem", ElementwiseOp)
register_dialect("moe", Contract, MoeKernel)
register_dialect("scheduled", Contract, ScheduledKernel)
register_dialect("tile", Multiply, TileKernel)
