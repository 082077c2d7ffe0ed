"""Cases: everything that decides a fuzzed run, as plain values that can be written down."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from moedsl.inputs import Layout
from moedsl.ir.core import IndexKind
from moedsl.ir.schedule import Schedule
from moedsl.lower.check_schedule import check_schedule
from moedsl.meaning import Mode
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from moedsl.ir.moe import MoeKernel

MOST_BYTES = 1 << 24
"""No case is as large as this when written down."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One call: ``rows`` per expert, ``sizes`` of the dynamic indices, data for ``mode``.

    ``spare_rows`` are rows of no expert behind the last one; tensors that ``layouts`` leaves out
    are packed and aligned.
    """

    rows: tuple[int, ...]
    mode: Mode
    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    spare_rows: int = 0
    layouts: Mapping[str, Layout] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One compilation of ``kernel`` and calls of it; ``extents`` replace those of fixed indices."""

    kernel: str
    target: str
    extents: Mapping[str, int]
    schedule: Schedule
    batches: tuple[Batch, ...]

    def resized(self, kernel: MoeKernel) -> MoeKernel:
        """``kernel`` with the case's extents."""
        indices = tuple(
            replace(index, extent=self.extents.get(index.name, index.extent))
            if index.kind is IndexKind.FIXED
            else index
            for index in kernel.signature.indices
        )
        return replace(kernel, signature=replace(kernel.signature, indices=indices))

    def legal(self, kernel: MoeKernel) -> bool:
        """Whether no rule refuses the schedule for ``kernel``, which the case fits."""
        found = check_schedule(self.resized(kernel), self.schedule, None, TARGETS[self.target])
        return not any(diagnostic.severity is Severity.ERROR for diagnostic in found)

    def fits(self, kernel: MoeKernel) -> bool:
        """Whether the case was drawn for a kernel of this name, these indices and tensors."""
        signature = kernel.signature
        fixed = {index.name for index in signature.indices if index.kind is IndexKind.FIXED}
        dynamic = {index.name for index in signature.dynamic}
        tensors = {tensor.name: len(tensor.dims) for tensor in signature.tensors}
        return (
            self.kernel == signature.name
            and self.target in TARGETS
            and self.extents.keys() == fixed
            and min(self.extents.values()) > 0
            and all(
                len(batch.rows) == self.extents[signature.experts]
                and min(batch.rows, default=0) >= 0
                and batch.sizes.keys() == dynamic
                and min(batch.sizes.values(), default=1) > 0
                and batch.spare_rows >= 0
                and all(_lies(layout, tensors.get(n)) for n, layout in batch.layouts.items())
                for batch in self.batches
            )
        )


def _lies(layout: Layout, dims: int | None) -> bool:
    """Whether ``layout`` can be that of a tensor with ``dims`` dimensions."""
    order = sorted(layout.order) or list(range(dims or 0))
    least = min(layout.padding, layout.gap - 1, layout.shift)
    return dims is not None and order == list(range(dims)) and least >= 0


def to_json(case: Case) -> dict[str, Any]:
    """``case`` as values that JSON knows."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(case)))
    return plain


def from_json(value: object) -> Case:
    """The case that ``value`` holds; raises ValueError where it does not fit."""
    case = _decode(Case, value)
    assert isinstance(case, Case)
    return case


def to_token(case: Case) -> str:
    """``case`` in one word, for a command line."""
    text = json.dumps(to_json(case), separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()


def read_case(text: str) -> Case:
    """The case of a token or of a corpus entry's path; raises DiagnosticError (MOE0625)."""
    path = Path(text)
    try:
        if path.suffix == ".json":
            return from_json(json.loads(path.read_text(encoding="utf-8"))["case"])
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(base64.urlsafe_b64decode(text), MOST_BYTES)
        if not unpacker.eof:
            raise zlib.error("the end is missing")
        return from_json(json.loads(plain))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
        reason = "damaged or cut off" if isinstance(error, binascii.Error | zlib.error) else error
        raise DiagnosticError(
            [
                Diagnostic(
                    "MOE0625",
                    f"cannot read a case from '{path if path.suffix == '.json' else text[:80]}'",
                    notes=(f"reason: {reason}",),
                    help="give what `moedsl fuzz` printed after --replay, or a corpus entry",
                )
            ]
        ) from error


def _decode(kind: Any, value: Any) -> object:
    """``value``, as JSON gives it, as an instance of the annotation ``kind``."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind, localns={"Mapping": Mapping})
        if not isinstance(value, dict) or not value.keys() <= {f.name for f in fields(kind)}:
            raise ValueError(f"not a {kind.__name__}: {str(value)[:80]}")
        return kind(**{name: _decode(hints[name], item) for name, item in value.items()})
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"not a list: {str(value)[:80]}")
        return tuple(_decode(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {str(value)[:80]}")
        return {key: _decode(get_args(kind)[1], item) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if not isinstance(value, kind):
        raise ValueError(f"not a {kind.__name__}: {str(value)[:80]}")
    return value
