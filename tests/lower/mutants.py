"""Mutants of Python source: one small change each, as programmers make them by mistake.

What only types, asserts, imports, decorators and docstrings say is left alone, and so are comments
and empty lines of what is emitted: no test could see it. A mutant is known by its file, the
function it lies in and the text before and after, so that it keeps its name while lines move.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_ORDERED = (ast.Sub, ast.FloorDiv, ast.Div, ast.Mod, ast.LShift, ast.RShift)
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_UNORDERED = ("isinstance", "zip", "replace", "min", "max")
"""Calls whose swapped arguments mean the same, or nothing."""
_UNSEEN = (ast.Import, ast.ImportFrom, ast.Assert)
_LEAST_TEXT = 12
"""Characters that say where a change is; shorter expressions are shown with what holds them."""


@dataclass(frozen=True)
class Mutant:
    """The ``number``-th change of module ``path``; ``key`` says what is done to it where."""

    path: str
    key: str
    number: int


@dataclass(frozen=True)
class _Site:
    """A node that may change: where it hangs in its parent, and what it lies in."""

    chain: tuple[ast.AST, ...]
    field: str
    place: int | None
    function: str

    @property
    def node(self) -> ast.AST:
        return self.chain[-1]

    @property
    def parent(self) -> ast.AST:
        return self.chain[-2]


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """Every mutant of one module, in the order of its text."""
    taken: Counter[str] = Counter()
    for number, (site, new, _) in enumerate(_damaged(source)):
        shown = _shown(site)
        after = _text(shown) if shown is not site.node else _text(new)
        _put(site, site.node)
        key = f"{path} {site.function}: {_text(shown)} → {after}"
        _put(site, new)
        taken[key] += 1
        yield Mutant(path, key if taken[key] == 1 else f"{key} #{taken[key]}", number)


def mutant_text(source: str, number: int) -> str:
    """All of the module after its ``number``-th change."""
    *_, tree = next(islice(_damaged(source), number, None))
    return ast.unparse(tree) + "\n"


def _damaged(source: str) -> Iterator[tuple[_Site, ast.AST, ast.Module]]:
    """Each change in turn, while it is done to the module."""
    tree = ast.parse(source)
    for site in _sites(tree, (tree,), ""):
        for new in _changes(site):
            _put(site, new)
            yield site, new, tree
            _put(site, site.node)


def _sites(node: ast.AST, chain: tuple[ast.AST, ...], function: str) -> Iterator[_Site]:
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        children = value if isinstance(value, list) else [value]
        for place, child in enumerate(children):
            if not isinstance(child, ast.AST) or _unseen(child):
                continue
            inside = function
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inside = f"{function}.{child.name}".lstrip(".")
            longer = (*chain, child)
            yield _Site(longer, field, place if isinstance(value, list) else None, inside)
            yield from _sites(child, longer, inside)


def _unseen(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="line"), args=texts)):
            return all(ast.unparse(text).lstrip("f'\"").startswith("//") for text in texts)
        case ast.keyword(arg="strict"):
            return True
        case ast.FormattedValue(format_spec=ast.JoinedStr()):
            return False
        case _:
            return isinstance(node, _UNSEEN)


def _changes(site: _Site) -> Iterator[ast.AST]:
    """What may stand there instead."""
    node = site.node
    match node:
        case ast.Compare(ops=[operator]):
            for turned in _COMPARISONS[type(operator)]:
                yield _with(node, ops=[turned()])
        case ast.BoolOp(op=operator):
            yield _with(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.BinOp(op=operator):
            if type(operator) in _ARITHMETIC:
                yield _with(node, op=_ARITHMETIC[type(operator)]())
            if isinstance(operator, _ORDERED):
                yield _with(node, left=node.right, right=node.left)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value) if site.field != "format_spec":
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.If() | ast.IfExp() | ast.While():
            if not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
                yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
            elif isinstance(node, ast.IfExp):
                yield _with(node, body=node.orelse, orelse=node.body)
        case ast.comprehension(ifs=[_, *rest]):
            yield _with(node, ifs=rest)
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield _with(node, func=ast.Name(_NAMES[name]))
        case ast.Call(func=func, args=[first, second, *rest]):
            starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
            if not starred and ast.unparse(func) not in _UNORDERED:
                yield _with(node, args=[second, first, *rest])
        case ast.Expr() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case _:
            return


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _put(site: _Site, node: ast.AST) -> None:
    if site.place is None:
        setattr(site.parent, site.field, node)
    else:
        getattr(site.parent, site.field)[site.place] = node


def _shown(site: _Site) -> ast.AST:
    """The node, or what holds it if its text is too short to tell it from others."""
    for node in reversed(site.chain):
        if isinstance(node, (ast.stmt, ast.Module)) or len(_text(node)) >= _LEAST_TEXT:
            return node
    return site.node


def _text(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]
