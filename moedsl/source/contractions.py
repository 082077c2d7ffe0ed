"""Contractions ``sum[k] a * b``: the summed index, two factors, and which has the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.source import syntax
from moedsl.source.checked import Domain, Product, Term
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import DType, Role

if TYPE_CHECKING:
    from moedsl.source.accesses import Accesses
    from moedsl.source.declarations import Declarations
    from moedsl.source.span import Span
    from moedsl.source.terms import Access


class Contractions:
    """Checks the contractions of a kernel and remembers their factors; ``count`` counts them."""

    def __init__(self, names: Declarations, accesses: Accesses, domain: Domain | None) -> None:
        self.names, self.accesses, self.domain = names, accesses, domain
        self.report = names.report
        self.factors: dict[str, Span] = {}
        self.count = 0

    def product(self, contraction: syntax.Contraction) -> Term | None:
        """The checked contraction, or None if something in it was reported."""
        self.count += 1
        over = self._over(contraction)
        factors = _factors(contraction.product)
        accesses = [self._factor(factor) for factor in factors]
        known = [access for access in accesses if access is not None]
        if len(known) < len(factors):
            return None
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
        if over is None or not self._summed(over, contraction, factors, known):
            return None
        return self._orient(contraction, over, known)

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
            called = isinstance(factor, syntax.Call) and factor.function.text in self.names.tensors
            self.report.error(
                "MOE0221" if nested else "MOE0204",
                "a sum cannot stand inside a sum" if nested else "a factor must be an input",
                factor.span,
                "expected an element of an input, like `x[m, k]`",
                help="store the inner result and read it in a second kernel"
                if nested
                else "subscripts stand in square brackets"
                if called
                else "calculate with the result of the sum instead",
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

    def _summed(
        self,
        over: str,
        contraction: syntax.Contraction,
        factors: list[syntax.Expression],
        accesses: list[Access],
    ) -> bool:
        """Whether both factors have the summed index, and it is one that may be summed."""
        lacking = [position for position in (0, 1) if over not in accesses[position].indices]
        domain = self.domain
        if len(lacking) == 2:
            self.report.error(
                "MOE0206",
                f"`{over}` is summed over but is an index of no factor",
                contraction.indices[0].span,
                "in neither factor",
            )
        elif lacking:
            factor = accesses[lacking[0]]
            self.report.error(
                "MOE0206",
                f"`{over}` is summed over but `{clip(factor.tensor)}` does not have it",
                factors[lacking[0]].span,
                f"expected the index `{over}` here",
                labels=(Label(contraction.indices[0].span, "summed here"),),
                help="multiply by this factor outside the sum",
            )
        elif domain is not None and domain.ragged not in (over, domain.rows):
            self.report.error(
                "MOE0225",
                f"this sum runs over `{over}`, not over the ragged index",
                contraction.indices[0].span,
                f"expected `{domain.ragged}`",
                notes=(f"the output has a matrix for each `{domain.experts}`",),
            )
        else:
            return True
        return False

    def _orient(
        self, contraction: syntax.Contraction, over: str, accesses: list[Access]
    ) -> Term | None:
        """``lhs`` is the factor with the rows, whichever was written first."""
        domain = self.domain
        if domain is None:
            return None
        lhs, rhs = accesses
        if domain.rows not in lhs.indices:
            lhs, rhs = rhs, lhs
        together = {*lhs.indices, *rhs.indices}
        lacking = [index for index in (domain.rows, domain.columns) if index not in together]
        excess = [
            (access, min(extra))
            for access, most in (
                (lhs, {over, domain.rows}),
                (rhs, {over, domain.columns, domain.experts}),
            )
            if (extra := set(access.indices) - most)
        ]
        if lacking:
            message = f"no factor of this sum has `{lacking[0]}`, which the output has"
        elif excess:
            message = f"`{clip(excess[0][0].tensor)}` has the index `{excess[0][1]}` too many here"
        else:
            return Product(over, lhs, rhs, contraction.span)
        note = f"only the factor with `{domain.columns}` may also have `{domain.experts}`"
        self.report.error(
            "MOE0209",
            message,
            contraction.product.span,
            f"expected one factor over `{domain.rows}, {over}` "
            f"and one over `{domain.columns}, {over}`",
            notes=(note,) if domain.rows == domain.ragged else (),
        )
        return None

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
