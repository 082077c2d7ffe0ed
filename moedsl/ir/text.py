"""IR as text: print and parse.

One printer and one parser serve every dialect from the annotations of its dataclasses
(:mod:`moedsl.ir.reflect`). The syntax is ``grammar/ir.lark``; ``parse_module`` of what
``print_module`` wrote is an equal module, source text and spans included.
"""

from __future__ import annotations

import json
import re
from dataclasses import is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from moedsl.ir.core import Access, Coordinate, Index, IndexKind, Tensor, Value
from moedsl.ir.module import levels, mnemonic
from moedsl.ir.nodes import RESERVED
from moedsl.ir.reader import read_module
from moedsl.ir.reflect import ARGUMENTS, RESULTS, alternatives, element_hints, fields_of
from moedsl.ir.verify import violations_of
from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.span import NOWHERE, Span

if TYPE_CHECKING:
    from moedsl.ir.module import Kernel, Module
    from moedsl.ir.reflect import Field
    from moedsl.source.span import Source

__all__ = ["parse_module", "print_kernel", "print_module"]

ILL_FORMED = "MOE0705"

_WORD = re.compile(r"[^\W\d]\w*")
_VALUE = re.compile(r"[\w.]+")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WIDTH = 100


def print_module(module: Module) -> str:
    """``module`` as text that parses back to an equal module."""
    parts = [f"{module.level} module\n"]
    parts += [print_kernel(kernel, module.level) for kernel in module.kernels]
    if module.source is not None:
        parts.append(_source(module.source))
    return "\n".join(parts)


def parse_module(source: Source) -> Module:
    """The verified module that ``source`` spells.

    Raises DiagnosticError: one MOE0701 to MOE0704 where the text is malformed, or MOE0705 for
    every rule of the IR that the module breaks.
    """
    module, places = read_module(source)
    violations = violations_of(module)
    if violations:
        raise DiagnosticError(
            Diagnostic(ILL_FORMED, found.message, source, places.get(id(found.where)))
            for found in violations
        )
    return module


def print_kernel(kernel: Kernel, level: str) -> str:
    """One kernel of ``level`` as it stands in a module, without its source text."""
    signature = kernel.signature
    lines = [f"kernel {_word(signature.name)}{_location(signature.span)} {{"]
    lines += [f"  {_index(index)}" for index in signature.indices]
    lines += [f"  {_tensor(tensor)}" for tensor in signature.tensors]
    for name in ("compute", "experts", "ragged", "rows", "columns"):
        lines.append(f"  {name} = {_word(getattr(signature, name))}")
    for field in fields_of(levels()[level].kernel):
        if field.name not in ("signature", "body", "source"):
            lines.append(f"  {_field(field, kernel, 1)}")
    lines.append("")
    lines += [_op(op, 1) for op in kernel.body]
    return "\n".join([*lines, "}", ""])


def _source(source: Source) -> str:
    lines = source.text.splitlines(keepends=True)
    return "\n".join(
        [f"source {_quote(source.name)} {{", *(f"  {_quote(x)}" for x in lines), "}\n"]
    )


def _index(index: Index) -> str:
    match index.kind:
        case IndexKind.FIXED:
            extent = str(index.extent)
        case IndexKind.RAGGED:
            extent = f"ragged({_word(index.over or '')})"
        case IndexKind.DYNAMIC:
            extent = "dynamic"
    return f"index {_word(index.name)} = {extent}{_location(index.span)}"


def _tensor(tensor: Tensor) -> str:
    dims = ", ".join(map(_word, tensor.dims))
    name = _word(tensor.name)
    return f"{tensor.role.value} {name} : {tensor.dtype.value}[{dims}]{_location(tensor.span)}"


def _op(op: Any, depth: int) -> str:
    defined: list[str] = []
    attributes: list[str] = []
    for field in fields_of(type(op)):
        item = getattr(op, field.name)
        if field.name in RESULTS:
            defined += map(_definition, (item,) if isinstance(item, Value) else item)
        elif field.name != "span":
            attributes.append(_field(field, op, depth))
    head = f"{'  ' * depth}{', '.join(defined)}{' = ' if defined else ''}{mnemonic(type(op))}"
    tail = _location(getattr(op, "span", NOWHERE))
    line = f"{head}{' ' if attributes else ''}{', '.join(attributes)}{tail}"
    if len(line) <= _WIDTH or "\n" in line:
        return line
    joint = f",\n{'  ' * (depth + 1)}"
    return f"{head}{joint[1:]}{joint.join(attributes)}{tail}"


def _definition(value: Value) -> str:
    return f"{_value(value.name)}[{', '.join(map(_word, value.dims))}]"


def _field(field: Field, owner: object, depth: int) -> str:
    return f"{field.name} = {_item(getattr(owner, field.name), field, depth)}"


def _item(item: Any, field: Field, depth: int) -> str:
    if field.region:
        inner = "".join(f"{_op(op, depth + 1)}\n" for op in item)
        return f"{{\n{inner}{'  ' * depth}}}"
    if field.name in ARGUMENTS:
        values = (item,) if isinstance(item, Value) else item
        return f"({', '.join(map(_definition, values))})"
    return _attribute(item, field.hint, depth)


def _attribute(item: object, hint: Any, depth: int) -> str:
    match item:
        case None:
            return "none"
        case bool():
            return str(item).lower()
        case Enum():
            return _word(str(item.value))
        case int() | float():
            return repr(item)
        case str():
            return _word(item)
        case Value():
            return _value(item.name)
        case Access():
            return f"{_word(item.tensor)}[{', '.join(map(_coordinate, item.coordinates))}]"
        case Coordinate():
            return _coordinate(item)
        case Span():
            return f"loc({item.start}:{item.end})"
        case tuple():
            inner = element_hints(hint, len(item))
            parts = [_attribute(x, h, depth + 1) for x, h in zip(item, inner, strict=True)]
            return _enclosed("(", parts, ")", depth)
        case _:
            return _struct(item, hint, depth)


def _struct(item: object, hint: Any, depth: int) -> str:
    tag = type(item).__name__ if sum(map(is_dataclass, alternatives(hint))) > 1 else ""
    parts = [_field(field, item, depth + 1) for field in fields_of(type(item))]
    return _enclosed(f"{tag}{{", parts, "}", depth)


def _enclosed(start: str, parts: list[str], end: str, depth: int) -> str:
    """A list on one line, or a line for each part where that is too long."""
    text = f"{start}{', '.join(parts)}{end}"
    if len(text) <= _WIDTH - 2 * depth and "\n" not in text:
        return text
    inner = ",\n".join(f"{'  ' * (depth + 1)}{part}" for part in parts)
    return f"{start}\n{inner}\n{'  ' * depth}{end}"


def _coordinate(coordinate: Coordinate) -> str:
    index = _word(coordinate.index)
    return index if coordinate.via is None else f"{_word(coordinate.via)}[{index}]"


def _location(span: Span) -> str:
    """The place an operation came from; nothing for what the compiler made."""
    return "" if span == NOWHERE else f" loc({span.start}:{span.end})"


def _value(name: str) -> str:
    return f"%{name}" if _VALUE.fullmatch(name) else f"%{_quote(name)}"


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) and text not in RESERVED else _quote(text)


def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
