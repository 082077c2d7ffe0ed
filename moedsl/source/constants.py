"""Constant expressions: the values of params and the extents of indices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from moedsl.source import syntax
from moedsl.source.syntax_errors import clip, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from moedsl.source.reporter import Reporter

Number = int | float


class Evaluator:
    """Evaluates expressions of numbers and params; errors go to ``report``, names to ``used``.

    Whole numbers stay whole: ``/`` of two that divide evenly is whole, of others a fraction.
    """

    def __init__(
        self, report: Reporter, params: Mapping[str, Number], unknowable: Set[str]
    ) -> None:
        self.report, self.params, self.unknowable = report, params, unknowable
        self.used: set[str] = set()

    def evaluate(self, expression: syntax.Expression) -> Number | None:
        """The value, or None if an error was (or had been) reported."""
        match expression:
            case syntax.Number(value=value):
                return value
            case syntax.Variable(name=name):
                return self._param(name)
            case syntax.Negation(operand=operand):
                inner = self.evaluate(operand)
                return None if inner is None else -inner
            case syntax.Binary():
                return self._binary(expression)
            case syntax.Element() | syntax.Call() | syntax.Contraction():
                self.report.error(
                    "MOE0113",
                    "this is not a constant",
                    expression.span,
                    label="known only when the kernel runs",
                    help="a constant is made of numbers, params and `+ - * /`",
                )
                return None
            case _:
                assert_never(expression)

    def _param(self, name: syntax.Name) -> Number | None:
        self.used.add(name.text)
        if name.text in self.params:
            return self.params[name.text]
        if name.text not in self.unknowable:
            self.report.error(
                "MOE0101",
                f"there is no param called `{clip(name.text)}` before this line",
                name.span,
                label="not a param",
                help=did_you_mean(name.text, self.params),
            )
        return None

    def _binary(self, expression: syntax.Binary) -> Number | None:
        left, right = self.evaluate(expression.left), self.evaluate(expression.right)
        if left is None or right is None:
            return None
        value: Number
        match expression.operator:
            case "+":
                value = left + right
            case "-":
                value = left - right
            case "*":
                value = left * right
            case "/":
                if right == 0:
                    self.report.error(
                        "MOE0114",
                        "division by zero",
                        expression.right.span,
                        label="this is 0",
                    )
                    return None
                value = _quotient(left, right)
            case _:
                assert_never(expression.operator)
        if not math.isfinite(value) or abs(value) > LARGEST:
            self.report.error(
                "MOE0005",
                "this number is too large",
                expression.span,
                label="too large",
            )
            return None
        return value


LARGEST = 1 << 127


def _quotient(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right
