"""Checked program → ``moe`` dialect: expressions become single operations on named values."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from moedsl.ir.core import Value
from moedsl.ir.elementwise import Apply, Constant, Load, Store
from moedsl.ir.moe import Contract, MoeKernel, MoeOp, Signature
from moedsl.source.checked import (
    Assignment,
    Literal,
    Local,
    Operation,
    Product,
    Read,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moedsl.source.checked import CheckedKernel, Term
    from moedsl.source.terms import Access


def build_moe(kernel: CheckedKernel) -> MoeKernel:
    """The kernel as operations: a value the user named keeps its name, the others count up."""
    signature = Signature(
        name=kernel.name,
        indices=kernel.indices,
        tensors=kernel.tensors,
        compute=kernel.compute,
        experts=kernel.experts,
        ragged=kernel.ragged,
        rows=kernel.rows,
        columns=kernel.columns,
        span=kernel.span,
    )
    builder = _Builder(signature, {s.name for s in kernel.body if isinstance(s, Assignment)})
    for statement in kernel.body:
        match statement:
            case Assignment(name=name, value=value):
                builder.locals[name] = builder.build(value, name)
            case Write(access=access, accumulate=accumulate, value=value, span=span):
                operand = builder.build(value)
                builder.body.append(Store(operand, access, accumulate, span))
            case _:
                assert_never(statement)
    return MoeKernel(signature, tuple(builder.body), kernel.source)


class _Builder:
    def __init__(self, signature: Signature, taken: set[str]) -> None:
        self.signature, self.taken = signature, taken
        self.body: list[MoeOp] = []
        self.locals: dict[str, Value] = {}
        self.loads: dict[Access, Value] = {}
        self.count = 0

    def build(self, term: Term, name: str = "") -> Value:
        """The value of ``term``, its operations appended to the body; ``name`` is a wish."""
        match term:
            case Local(name=local):
                return self.locals[local]
            case Literal(number=number, span=span):
                return self._add(Constant(self._value(name, ()), number, span))
            case Read(access=access, span=span):
                if access not in self.loads:
                    value = self._value(name, self._dims(access.indices))
                    self.loads[access] = self._add(Load(value, access, span))
                return self.loads[access]
            case Product(over=over, lhs=lhs, rhs=rhs, span=span):
                value = self._value(name, self._domain())
                return self._add(Contract(value, over, lhs, rhs, span))
            case Operation():
                return self._apply(term, name)
            case _:
                assert_never(term)

    def _apply(self, term: Operation, name: str) -> Value:
        operands = tuple(self.build(operand) for operand in term.operands)
        dims = self._dims(dim for operand in operands for dim in operand.dims)
        return self._add(Apply(self._value(name, dims), term.function, operands, term.span))

    def _add(self, op: Contract | Load | Constant | Apply) -> Value:
        self.body.append(op)
        return op.result

    def _value(self, name: str, dims: tuple[str, ...]) -> Value:
        while not name or (name in self.locals):
            candidate = f"v{self.count}"
            self.count += 1
            name = candidate if candidate not in self.taken else ""
        return Value(name, dims)

    def _domain(self) -> tuple[str, ...]:
        signature = self.signature
        own = (signature.rows, signature.columns)
        return own if signature.row_grouped else (signature.experts, *own)

    def _dims(self, names: Iterable[str]) -> tuple[str, ...]:
        """In the order experts, rows, columns; a ragged row says which expert it belongs to."""
        signature, present = self.signature, set(names)
        if signature.row_grouped and signature.rows in present:
            present.discard(signature.experts)
        order = (signature.experts, signature.rows, signature.columns)
        return tuple(name for name in order if name in present)
