"""Which rules every level's kernels obey, checked between all passes and on IR text.

A broken rule after a pass is a bug of moedsl (:class:`BrokenIRError`); in text a user wrote it
is a diagnostic (:func:`moedsl.ir.text.parse_module`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from moedsl.ir import reflect
from moedsl.ir.core import Compute, DType, IndexKind, Role, Value
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.module import ScheduledKernel, Violation, levels
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.tile import Multiply, TileKernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moedsl.ir.core import Access, Index, Tensor
    from moedsl.ir.module import Kernel, Module
    from moedsl.ir.moe import Signature
    from moedsl.ir.schedule import Schedule

FACTOR_TYPE = {
    Compute.BF16: DType.BF16,
    Compute.F16: DType.F16,
    Compute.F32: DType.F32,
    Compute.TF32: DType.F32,
}
"""Element type of the factors of every contraction, by how products are formed."""


class BrokenIRError(Exception):
    """A pass left IR that breaks the rules: a bug of moedsl, never of its user."""

    def __init__(self, after: str, violations: list[Violation]) -> None:
        self.after, self.violations = after, violations
        lines = "".join(f"\n  {found.message}: {found.where}" for found in violations)
        super().__init__(f"after {after} the IR is ill-formed:{lines}")


def verify_module(module: Module, after: str) -> None:
    """Raise BrokenIRError, which names the step ``after`` which it is called, or return."""
    violations = violations_of(module)
    if violations:
        raise BrokenIRError(after, violations)


def violations_of(module: Module) -> list[Violation]:
    """Every rule that ``module`` breaks, kernel by kernel."""
    found: list[Violation] = []
    names: set[str] = set()
    level = levels()[module.level]
    for kernel in module.kernels:
        if not isinstance(kernel, level.kernel):
            found.append(Violation(f"not a kernel of level {level.name}", kernel))
            continue
        if kernel.signature.name in names:
            found.append(Violation(f"kernel {kernel.signature.name} is there twice", kernel))
        names.add(kernel.signature.name)
        if kernel.source != module.source:
            found.append(Violation("the kernel's source is not its module's", kernel))
        found += _kernel(kernel, level.verify)
    return found


def _kernel(kernel: Any, more: Any) -> Iterator[Violation]:
    # Later rules look names up that earlier ones found to exist.
    for rules in (_signature, _values, _body, _schedule, more):
        found = list(rules(kernel)) if rules is not None else []
        yield from found
        if found:
            return


def _signature(kernel: Kernel) -> Iterator[Violation]:
    signature = kernel.signature
    names: set[str] = set()
    declared: tuple[Index | Tensor, ...] = (*signature.indices, *signature.tensors)
    for item in declared:
        if item.name in names:
            yield Violation(f"{item.name} is declared twice", item)
        names.add(item.name)
    known = {index.name: index for index in signature.indices}
    for index in signature.indices:
        yield from _index(index, known)
    for tensor in signature.tensors:
        for name in tensor.dims:
            if name not in known:
                yield Violation(f"there is no index {name}", tensor)
        if tensor.dtype is DType.I32 and (tensor.role is not Role.INPUT or len(tensor.dims) != 1):
            yield Violation("an i32 tensor is a map: an input with one dimension", tensor)
    yield from _domain(kernel, signature, known)


def _index(index: Index, known: dict[str, Index]) -> Iterator[Violation]:
    fixed, ragged = index.kind is IndexKind.FIXED, index.kind is IndexKind.RAGGED
    if fixed != (index.extent is not None) or (index.extent is not None and index.extent < 1):
        yield Violation("a fixed index, and no other, has an extent of at least 1", index)
    if ragged != (index.over is not None):
        yield Violation("a ragged index, and no other, is over another index", index)
    if ragged and (index.over not in known or known[index.over].kind is not IndexKind.FIXED):
        yield Violation("a ragged index is over a fixed one", index)


def _domain(kernel: Kernel, signature: Signature, known: dict[str, Index]) -> Iterator[Violation]:
    names = (signature.experts, signature.ragged, signature.rows, signature.columns)
    for name in names:
        if name not in known:
            yield Violation(f"there is no index {name}", kernel)
            return
    if [i.name for i in signature.indices if i.kind is IndexKind.RAGGED] != [signature.ragged]:
        yield Violation("exactly one index is ragged", kernel)
    elif known[signature.ragged].over != signature.experts:
        yield Violation("the ragged index is not over the expert index", kernel)
    if len({signature.experts, signature.rows, signature.columns}) < 3:
        yield Violation("experts, rows and columns are three different indices", kernel)
    if signature.columns == signature.ragged:
        yield Violation("the ragged index is the rows or the depth, never the columns", kernel)


def _values(kernel: Kernel) -> Iterator[Violation]:
    yield from _region(kernel.body, {}, set())


def _region(
    body: tuple[Any, ...], outer: dict[str, Value], defined: set[str]
) -> Iterator[Violation]:
    """Every value is defined once in the kernel, and before its uses in scope."""
    scope = dict(outer)
    for op in body:
        inside = scope | {value.name: value for value in reflect.arguments(op)}
        for value in reflect.operands(op):
            if scope.get(value.name) != value and inside.get(value.name) != value:
                yield Violation(f"%{value.name} is used but not defined before", op)
        for value in (*reflect.arguments(op), *reflect.results(op)):
            if value.name in defined:
                yield Violation(f"%{value.name} is defined twice", op)
            defined.add(value.name)
        for region in reflect.regions(op):
            yield from _region(region, inside, defined)
        scope |= {value.name: value for value in reflect.results(op)}


def _body(kernel: Any) -> Iterator[Violation]:
    if not isinstance(kernel, MoeKernel | ScheduledKernel | TileKernel):
        return
    signature: Signature = kernel.signature
    stored: list[str] = []
    contractions = 0
    for op in kernel.body:
        match op:
            case Contract():
                contractions += 1
                yield from _contract(signature, op, op.result, op.over, op.lhs, op.rhs)
            case Multiply():
                contractions += 1
                if len(op.results) != len(op.columns) or not op.results:
                    yield Violation("a multiplication has one result for each column operand", op)
                for result, columns in zip(op.results, op.columns, strict=False):
                    yield from _contract(signature, op, result, op.over, op.rows, columns)
            case Load():
                yield from _load(signature, op)
            case Constant():
                if op.result.dims:
                    yield Violation("a constant has no dimensions", op)
            case Apply():
                yield from _apply(signature, op)
            case Store():
                stored.append(op.access.tensor)
                yield from _store(signature, op)
    if not contractions:
        yield Violation("a kernel contracts at least once", kernel)
    for tensor in signature.outputs:
        if stored.count(tensor.name) != 1:
            yield Violation(f"{tensor.name} is stored {stored.count(tensor.name)} times", tensor)


def domain_of(signature: Signature) -> tuple[str, ...]:
    """The index names of every contraction's result, in order."""
    both = (signature.rows, signature.columns)
    return both if signature.row_grouped else (signature.experts, *both)


