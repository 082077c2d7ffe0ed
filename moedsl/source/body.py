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
    Product,
    Read,
    Term,
    Write,
)
from moedsl.source.declarations import FUNCTIONS
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import DType, Function, Role

if TYPE_CHECKING:
    from moedsl.source.declarations import Declarations
    from moedsl.source.span import Span
    from moedsl.source.terms import Access

_OPERATORS = {"+": Function.ADD, "-": Function.SUB, "*": Function.MUL, "/": Function.DIV}


class Body:
    """Checks statements in order. Without a ``domain`` (itself reported) what needs it is left."""

    def __init__(self, names: Declarations, accesses: Accesses, domain: Domain | None) -> None:
        self.names, self.accesses, self.domain = names, accesses, domain
        self.report = names.report
        self.locals: dict[str, Span] = {}
        self.written: dict[str, Span] = {}
        self.accumulated: set[str] = set()
        self.factors: dict[str, Span] = {}
        self.products = 0

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
        if value is None:
            self.names.unknowable.add(name.text)
            return None
        self.locals[name.text] = name.span
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
                return self._contraction(expression)
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
        known = {*self.locals, *names.params, *names.tensors}
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
        return self._operation(function, call.operands, call.span)

    # ---- contractions

    def _contraction(self, contraction: syntax.Contraction) -> Term | None:
        self.products += 1
        over = self._over(contraction)
        factors = _factors(contraction.product)
        accesses = [self._factor(factor) for factor in factors]
        if len(factors) != 2:
            self.report.error(
                "MOE0203",
                f"a contraction has two factors, this one has {len(factors)}",
                contraction.product.span,
                "expected `a[…] * b[…]`",
                help="multiply by the others outside the sum: `scale * (sum[k] a * b)`"
                if len(factors) > 2
                else "",
            )
            return None
        left, right = accesses
        if over is None or left is None or right is None:
            return None
        return self._orient(contraction, over, left, right)

    def _over(self, contraction: syntax.Contraction) -> str | None:
        names = contraction.indices
        self.names.used.update(name.text for name in names)
        if len(names) > 1:
            self.report.error(
                "MOE0207",
                f"a sum runs over one index, this one names {len(names)}",
                names[0].span.to(names[-1].span),
                "expected one index",
            )
            return None
        name = names[0]
        index = self.names.indices.get(name.text)
        if index is None:
            if name.text not in self.names.unknowable:
                self.report.error(
                    "MOE0101",
                    f"there is no index called `{clip(name.text)}`",
                    name.span,
                    "not an index",
                    help=did_you_mean(name.text, self.names.indices),
                )
            return None
        domain = self.domain
        if domain is None:
            return name.text
        if name.text == domain.experts:
            self.report.error(
                "MOE0208",
                f"`{name.text}` counts the experts and cannot be summed over",
                name.span,
                "the expert index",
                notes=("every row belongs to one expert; to add experts up, scatter with `+=`",),
            )
            return None
        if name.text in domain.indices:
            self.report.error(
                "MOE0205",
                f"`{name.text}` is summed over but is an index of the output",
                name.span,
                "still free in the output",
                help="sum over the index that both factors have and the output has not",
            )
            return None
        return name.text

    def _factor(self, factor: syntax.Expression) -> Access | None:
        if isinstance(factor, syntax.Variable) and factor.name.text in self.names.unknowable:
            return None
        if not isinstance(factor, syntax.Element):
            nested = isinstance(factor, syntax.Contraction)
            self.report.error(
                "MOE0221" if nested else "MOE0204",
                "a sum cannot stand inside a sum" if nested else "a factor must be an input",
                factor.span,
                "expected an element of an input, like `x[m, k]`",
                help="calculate with the result of the sum instead"
                if not nested
                else "store the inner result and read it in a second kernel",
            )
            return None
        access = self.accesses.access(factor)
        if access is None:
            return None
        tensor = self.names.tensors[access.tensor]
        if tensor.role is not Role.INPUT or tensor.dtype is DType.I32:
            self.report.error(
                "MOE0125" if tensor.role is not Role.INPUT else "MOE0119",
                f"the output `{clip(tensor.name)}` cannot be read"
                if tensor.role is not Role.INPUT
                else f"`{clip(tensor.name)}` holds row numbers and cannot be calculated with",
                factor.span,
                "expected an input of type bf16, f16 or f32",
                labels=(Label(tensor.span, "declared here"),),
            )
            return None
        self.factors.setdefault(access.tensor, factor.span)
        return access

    def _orient(
        self, contraction: syntax.Contraction, over: str, left: Access, right: Access
    ) -> Term | None:
        """``lhs`` is the factor with the rows, whichever was written first."""
        lacking = [access for access in (left, right) if over not in access.indices]
        if lacking:
            which = "no factor" if len(lacking) == 2 else f"`{clip(lacking[0].tensor)}`, which"
            self.report.error(
                "MOE0206",
                f"`{over}` is summed over but is an index of no factor"
                if len(lacking) == 2
                else f"`{over}` is summed over but {which} does not have it",
                contraction.span,
                f"expected both factors to have `{over}`",
            )
            return None
        domain = self.domain
        if domain is None:
            return None
        lhs, rhs = (left, right) if domain.rows in left.indices else (right, left)
        wanted = (
            (lhs, {over, domain.rows}, {over, domain.rows}),
            (rhs, {over, domain.columns}, {over, domain.columns, domain.experts}),
        )
        for access, least, most in wanted:
            if least <= set(access.indices) <= most:
                continue
            extra = sorted(set(access.indices) - most)
            self.report.error(
                "MOE0209",
                f"`{clip(access.tensor)}` has the index `{extra[0]}` too many for this sum"
                if extra
                else f"this sum has no factor with `{sorted(least - set(access.indices))[0]}`",
                contraction.span,
                f"expected one factor over `{domain.rows}, {over}` "
                f"and one over `{domain.columns}, {over}`",
                notes=(
                    (
                        f"the output has the indices `{domain.rows}` and `{domain.columns}`; "
                        f"only the factor with `{domain.columns}` may also have `{domain.experts}`"
                    ),
                )
                if domain.rows == domain.ragged
                else (f"the rows of `{over}` already say which expert they belong to",),
            )
            return None
        return Product(over, lhs, rhs, contraction.span)

    # ---- stores

    def _target(self, store: syntax.Store) -> Access | None:
        name = store.target.tensor
        if name.text in self.locals:
            self.report.error(
                "MOE0217",
                f"`{clip(name.text)}` is a value, not an output",
                name.span,
                "cannot be stored to",
                labels=(Label(self.locals[name.text], "defined here"),),
                help=f"declare `output {clip(name.text)} : …`",
            )
            return None
        access = self.accesses.access(store.target)
        if access is None:
            # It was meant to be written: that it is not is no further error.
            self.written.setdefault(name.text, store.target.span)
            return None
        tensor = self.names.tensors[access.tensor]
        if tensor.role is Role.INPUT:
            self.report.error(
                "MOE0217",
                f"`{clip(tensor.name)}` is an input and cannot be stored to",
                store.target.span,
                "expected an output",
                labels=(Label(tensor.span, "declared here"),),
            )
            return None
        if tensor.name in self.written:
            self.report.error(
                "MOE0215",
                f"`{clip(tensor.name)}` is written twice",
                store.target.span,
                "written again",
                labels=(Label(self.written[tensor.name], "first written here"),),
            )
            return None
        self.written[tensor.name] = store.target.span
        if store.accumulate:
            self.accumulated.add(tensor.name)
        mapped = any(coordinate.via for coordinate in access.coordinates)
        if store.accumulate and mapped and tensor.dtype is not DType.F32:
            self.report.error(
                "MOE0213",
                f"`+=` through a map needs an f32 output, `{clip(tensor.name)}` is {tensor.dtype}",
                store.target.span,
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
        domain = self.domain
        if domain is not None and set(access.indices) != domain.indices:
            self.report.error(
                "MOE0219",
                "all outputs of a kernel have the same indices",
                store.target.span,
                f"expected `{'`, `'.join(sorted(domain.indices))}`",
                help="put this output into a kernel of its own",
            )
            return None
        return access

    def find_dtype(self) -> DType | None:
        """The type that all factors of contractions share, None (and reported) if they differ."""
        first: str | None = None
        for name, span in self.factors.items():
            if first is None:
                first = name
                continue
            one, other = self.names.tensors[first], self.names.tensors[name]
            if one.dtype is not other.dtype:
                self.report.error(
                    "MOE0128",
                    f"`{clip(name)}` is {other.dtype} but `{clip(first)}` is {one.dtype}",
                    span,
                    f"expected {one.dtype}",
                    labels=(
                        Label(one.span, f"{one.dtype} here"),
                        Label(other.span, f"{other.dtype} here"),
                    ),
                    notes=("the factors of all sums in a kernel have one type",),
                )
                return None
        return self.names.tensors[first].dtype if first else None


def _factors(product: syntax.Expression) -> list[syntax.Expression]:
    """The factors of a product, in order."""
    if isinstance(product, syntax.Binary) and product.operator == "*":
        return [*_factors(product.left), *_factors(product.right)]
    return [product]
