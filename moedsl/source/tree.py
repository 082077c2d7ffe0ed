"""The parser's reductions: one method for each rule of ``moe.lark`` builds one syntax node.

They get every token of their rule, so that spans come from the outermost tokens. They run while
the parser reduces (no recursion over a parse tree) and never raise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from moedsl.source import syntax
from moedsl.source.span import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFINED = re.compile(r"\s*(?:(?:param|index|input|output)\s+)?([^\W\d]\w*)\s*[:=]")


class Token(Protocol):
    """A token as the lexer makes it. It is also a ``str``, which tells it from a node."""

    type: str
    start_pos: int | None

    def __len__(self) -> int:
        """Number of characters."""


def span_of(token: Token) -> Span:
    """Where ``token`` stands."""
    start = token.start_pos or 0
    return Span(start, start + len(token))


def number_value(text: str) -> int | float:
    """The value of a well-formed literal."""
    return int(text) if text.isdecimal() else float(text)


def _name(token: Token) -> syntax.Name:
    return syntax.Name(str(token), span_of(token))


def _number(token: Token) -> syntax.Number:
    return syntax.Number(number_value(str(token)), span_of(token))


def _nodes(parts: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(part for part in parts if not isinstance(part, str))


class TreeBuilder:
    """Builds :mod:`moedsl.source.syntax` nodes."""

    def broken(self, error: Token) -> Any:
        """An ERROR token's text is what was skipped."""
        defined = _DEFINED.match(str(error))
        return syntax.Broken(defined[1] if defined else None, span_of(error))

    def file(self, *parts: Any) -> Any:
        """The blocks that could be read; the driver adds the tokens."""
        nodes = _nodes(parts)
        blocks = tuple(node for node in nodes if not isinstance(node, syntax.Broken))
        return syntax.File(blocks, (), len(blocks) < len(nodes))

    def kernel(self, keyword: Token, name: Any, _open: Token, body: Any, close: Token) -> Any:
        """``kernel name { body }``."""
        called = name if isinstance(name, syntax.Broken) else _name(name)
        return syntax.Kernel(called, body, span_of(keyword).to(span_of(close)))

    def kernel_body(self, *parts: Any) -> Any:
        """Statements without the ends between them."""
        return _nodes(parts)

    def param(self, keyword: Token, name: Token, _equal: Token, value: Any) -> Any:
        """``param name = value``."""
        return syntax.Param(_name(name), value, span_of(keyword).to(value.span))

    def index(self, keyword: Token, name: Token, _equal: Token, extent: Any) -> Any:
        """``index name = extent``."""
        return syntax.IndexDeclaration(_name(name), extent, span_of(keyword).to(extent.span))

    def ragged(self, keyword: Token, _open: Token, over: Token, close: Token) -> Any:
        """``ragged(over)``."""
        return syntax.Ragged(_name(over), span_of(keyword).to(span_of(close)))

    def dynamic(self, keyword: Token) -> Any:
        """``dynamic``."""
        return syntax.Dynamic(span_of(keyword))

    def tensor(
        self, keyword: Token, name: Token, _colon: Token, dtype: Token, dims: Any = None
    ) -> Any:
        """``input name : dtype[dims]``."""
        end = dims[1] if dims else span_of(dtype)
        return syntax.TensorDeclaration(
            keyword.type == "OUTPUT",
            _name(name),
            _name(dtype),
            dims[0] if dims else (),
            span_of(keyword).to(end),
        )

    def dims(self, *parts: Any) -> Any:
        """The dimensions and the closing bracket's span."""
        return _nodes(parts), span_of(parts[-1])

    def compute(self, keyword: Token, type: Token) -> Any:
        """``compute type``."""
        return syntax.ComputeDeclaration(_name(type), span_of(keyword).to(span_of(type)))

    def define(self, name: Token, _equal: Token, value: Any) -> Any:
        """``name = value``."""
        return syntax.Definition(_name(name), value, span_of(name).to(value.span))

    def store(self, target: Any, operator: Token, value: Any) -> Any:
        """``target = value`` or ``target += value``."""
        return syntax.Store(
            target, operator.type == "PLUS_EQUAL", value, target.span.to(value.span)
        )

    def binary(self, left: Any, operator: Any, right: Any) -> Any:
        """``left operator right``."""
        return syntax.Binary(operator.value, left, right, left.span.to(right.span))

    def contraction(
        self, keyword: Token, _open: Token, names: Any, _close: Token, product: Any
    ) -> Any:
        """``sum[names] product``."""
        return syntax.Contraction(names, product, span_of(keyword).to(product.span))

    def names(self, *parts: Token) -> Any:
        """Names without the commas between them."""
        return tuple(_name(part) for part in parts if part.type == "NAME")

    def negation(self, minus: Token, operand: Any) -> Any:
        """``-operand``."""
        return syntax.Negation(operand, span_of(minus).to(operand.span))

    def number(self, token: Token) -> Any:
        """A literal in an expression."""
        return _number(token)

    def variable(self, token: Token) -> Any:
        """A bare name in an expression."""
        return syntax.Variable(_name(token), span_of(token))

    def element(self, tensor: Token, *parts: Any) -> Any:
        """``tensor[subscripts]``."""
        span = span_of(tensor).to(span_of(parts[-1]))
        return syntax.Element(_name(tensor), _nodes(parts), span)

    def call(self, function: Token, *parts: Any) -> Any:
        """``function(operands)``."""
        span = span_of(function).to(span_of(parts[-1]))
        return syntax.Call(_name(function), _nodes(parts), span)

    def group(self, _open: Token, inner: Any, _close: Token) -> Any:
        """Parentheses leave no trace but the tree's shape."""
        return inner

    def schedule(self, keyword: Token, heading: Any, _open: Token, body: Any, close: Token) -> Any:
        """``schedule heading { body }``."""
        return syntax.Schedule(heading, body, span_of(keyword).to(span_of(close)))

    def heading(self, name: Token, _for: Token, kernel: Token, *parts: Any) -> Any:
        """``name for kernel on target when bounds``."""
        on = next((part for part in parts if isinstance(part, syntax.Name)), None)
        when = next((part for part in parts if isinstance(part, list)), [])
        last = when[-1].span if when else on.span if on else span_of(kernel)
        return syntax.Heading(_name(name), _name(kernel), on, tuple(when), span_of(name).to(last))

    def target(self, _on: Token, name: Token) -> Any:
        """``on target``."""
        return _name(name)

    def condition(self, *parts: Any) -> Any:
        """The bounds behind ``when``."""
        return list(_nodes(parts))

    def bound(self, variable: Token, operator: Token, number: Token) -> Any:
        """``rows <= 512``."""
        span = span_of(variable).to(span_of(number))
        return syntax.Bound(_name(variable), str(operator), _number(number), span)

    def schedule_body(self, *parts: Any) -> Any:
        """Directives without the ends between them."""
        return _nodes(parts)

    def directive(self, name: Token, *arguments: Any) -> Any:
        """``name arguments``."""
        span = span_of(name)
        return syntax.Directive(
            _name(name), arguments, span.to(arguments[-1].span) if arguments else span
        )

    def argument(self, value: Any) -> Any:
        """A bare word or number."""
        return syntax.Argument(value, value.span)

    def setting(self, key: Token, _equal: Token, *values: Any) -> Any:
        """``key=value,value``."""
        nodes = _nodes(values)
        return syntax.Setting(_name(key), nodes, span_of(key).to(nodes[-1].span))

    def limit(self, key: Token, operator: Token, bound: Token) -> Any:
        """``key<=bound``."""
        span = span_of(key).to(span_of(bound))
        return syntax.Limit(_name(key), str(operator), _number(bound), span)

    def word(self, token: Token) -> Any:
        """A word in a directive."""
        return _name(token)

    def amount(self, token: Token) -> Any:
        """A number in a directive."""
        return _number(token)
