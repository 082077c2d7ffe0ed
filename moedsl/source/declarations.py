"""The declarations of a kernel: params, indices, tensors and the compute type."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from moedsl.source import syntax
from moedsl.source.constants import Evaluator, Number
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import Compute, DType, Function, Index, IndexKind, Role, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.source.reporter import Reporter
    from moedsl.source.span import Span

LARGEST_EXTENT = 2**31 - 1
MOST_EXPERTS = 4096

KEYWORDS = frozenset(
    {"kernel", "schedule", "param", "index", "input", "output", "compute"}
    | {"sum", "ragged", "dynamic"}
)
FUNCTIONS = {
    function.value: function
    for function in Function
    if function.value not in {"add", "sub", "mul", "div", "neg"}
}
"""What an expression may call."""
_RESERVED: dict[str, str] = {
    **dict.fromkeys(KEYWORDS, "a keyword"),
    **dict.fromkeys(FUNCTIONS, "a function"),
    **{name.value: "an element type" for name in DType},
    "offs": "the argument that holds each expert's end",
}
_LATER_TYPES = frozenset(
    {"e4m3", "e5m2", "fp8", "e4m3fn", "float8_e4m3fn", "float8_e5m2", "f8"}
    | {"fp4", "e2m1", "nvfp4", "mxfp8", "mxfp4"}
)
_OTHER_SPELLINGS = {
    "bfloat16": "bf16",
    "float16": "f16",
    "fp16": "f16",
    "half": "f16",
    "float": "f32",
    "float32": "f32",
    "fp32": "f32",
    "int": "i32",
    "int32": "i32",
    "i64": "i32",
    "int64": "i32",
}


class Declarations:
    """Collects what a kernel declares.

    Names whose declaration failed are ``unknowable``: using them is no further error. ``used``
    are the names that something refers to.
    """

    def __init__(self, report: Reporter, overrides: Mapping[str, int | float]) -> None:
        self.report, self.overrides = report, overrides
        self.names: dict[str, Span] = {}
        self.unknowable: set[str] = set()
        self.params: dict[str, Number] = {}
        self.indices: dict[str, Index] = {}
        self.tensors: dict[str, Tensor] = {}
        self.compute: syntax.Name | None = None
        self.ragged: list[tuple[Index, syntax.Name]] = []
        self.constants = Evaluator(report, self.params, self.unknowable)
        self.used = self.constants.used

    def define(self, name: syntax.Name) -> bool:
        """Take ``name`` for something new; False (and reported) if it cannot be."""
        if name.text in _RESERVED:
            self.report.error(
                "MOE0103",
                f"`{name.text}` cannot be defined: it is {_RESERVED[name.text]}",
                name.span,
                "reserved",
                help="choose another name",
            )
        elif name.text in self.names:
            self.report.error(
                "MOE0102",
                f"`{clip(name.text)}` is defined twice",
                name.span,
                "defined again",
                labels=(Label(self.names[name.text], "first defined here"),),
                help="every name of a kernel is defined once",
            )
            return False
        else:
            self.names[name.text] = name.span
            return True
        self.unknowable.add(name.text)
        return False

    def declare(self, statements: tuple[syntax.Statement, ...]) -> None:
        """Params in order first, then indices, then tensors, so that order binds only params."""
        for statement in statements:
            match statement:
                case syntax.Broken(defines=name):
                    if name:
                        self.unknowable.add(name)
                case syntax.Param():
                    self._param(statement)
                case syntax.ComputeDeclaration():
                    self._compute(statement)
                case (
                    syntax.IndexDeclaration()
                    | syntax.TensorDeclaration()
                    | syntax.Definition()
                    | syntax.Store()
                ):
                    pass
                case _:
                    assert_never(statement)
        for statement in statements:
            if isinstance(statement, syntax.IndexDeclaration):
                self._index(statement)
        self._check_ragged()
        for statement in statements:
            if isinstance(statement, syntax.TensorDeclaration):
                self._tensor(statement)

    def _param(self, param: syntax.Param) -> None:
        value = self.constants.evaluate(param.value)
        if not self.define(param.name):
            return
        value = self.overrides.get(param.name.text, value)
        if value is None:
            self.unknowable.add(param.name.text)
        else:
            self.params[param.name.text] = value

    def _compute(self, statement: syntax.ComputeDeclaration) -> None:
        if self.compute is not None:
            self.report.error(
                "MOE0102",
                "the compute type is given twice",
                statement.span,
                "given again",
                labels=(Label(self.compute.span, "first given here"),),
            )
        elif statement.type.text not in tuple(Compute):
            self.report.error(
                "MOE0127",
                f"there is no compute type `{clip(statement.type.text)}`",
                statement.type.span,
                f"expected {', '.join(Compute)}",
                help=did_you_mean(statement.type.text, tuple(Compute)),
            )
        else:
            self.compute = statement.type

    def _index(self, declaration: syntax.IndexDeclaration) -> None:
        name, extent = declaration.name, declaration.extent
        size = None
        if not isinstance(extent, syntax.Ragged | syntax.Dynamic):
            size = self.constants.evaluate(extent)
        if not self.define(name):
            return
        match extent:
            case syntax.Ragged(over=over):
                index = Index(name.text, IndexKind.RAGGED, None, over.text, name.span)
            case syntax.Dynamic():
                index = Index(name.text, IndexKind.DYNAMIC, None, None, name.span)
            case _:
                if size is None or not self._check_extent(name.text, size, extent.span):
                    self.unknowable.add(name.text)
                    return
                index = Index(name.text, IndexKind.FIXED, int(size), None, name.span)
        self.indices[name.text] = index
        if isinstance(extent, syntax.Ragged):
            self.used.add(extent.over.text)
            self.ragged.append((index, extent.over))

    def _check_extent(self, name: str, size: Number, span: Span) -> bool:
        if size == int(size) and 1 <= size <= LARGEST_EXTENT:
            return True
        self.report.error(
            "MOE0115",
            f"the extent of `{clip(name)}` is {size:g}"
            if isinstance(size, float)
            else f"the extent of `{clip(name)}` is {size}",
            span,
            f"expected a whole number from 1 to {LARGEST_EXTENT}",
        )
        return False

    def _check_ragged(self) -> None:
        for index, _ in self.ragged[1:]:
            self.report.error(
                "MOE0202",
                "a kernel has one ragged index only",
                index.span,
                "a second ragged index",
                labels=(Label(self.ragged[0][0].span, "the first one"),),
                help="split the kernel, or make this index `dynamic`",
            )
        for _, over in self.ragged:
            self._check_experts(over)

    def _check_experts(self, over: syntax.Name) -> None:
        experts = self.indices.get(over.text)
        if experts is None:
            if over.text not in self.unknowable:
                self.report.error(
                    "MOE0101",
                    f"there is no index called `{clip(over.text)}`",
                    over.span,
                    "not an index",
                    help=did_you_mean(over.text, self.indices)
                    or f"declare it: `index {over.text} = 8`",
                )
        elif experts.kind is not IndexKind.FIXED or experts.extent is None:
            self.report.error(
                "MOE0129",
                f"`{over.text}` counts the experts and must have a fixed extent",
                over.span,
                f"this index is {experts.kind}",
                labels=(Label(experts.span, "declared here"),),
            )
        elif experts.extent > MOST_EXPERTS:
            self.report.error(
                "MOE0126",
                f"{experts.extent} experts are too many",
                experts.span,
                f"expected at most {MOST_EXPERTS}",
            )

    def _tensor(self, declaration: syntax.TensorDeclaration) -> None:
        dtype = self._dtype(declaration.dtype)
        dims = self._dims(declaration.dims)
        if not self.define(declaration.name):
            return
        name = declaration.name
        if dtype is None or dims is None:
            self.unknowable.add(name.text)
            return
        if declaration.output and dtype is DType.I32:
            self.report.error(
                "MOE0120",
                f"the output `{clip(name.text)}` cannot be i32",
                declaration.dtype.span,
                "expected bf16, f16 or f32",
                notes=("i32 tensors hold row numbers for gather and scatter",),
            )
        elif dtype is DType.I32 and len(dims) != 1:
            self.report.error(
                "MOE0118",
                f"`{clip(name.text)}` is no map: a map is i32 with one dimension",
                declaration.span,
                f"has {len(dims)} dimensions",
                help=f"declare it `input {clip(name.text)} : i32[m]`, with `m` the ragged index",
            )
            self.unknowable.add(name.text)
            return
        role = Role.OUTPUT if declaration.output else Role.INPUT
        self.tensors[name.text] = Tensor(name.text, role, dtype, dims, name.span)

    def _dtype(self, name: syntax.Name) -> DType | None:
        text = name.text
        if text in tuple(DType):
            return DType(text)
        if text in _LATER_TYPES:
            self.report.error(
                "MOE0105",
                f"`{text}` tensors are not in this version",
                name.span,
                "expected bf16, f16, f32 or i32",
                notes=("8-bit types need scale factors, which come with them",),
            )
        elif text == "tf32":
            self.report.error(
                "MOE0104",
                "tf32 is a way to compute, not an element type",
                name.span,
                "expected bf16, f16, f32 or i32",
                help="declare the tensor f32 and add the line `compute tf32`",
            )
        else:
            other = _OTHER_SPELLINGS.get(text.lower())
            self.report.error(
                "MOE0104",
                f"there is no element type `{clip(text)}`",
                name.span,
                "expected bf16, f16, f32 or i32",
                help=f"it is called `{other}` here" if other else did_you_mean(text, tuple(DType)),
            )
        return None

    def _dims(self, dims: tuple[syntax.Expression, ...]) -> tuple[str, ...] | None:
        names = [self._dim(dim) for dim in dims]
        known = tuple(name for name in names if name is not None)
        if len(known) < len(names):
            return None
        ragged = next((i for i in known if self.indices[i].kind is IndexKind.RAGGED), None)
        if ragged is not None and (over := self.indices[ragged].over) in known:
            self.report.error(
                "MOE0212",
                f"a tensor cannot have both `{over}` and `{ragged}`",
                dims[known.index(over or "")].span,
                "remove this dimension",
                labels=(Label(dims[known.index(ragged)].span, f"ragged over `{over}`"),),
                notes=("the rows of all experts are packed behind each other in one dimension",),
            )
            return None
        return known

    def _dim(self, dim: syntax.Expression) -> str | None:
        if not isinstance(dim, syntax.Variable):
            self.report.error(
                "MOE0109",
                "a dimension is an index",
                dim.span,
                "expected the name of an index",
                help="declare one: `index k = 4096`, and use its name here",
            )
            return None
        name = dim.name.text
        self.used.add(name)
        if name in self.indices:
            return name
        if name not in self.unknowable:
            self.report.error(
                "MOE0101",
                f"there is no index called `{clip(name)}`",
                dim.span,
                "not an index",
                labels=(Label(self.names[name], "defined here, as no index"),)
                if name in self.names
                else (),
                help=did_you_mean(name, self.indices) or f"declare it: `index {clip(name)} = …`",
            )
        return None