def _access(signature: Signature, op: object, access: Access) -> Iterator[Violation]:
    tensors = {tensor.name: tensor for tensor in signature.tensors}
    extents = {index.name: index.extent for index in signature.indices}
    tensor = tensors.get(access.tensor)
    if tensor is None:
        yield Violation(f"there is no tensor {access.tensor}", op)
        return
    if len(tensor.dims) != len(access.coordinates):
        yield Violation(f"{tensor.name} has {len(tensor.dims)} dimensions", op)
        return
    for dim, coordinate in zip(tensor.dims, access.coordinates, strict=True):
        if coordinate.index not in extents:
            yield Violation(f"there is no index {coordinate.index}", op)
        elif coordinate.via is not None:
            yield from _map(tensors.get(coordinate.via), coordinate.index, op)
        elif coordinate.index != dim and (
            extents[dim] is None or extents[dim] != extents[coordinate.index]
        ):
            yield Violation(f"{tensor.name} is subscripted with {coordinate.index} at {dim}", op)


def _map(tensor: Tensor | None, index: str, op: object) -> Iterator[Violation]:
    if tensor is None or tensor.dtype is not DType.I32 or tensor.dims != (index,):
        yield Violation(f"a subscript goes through an i32 map over {index}", op)


def _input(signature: Signature, op: object, access: Access) -> Iterator[Violation]:
    broken = list(_access(signature, op, access))
    yield from broken
    if not broken:
        tensor = signature.tensor(access.tensor)
        if tensor.role is not Role.INPUT or tensor.dtype is DType.I32:
            yield Violation(f"{tensor.name} is not an input of numbers", op)


