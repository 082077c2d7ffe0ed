"""The statements of a kernel that compute: assignments, stores and the expressions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from moedsl.source import syntax
from moedsl.source.accesses import Accesses
from moedsl.source.checked import (
    Assignment,
    Domain,
    Literal,
    Local,
    Operation,
    Read,
    Term,
    Write,
)
from moedsl.source.contractions import Contractions
from moedsl.source.declarations import FUNCTIONS
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import DType, Function, Role

if TYPE_CHECKING:
    from moedsl.source.declarations import Declarations
    from moedsl.source.span import Span
    from moedsl.source.terms import Access, Tensor

_OPERATORS = {"+": Function.ADD, "-": Function.SUB, "*": Function.MUL, "/": Function.DIV}


class Body:
    """Checks statements in order. Without a ``domain`` (itself reported) what needs it is left."""

    def __init__(self, names: Declarations, accesses: Accesses, domain: Domain | None) -> None:
        self.names, self.accesses, self.domain = names, accesses, domain
        self.report = names.report
        self.assigned: dict[str, Span] = {}
        self.locals: set[str] = set()
        self.written: dict[str, Span] = {}
        self.accumulated: set[str] = set()
        self.contractions = Contractions(names, accesses, domain)

    def statement(self, statement: syntax.Definition | syntax.Store) -> Assignment | Write | None:
        """The checked statement, or None if something in it was reported."""
        value = self.expression(statement.value)
        if isinstance(statement, syntax.Store):
            access = self._target(statement)
            if access is None or value is None:
                return None
            return Write(access, statement.accumulate, value, statement.span)
        name = statement.name
        if not self.names.define(name):
            return None
        self.assigned[name.text] = name.span
        if value is None:
            self.names.unknowable.add(name.text)
            return None
        self.locals.add(name.text)
        return Assignment(name.text, value, statement.span)

    def expression(self, expression: syntax.Expression) -> Term | None:
        """The checked expression, or None if something in it was reported."""
        match expression:
            case syntax.Number(value=value, span=span):
                return Literal(float(value), span)
            case syntax.Variable(name=name):
                return self._variable(name)
            case syntax.Element():
                return self._read(expression)
            case syntax.Call():
                return self._call(expression)
            case syntax.Negation(operand=operand, span=span):
                return self._operation(Function.NEG, (operand,), span)
            case syntax.Binary(operator=operator, left=left, right=right, span=span):
                return self._operation(_OPERATORS[operator], (left, right), span)
            case syntax.Contraction():
                return self.contractions.product(expression)
            case _:
                assert_never(expression)

    def _operation(
        self, function: Function, operands: tuple[syntax.Expression, ...], span: Span
    ) -> Term | None:
        terms = [self.expression(operand) for operand in operands]
        known = tuple(term for term in terms if term is not None)
        return Operation(function, known, span) if len(known) == len(terms) else None

    def _variable(self, name: syntax.Name) -> Term | None:
        text = name.text
        names = self.names
        names.used.add(text)
        if text in self.locals:
            return Local(text, name.span)
        if text in names.params:
            return Literal(float(names.params[text]), name.span)
        if text in names.tensors:
            return self._read(syntax.Element(name, (), name.span))
        if text in names.unknowable:
            return None
        if text in names.indices:
            self.report.error(
                "MOE0106",
                f"the index `{clip(text)}` has no value",
                name.span,
                "an index can only be a subscript",
                labels=(Label(names.indices[text].span, "declared here"),),
            )
            return None
        known = {*self.locals, *names.params, *names.tensors, *names.unknowable}
        self.report.error(
            "MOE0101",
            f"there is no value called `{clip(text)}` before this line",
            name.span,
            "not defined",
            help=did_you_mean(text, known),
        )
        return None

    def _read(self, element: syntax.Element) -> Term | None:
        access = self.accesses.access(element)
        if access is None:
            return None
        tensor = self.names.tensors[access.tensor]
        if tensor.role is not Role.INPUT:
            self.report.error(
                "MOE0125",
                f"the output `{clip(tensor.name)}` cannot be read",
                element.span,
                "an output",
                labels=(Label(tensor.span, "declared here"),),
                help="give the value a name before storing it; `+=` adds to what is there",
            )
            return None
        if tensor.dtype is DType.I32:
            self.report.error(
                "MOE0119",
                f"`{clip(tensor.name)}` holds row numbers and cannot be calculated with",
                element.span,
                "i32",
                help="i32 tensors are used as subscripts: `x[src[m], k]`",
            )
            return None
        domain = self.domain
        if domain is not None:
            inside = {domain.experts, domain.rows, domain.columns}
            for coordinate, part in zip(access.coordinates, element.subscripts, strict=True):
                if coordinate.index not in inside:
                    self.report.error(
                        "MOE0224",
                        f"`{clip(tensor.name)}` is read at `{coordinate.index}`, "
                        "which the output does not have",
                        part.span,
                        "neither an output index nor summed here",
                        help=f"sum over it: `sum[{coordinate.index}] …`",
                    )
                    return None
        return Read(access, element.span)

    def _call(self, call: syntax.Call) -> Term | None:
        name = call.function
        operands = [self.expression(operand) for operand in call.operands]
        function = FUNCTIONS.get(name.text)
        if function is None:
            if name.text in self.names.tensors:
                help = f"subscripts stand in square brackets: `{clip(name.text)}[…]`"
            else:
                help = did_you_mean(name.text, FUNCTIONS)
            self.report.error(
                "MOE0111",
                f"there is no function `{clip(name.text)}`",
                name.span,
                "not a function",
                notes=(f"the functions are {', '.join(FUNCTIONS)}",),
                help=help,
            )
            return None
        if len(call.operands) != function.arity:
            count = f"{function.arity} value" + ("s" if function.arity > 1 else "")
            self.report.error(
                "MOE0112",
                f"`{name.text}` takes {count}, not {len(call.operands)}",
                call.span,
                f"expected {count}",
                help="write `clamp(x, low, high)`" if function is Function.CLAMP else "",
            )
            return None
        known = tuple(operand for operand in operands if operand is not None)
        return Operation(function, known, call.span) if len(known) == len(operands) else None

    # ---- stores

    def _target(self, store: syntax.Store) -> Access | None:
        name, span = store.target.tensor, store.target.span
        if name.text in self.assigned:
            self.report.error(
                "MOE0217",
                f"`{clip(name.text)}` is a value, not an output",
                name.span,
                "cannot be stored to",
                labels=(Label(self.assigned[name.text], "defined here"),),
                help=f"declare `output {clip(name.text)} : …`",
            )
            return None
        access = self.accesses.access(store.target)
        if access is None:
            # It was meant to be written: that it is not is no further error.
            self.written.setdefault(name.text, span)
            return None
        tensor = self.names.tensors[access.tensor]
        if not self._writable(tensor, span):
            return None
        self.written[tensor.name] = span
        if store.accumulate:
            self.accumulated.add(tensor.name)
            self._check_sum(tensor, access, span)
        return access if self._covers_domain(access, span) else None

    def _writable(self, tensor: Tensor, span: Span) -> bool:
        """Whether ``tensor`` is an output that nothing has written yet."""
        if tensor.role is Role.INPUT:
            self.report.error(
                "MOE0217",
                f"`{clip(tensor.name)}` is an input and cannot be stored to",
                span,
                "expected an output",
                labels=(Label(tensor.span, "declared here"),),
            )
            return False
        if tensor.name in self.written:
            self.report.error(
                "MOE0215",
                f"`{clip(tensor.name)}` is written twice",
                span,
                "written again",
                labels=(Label(self.written[tensor.name], "first written here"),),
            )
            return False
        return True

    def _check_sum(self, tensor: Tensor, access: Access, span: Span) -> None:
        """Rows that may meet are added up in f32."""
        mapped = any(coordinate.via for coordinate in access.coordinates)
        if not mapped or tensor.dtype is DType.F32:
            return
        self.report.error(
            "MOE0213",
            f"`+=` through a map needs an f32 output, `{clip(tensor.name)}` is {tensor.dtype}",
            span,
            "expected f32",
            labels=(Label(tensor.span, f"declared {tensor.dtype} here"),),
            notes=(
                (
                    f"rows may meet here; {tensor.dtype} would round after each addition, "
                    "in no fixed order"
                ),
            ),
            help="declare the output f32 and convert it afterwards",
        )

    def _covers_domain(self, access: Access, span: Span) -> bool:
        """Whether a store has the indices that all outputs have."""
        domain = self.domain
        if domain is None or set(access.indices) == domain.indices:
            return True
        self.report.error(
            "MOE0219",
            "all outputs of a kernel have the same indices",
            span,
            f"expected `{'`, `'.join(sorted(domain.indices))}`",
            help="put this output into a kernel of its own",
        )
        return False
