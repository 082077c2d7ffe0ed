"""The syntax tree of a ``.moe`` file: what was written, names not yet resolved.

Every node knows its span. The parser builds it, the checker reads it, the formatter reads only
``File.tokens``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from moedsl.source.span import Span


@dataclass(frozen=True, slots=True)
class Name:
    """A name as written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; whole ones are ``int``."""

    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Variable:
    """A name in an expression: a local, a param, a scalar input or, in subscripts, an index."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Element:
    """``tensor[subscripts]``."""

    tensor: Name
    subscripts: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """``function(operands)``."""

    function: Name
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Negation:
    """``-operand``."""

    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``."""

    operator: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Contraction:
    """``sum[indices] product``."""

    indices: tuple[Name, ...]
    product: Expression
    span: Span


Expression = Number | Variable | Element | Call | Negation | Binary | Contraction


@dataclass(frozen=True, slots=True)
class Param:
    """``param name = value``."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Ragged:
    """``ragged(over)``."""

    over: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Dynamic:
    """``dynamic``."""

    span: Span


@dataclass(frozen=True, slots=True)
class IndexDeclaration:
    """``index name = extent``."""

    name: Name
    extent: Expression | Ragged | Dynamic
    span: Span


@dataclass(frozen=True, slots=True)
class TensorDeclaration:
    """``input name : dtype[dims]``, or ``output``."""

    output: bool
    name: Name
    dtype: Name
    dims: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ComputeDeclaration:
    """``compute type``."""

    type: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Definition:
    """``name = value``."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Store:
    """``target = value``, or ``+=``."""

    target: Element
    accumulate: bool
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Broken:
    """What could not be read; already reported. ``defines`` is the name it seems to define."""

    defines: str | None
    span: Span


Statement = (
    Param | IndexDeclaration | TensorDeclaration | ComputeDeclaration | Definition | Store | Broken
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """``kernel name { statements }``. ``broken`` says that parts of it could not be read."""

    name: Name | Broken
    statements: tuple[Statement, ...]
    span: Span

    @property
    def broken(self) -> bool:
        """Whether any part could not be read."""
        return any(isinstance(part, Broken) for part in (self.name, *self.statements))


@dataclass(frozen=True, slots=True)
class Bound:
    """``rows <= 512``."""

    variable: Name
    operator: str
    bound: Number
    span: Span


@dataclass(frozen=True, slots=True)
class Heading:
    """``name for kernel on target when bounds``."""

    name: Name
    kernel: Name
    on: Name | None
    when: tuple[Bound, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """A word or number behind a directive."""

    value: Name | Number
    span: Span


@dataclass(frozen=True, slots=True)
class Setting:
    """``key=value`` or ``key=value,value``."""

    key: Name
    values: tuple[Name | Number, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Limit:
    """``key<=bound``."""

    key: Name
    operator: str
    bound: Number
    span: Span


@dataclass(frozen=True, slots=True)
class Directive:
    """``name arguments``, one line of a schedule."""

    name: Name
    arguments: tuple[Argument | Setting | Limit, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Schedule:
    """``schedule heading { directives }``."""

    heading: Heading | Broken
    directives: tuple[Directive | Broken, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text as the formatter sees it; ``kind`` is the terminal's name."""

    kind: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class File:
    """A whole file. ``tokens`` holds every token and comment in order, newlines left out."""

    blocks: tuple[Kernel | Schedule, ...]
    tokens: tuple[Token, ...]
    broken: bool
    """Some block could not be read at all."""
