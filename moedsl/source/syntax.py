"""The syntax tree of a ``.moe`` file: what was written, names not yet resolved.

Every node knows its span. The parser builds it, the checker reads it, the formatter reads only
``File.tokens``. Nodes are named tuples: dataclasses of this number would take a tenth of the time
that ``moedsl check`` may take, only to be defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from moedsl.source.span import Span


class Name(NamedTuple):
    """A name as written."""

    text: str
    span: Span


class Number(NamedTuple):
    """A literal; whole ones are ``int``."""

    value: int | float
    span: Span


class Variable(NamedTuple):
    """A name in an expression: a local, a param, a scalar input or, in subscripts, an index."""

    name: Name
    span: Span


class Element(NamedTuple):
    """``tensor[subscripts]``."""

    tensor: Name
    subscripts: tuple[Expression, ...]
    span: Span


class Call(NamedTuple):
    """``function(operands)``."""

    function: Name
    operands: tuple[Expression, ...]
    span: Span


class Negation(NamedTuple):
    """``-operand``."""

    operand: Expression
    span: Span


class Binary(NamedTuple):
    """``left operator right``."""

    operator: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression
    span: Span


class Contraction(NamedTuple):
    """``sum[indices] product``."""

    indices: tuple[Name, ...]
    product: Expression
    span: Span


Expression = Number | Variable | Element | Call | Negation | Binary | Contraction


class Param(NamedTuple):
    """``param name = value``."""

    name: Name
    value: Expression
    span: Span


class Ragged(NamedTuple):
    """``ragged(over)``."""

    over: Name
    span: Span


class Dynamic(NamedTuple):
    """``dynamic``."""

    span: Span


class IndexDeclaration(NamedTuple):
    """``index name = extent``."""

    name: Name
    extent: Expression | Ragged | Dynamic
    span: Span


class TensorDeclaration(NamedTuple):
    """``input name : dtype[dims]``, or ``output``."""

    output: bool
    name: Name
    dtype: Name
    dims: tuple[Expression, ...]
    span: Span


class ComputeDeclaration(NamedTuple):
    """``compute type``."""

    type: Name
    span: Span


class Definition(NamedTuple):
    """``name = value``."""

    name: Name
    value: Expression
    span: Span


class Store(NamedTuple):
    """``target = value``, or ``+=``."""

    target: Element
    accumulate: bool
    value: Expression
    span: Span


class Broken(NamedTuple):
    """What could not be read; already reported. ``defines`` is the name it seems to define."""

    defines: str | None
    span: Span


Statement = (
    Param | IndexDeclaration | TensorDeclaration | ComputeDeclaration | Definition | Store | Broken
)


class Kernel(NamedTuple):
    """``kernel name { statements }``. ``broken`` says that parts of it could not be read."""

    name: Name | Broken
    statements: tuple[Statement, ...]
    span: Span

    @property
    def broken(self) -> bool:
        """Whether any part could not be read."""
        return any(isinstance(part, Broken) for part in (self.name, *self.statements))


class Bound(NamedTuple):
    """``rows <= 512``."""

    variable: Name
    operator: str
    bound: Number
    span: Span


class Heading(NamedTuple):
    """``name for kernel on target when bounds``."""

    name: Name
    kernel: Name
    on: Name | None
    when: tuple[Bound, ...]
    span: Span


class Argument(NamedTuple):
    """A word or number behind a directive."""

    value: Name | Number
    span: Span


class Setting(NamedTuple):
    """``key=value`` or ``key=value,value``."""

    key: Name
    values: tuple[Name | Number, ...]
    span: Span


class Limit(NamedTuple):
    """``key<=bound``."""

    key: Name
    operator: str
    bound: Number
    span: Span


class Directive(NamedTuple):
    """``name arguments``, one line of a schedule."""

    name: Name
    arguments: tuple[Argument | Setting | Limit, ...]
    span: Span


class Schedule(NamedTuple):
    """``schedule heading { directives }``."""

    heading: Heading | Broken
    directives: tuple[Directive | Broken, ...]
    span: Span


class Token(NamedTuple):
    """A piece of text as the formatter sees it; ``kind`` is the terminal's name."""

    kind: str
    text: str
    span: Span


class File(NamedTuple):
    """A whole file. ``tokens`` holds every token and comment in order, newlines left out."""

    blocks: tuple[Kernel | Schedule, ...]
    tokens: tuple[Token, ...]
    broken: bool
    """Some block could not be read at all."""