def _contract(
    signature: Signature, op: object, result: Value, over: str, rows: Access, columns: Access
) -> Iterator[Violation]:
    broken = [*_input(signature, op, rows), *_input(signature, op, columns)]
    yield from broken
    if broken:
        return
    domain = {signature.experts, signature.rows, signature.columns}
    if over in domain or over not in {index.name for index in signature.indices}:
        yield Violation(f"{over} cannot be summed", op)
    if not signature.row_grouped and over != signature.ragged:
        yield Violation(f"a k-grouped kernel sums {signature.ragged}", op)
    if result.dims != domain_of(signature):
        yield Violation(f"%{result.name} is not over {', '.join(domain_of(signature))}", op)
    if sorted(rows.indices) != sorted((signature.rows, over)):
        yield Violation(f"the row operand is not over {signature.rows} and {over}", op)
    if sorted({*columns.indices, signature.experts}) != sorted(
        (signature.columns, over, signature.experts)
    ) or len(set(columns.indices)) != len(columns.indices):
        yield Violation(f"a column operand is not over {signature.columns} and {over}", op)
    for access in (rows, columns):
        tensor = signature.tensor(access.tensor)
        if tensor.dtype is not FACTOR_TYPE[signature.compute]:
            yield Violation(f"{tensor.name} is {tensor.dtype}, products {signature.compute}", op)


def _load(signature: Signature, op: Load) -> Iterator[Violation]:
    broken = list(_input(signature, op, op.access))
    yield from broken
    if broken:
        return
    if set(op.result.dims) != set(op.access.indices):
        yield Violation(f"%{op.result.name} is not over the indices it is loaded with", op)
    if not set(op.access.indices) <= {signature.experts, signature.rows, signature.columns}:
        yield Violation(f"{op.access.tensor} is loaded outside the output's domain", op)


def _apply(signature: Signature, op: Apply) -> Iterator[Violation]:
    if len(op.operands) != op.function.arity:
        yield Violation(f"{op.function} takes {op.function.arity} operands", op)
    # A row knows its expert, so whether the expert index is listed makes no difference.
    dims = {dim for value in op.operands for dim in value.dims}
    if set(op.result.dims) - {signature.experts} != dims - {signature.experts}:
        yield Violation(f"%{op.result.name} is not over the indices of its operands", op)


def _store(signature: Signature, op: Store) -> Iterator[Violation]:
    broken = list(_access(signature, op, op.access))
    yield from broken
    if broken:
        return
    tensor = signature.tensor(op.access.tensor)
    role = Role.ACCUMULATED if op.accumulate else Role.OUTPUT
    if tensor.role is not role:
        yield Violation(f"{tensor.name} is {tensor.role}, but stored as {role}", op)
    if sorted({*op.access.indices, signature.experts}) != sorted(
        (signature.experts, signature.rows, signature.columns)
    ):
        yield Violation(f"{tensor.name} is not stored over the whole domain", op)
    if scattered(op) and op.accumulate and tensor.dtype is not DType.F32:
        yield Violation(f"{tensor.name} is added to atomically but not f32", op)


def scattered(op: Store) -> bool:
    """Whether rows of this store may coincide: a coordinate goes through a map."""
    return any(coordinate.via is not None for coordinate in op.access.coordinates)


def _schedule(kernel: Any) -> Iterator[Violation]:
    # What a user asked for may make no sense until check_schedule has judged it.
    if isinstance(kernel, TileKernel):
        for message in schedule_faults(kernel.schedule):
            yield Violation(message, kernel)


def schedule_faults(schedule: Schedule) -> Iterator[str]:
    """What makes a schedule meaningless on any target, in words."""
    counts = {
        "tile.rows": schedule.tile.rows,
        "tile.columns": schedule.tile.columns,
        "tile.depth": schedule.tile.depth,
        "stages": schedule.stages,
        "consumers": schedule.consumers,
        "cluster_rows": schedule.cluster_rows,
        "cluster_columns": schedule.cluster_columns,
        "raster.group": schedule.raster.group,
        "split_k": schedule.split_k,
    }
    for name, count in counts.items():
        if count < 1:
            yield f"{name} is {count}, less than 1"
    if schedule.fuse_rows < 0:
        yield "fuse_rows is not negative"
    if any(low >= high for high, low in pairwise(schedule.heights)) or min(schedule.heights) < 1:
        yield "tails fall from below tile.rows and are at least 1"
    elif schedule.balanced and schedule.tile.rows % schedule.unit:
        yield "tile.rows is a multiple of the lowest tail if tails are balanced"
