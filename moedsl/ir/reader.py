"""Build a module from IR text, guided by the annotations of the dialects' dataclasses."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from moedsl.ir.core import Compute, DType, Index, IndexKind, Role, Tensor, Value
from moedsl.ir.module import Module, is_op, levels, mnemonic, op_named, op_names
from moedsl.ir.moe import Signature
from moedsl.ir.nodes import (
    MALFORMED,
    MISTYPED,
    UNDEFINED,
    UNKNOWN,
    UNKNOWN_TARGET,
    FaultError,
    accepts,
    children_of,
    closest,
    definition_of,
    describe,
    dtype_of,
    integer_of,
    kind_of,
    leaf,
    location_of,
    name_of,
    names_of,
    parse_tree,
    span_of,
    spelling,
    string_of,
    token_of,
    value_name,
)
from moedsl.ir.reflect import ARGUMENTS, RESULTS, alternatives, element_hints, fields_of
from moedsl.source.diagnostic import Diagnostic, DiagnosticError
from moedsl.source.span import Source, Span
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lark import Token

    from moedsl.ir.module import Level
    from moedsl.ir.nodes import Branch, Node
    from moedsl.ir.reflect import Field

    Scope = dict[str, Value]

_DEEPEST = 64
_SIGNATURE = {"compute": Compute, "experts": str, "ragged": str, "rows": str, "columns": str}


def read_module(source: Source) -> tuple[Module, dict[int, Span]]:
    """The module that ``source`` spells, not verified, and where its parts stand.

    The second result maps ``id`` of every kernel, index, tensor and operation to its span in
    ``source``. Raises DiagnosticError with one 07xx diagnostic.
    """
    reader = _Reader()
    try:
        return reader.module(parse_tree(source)), reader.places
    except FaultError as fault:
        diagnostic = Diagnostic(fault.code, fault.message, source, fault.span, fault.label)
        raise DiagnosticError([diagnostic]) from fault


class _Reader:
    """Builds one module; ``places`` remembers where its parts stand in the text."""

    def __init__(self) -> None:
        self.places: dict[int, Span] = {}
        self.origin: Source | None = None

    def module(self, tree: Branch) -> Module:
        level_name, *parts = tree.children
        name = str(level_name)
        level = levels().get(name)
        if level is None:
            known = f"the levels are {', '.join(levels())}"
            raise FaultError(UNKNOWN, f"there is no IR level `{name}`", level_name, known)
        kernels = [part for part in parts if part is not None and kind_of(part) == "kernel"]
        for part in parts:
            if part is not None and kind_of(part) == "source":
                source_name, *lines = children_of(part)
                text = "".join(string_of(line) for line in lines)
                self.origin = Source(string_of(source_name), text)
        return Module(name, tuple(self.kernel(node, level) for node in kernels), self.origin)

    def kernel(self, node: Node, level: Level) -> Any:
        name, loc, *items = children_of(node)
        parts: dict[str, list[Any]] = {"index": [], "tensor": [], "attribute": [], "op": []}
        for item in items:
            parts[kind_of(item)].append(item)
        fields = {f.name: f for f in fields_of(level.kernel)}
        given = self.attributes(parts["attribute"], [*_SIGNATURE, *fields], name)
        words: dict[str, Any] = {
            word: self.item(self.required(given, word, name), hint, {}, 0)
            for word, hint in _SIGNATURE.items()
        }
        signature = Signature(
            name=name_of(name),
            indices=tuple(map(self.index, parts["index"])),
            tensors=tuple(map(self.tensor, parts["tensor"])),
            span=location_of(loc),
            **words,
        )
        more = {
            key: self.item(self.required(given, key, name), field.hint, {}, 0)
            for key, field in fields.items()
            if key not in ("signature", "body", "source")
        }
        if "target" in more and more["target"] not in TARGETS:
            message = f"there is no target `{more['target']}`"
            label = closest(str(more["target"]), TARGETS)
            raise FaultError(UNKNOWN_TARGET, message, given["target"], label)
        body = self.body(parts["op"], fields["body"].hint, {}, 0)
        kernel = level.kernel(signature=signature, body=body, source=self.origin, **more)
        return self.placed(kernel, span_of(name))

    def placed(self, made: Any, span: Span) -> Any:
        self.places[id(made)] = span
        return made

    def attributes(
        self, nodes: Iterable[Node], known: Iterable[str], owner: Node
    ) -> dict[str, Node]:
        """Attribute values by name: none unknown, none twice."""
        given: dict[str, Node] = {}
        names = list(known)
        for node in nodes:
            key, value = children_of(node)
            if key not in names:
                message = f"`{spelling(owner)}` has no attribute `{key}`"
                raise FaultError(UNKNOWN, message, key, closest(key, names))
            if key in given:
                raise FaultError(MISTYPED, f"attribute `{key}` is given twice", key)
            given[str(key)] = value
        return given

    def required(self, given: Mapping[str, Node], key: str, owner: Node) -> Node:
        if key not in given:
            raise FaultError(MISTYPED, f"`{spelling(owner)}` lacks the attribute `{key}`", owner)
        return given[key]

    def index(self, node: Node) -> Index:
        _, name, extent, loc = children_of(node)
        kind, size, over = IndexKind(kind_of(extent)), None, None
        if kind is IndexKind.FIXED:
            size = integer_of(children_of(extent)[0])
        elif kind is IndexKind.RAGGED:
            over = name_of(children_of(extent)[0])
        made: Index = self.placed(
            Index(name_of(name), kind, size, over, location_of(loc)), span_of(node)
        )
        return made

    def tensor(self, node: Node) -> Tensor:
        role, name, dtype, dims, loc = children_of(node)
        if dtype_of(dtype) is None:
            label = f"expected {describe(DType)}"
            raise FaultError(MISTYPED, f"there is no type `{name_of(dtype)}`", dtype, label)
        made = Tensor(
            name_of(name), Role(str(role)), DType(name_of(dtype)), names_of(dims), location_of(loc)
        )
        placed: Tensor = self.placed(made, span_of(node))
        return placed

    def body(
        self, nodes: Iterable[Node], hint: Any, scope: Scope, depth: int
    ) -> tuple[object, ...]:
        allowed = alternatives(get_args(hint)[0])
        return tuple(self.op(node, allowed, scope, depth) for node in nodes)

    def op(self, node: Node, allowed: tuple[Any, ...], scope: Scope, depth: int) -> object:
        if depth > _DEEPEST:
            raise FaultError(MALFORMED, f"regions nest deeper than {_DEEPEST}", node)
        results, name, attributes, loc = children_of(node)
        kind = op_named(str(name))
        if kind is None or kind not in allowed:
            what = "there is no operation" if kind is None else "this level has no operation"
            close = closest(str(name), (x for x in op_names() if op_named(x) in allowed))
            raise FaultError(UNKNOWN, f"{what} `{name}`", name, close)
        defined = tuple(map(definition_of, children_of(results))) if results is not None else ()
        fields = {f.name: f for f in fields_of(kind) if f.name not in (*RESULTS, "span")}
        given = self.attributes(children_of(attributes) if attributes else (), fields, name)
        inner = dict(scope)
        made: dict[str, object] = {}
        for key in (*(k for k in fields if k in ARGUMENTS), *(k for k in fields)):
            if key not in made and (key in given or not fields[key].default):
                value = self.required(given, key, name)
                made[key] = self.field(value, fields[key], inner, depth)
        made |= _results(kind, defined, name)
        if "span" in {f.name for f in fields_of(kind)}:
            made["span"] = location_of(loc)
        scope |= {value.name: value for value in defined}
        return self.placed(kind(**made), span_of(node))

    def field(self, node: Node, field: Field, scope: Scope, depth: int) -> object:
        if field.name not in ARGUMENTS:
            return self.item(node, field.hint, scope, depth)
        if kind_of(node) != "tuple" or any(kind_of(x) != "result" for x in children_of(node) if x):
            raise FaultError(MISTYPED, "expected definitions like (%i[])", node)
        values = tuple(definition_of(child) for child in children_of(node) if child is not None)
        scope |= {value.name: value for value in values}
        return values if field.name == "arguments" else values[0]

    def item(self, node: Node, hint: Any, scope: Scope, depth: int) -> object:
        """The value that ``node`` spells under an annotation."""
        for kind in alternatives(hint):
            if accepts(node, kind):
                return self.build(node, kind, scope, depth)
        raise FaultError(
            MISTYPED, "attribute of the wrong kind", node, f"expected {describe(hint)}"
        )

    def build(self, node: Node, kind: Any, scope: Scope, depth: int) -> object:
        if get_origin(kind) is tuple:
            if any(is_op(member) for member in alternatives(get_args(kind)[0])):
                nodes = [child for child in children_of(node) if child is not None]
                return self.body(nodes, kind, dict(scope), depth + 1)
            children = [child for child in children_of(node) if child is not None]
            hints = element_hints(kind, len(children))
            if len(hints) != len(children):
                label = f"expected {len(hints)} members"
                raise FaultError(MISTYPED, f"{len(children)} members", node, label)
            return tuple(
                self.item(c, h, scope, depth) for c, h in zip(children, hints, strict=True)
            )
        if kind is Value:
            name = value_name(token_of(node))
            if name not in scope:
                message = f"%{name} is not defined here"
                raise FaultError(UNDEFINED, message, node, closest(name, scope))
            return scope[name]
        if is_dataclass(kind) and kind_of(node) == "struct":
            return self.struct(node, kind, scope, depth)
        return leaf(node, kind)

    def struct(self, node: Node, kind: Any, scope: Scope, depth: int) -> object:
        _, attributes = children_of(node)
        fields = {f.name: f for f in fields_of(kind)}
        given = self.attributes(children_of(attributes) if attributes else (), fields, node)
        return kind(
            **{
                key: self.item(self.required(given, key, node), field.hint, scope, depth)
                for key, field in fields.items()
                if key in given or not field.default
            }
        )


def _results(kind: type[Any], defined: tuple[Value, ...], name: Token) -> dict[str, object]:
    """The result fields of an op of class ``kind`` that defines ``defined``."""
    names = {f.name for f in fields_of(kind)}
    if "results" in names:
        return {"results": defined}
    wanted = 1 if "result" in names else 0
    if len(defined) != wanted:
        message = f"`{mnemonic(kind)}` defines {wanted} values, not {len(defined)}"
        raise FaultError(MISTYPED, message, name)
    return {"result": defined[0]} if wanted else {}
