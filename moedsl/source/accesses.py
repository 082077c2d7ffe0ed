"""Elements of tensors: whether the subscripts fit the dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.source import syntax
from moedsl.source.diagnostic import Label
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import Access, Coordinate, DType, Index, IndexKind, Tensor

if TYPE_CHECKING:
    from moedsl.source.declarations import Declarations


class Accesses:
    """Resolves ``tensor[subscripts]`` against the declarations."""

    def __init__(self, names: Declarations) -> None:
        self.names, self.report = names, names.report

    def access(self, element: syntax.Element) -> Access | None:
        """The access, or None if something in it was (or had been) reported."""
        tensor = self._tensor(element)
        if tensor is None:
            return None
        if len(element.subscripts) != len(tensor.dims):
            count = len(tensor.dims)
            dims = ", ".join(tensor.dims)
            self.report.error(
                "MOE0107",
                f"`{clip(tensor.name)}` has {count} dimension{'s' * (count != 1)}, "
                f"not {len(element.subscripts)}",
                element.span,
                f"expected `{tensor.name}[{dims}]`" if count else f"expected `{tensor.name}` alone",
                labels=(Label(tensor.span, "declared here"),),
            )
            return None
        coordinates = [
            self._coordinate(tensor, position, subscript)
            for position, subscript in enumerate(element.subscripts)
        ]
        known = tuple(coordinate for coordinate in coordinates if coordinate is not None)
        if len(known) < len(coordinates):
            return None
        indices = [coordinate.index for coordinate in known]
        for position, index in enumerate(indices):
            if index in indices[:position]:
                self.report.error(
                    "MOE0210",
                    f"`{index}` stands twice in `{clip(tensor.name)}[…]`",
                    element.subscripts[position].span,
                    "again",
                    labels=(Label(element.subscripts[indices.index(index)].span, "here first"),),
                    help="give each dimension an index of its own; extents may be equal",
                )
                return None
        return Access(tensor.name, known)

    def _tensor(self, element: syntax.Element) -> Tensor | None:
        name = element.tensor.text
        self.names.used.add(name)
        if name in self.names.tensors:
            return self.names.tensors[name]
        if name in self.names.unknowable:
            return None
        if name in self.names.names:
            self.report.error(
                "MOE0106",
                f"`{clip(name)}` is not a tensor and has no elements",
                element.span,
                "cannot have subscripts",
                labels=(Label(self.names.names[name], "defined here"),),
                help=f"use its name alone: `{clip(name)}`" if element.subscripts else "",
            )
            return None
        self.report.error(
            "MOE0101",
            f"there is no tensor called `{clip(name)}`",
            element.tensor.span,
            "not declared",
            help=did_you_mean(name, self.names.tensors),
        )
        return None

    def _coordinate(
        self, tensor: Tensor, position: int, subscript: syntax.Expression
    ) -> Coordinate | None:
        match subscript:
            case syntax.Variable(name=name):
                index = self._index(name)
                if index is None or not self._fits(tensor, position, index, subscript):
                    return None
                return Coordinate(index.name)
            case syntax.Element():
                return self._map(subscript)
            case syntax.Binary(operator="/", left=syntax.Variable()):
                self.report.error(
                    "MOE0110",
                    "scaled factors are not in this version",
                    subscript.span,
                    "expected an index",
                    notes=("a subscript like `k/128` belongs to block scales of 8-bit types",),
                )
            case _:
                self.report.error(
                    "MOE0109",
                    "a subscript is an index",
                    subscript.span,
                    "expected an index, or `map[index]`",
                )
        return None

    def _index(self, name: syntax.Name) -> Index | None:
        self.names.used.add(name.text)
        index = self.names.indices.get(name.text)
        if index is None and name.text not in self.names.unknowable:
            tensor = self.names.tensors.get(name.text)
            help = did_you_mean(name.text, self.names.indices)
            if tensor is not None and len(tensor.dims) == 1:
                help = f"look it up for an index: `{name.text}[{tensor.dims[0]}]`"
            self.report.error(
                "MOE0101",
                f"there is no index called `{clip(name.text)}`",
                name.span,
                "not an index",
                help=help,
            )
        return index

    def _fits(
        self, tensor: Tensor, position: int, index: Index, subscript: syntax.Expression
    ) -> bool:
        declared = self.names.indices[tensor.dims[position]]
        if declared.name == index.name:
            return True
        fixed = declared.kind is index.kind is IndexKind.FIXED
        if fixed and declared.extent == index.extent:
            return True
        self.report.error(
            "MOE0108",
            f"dimension {position + 1} of `{clip(tensor.name)}` is `{declared.name}`, "
            f"not `{index.name}`",
            subscript.span,
            f"expected {_described(declared)}, found {_described(index)}",
            labels=(Label(tensor.span, "declared here"),),
        )
        return False

    def _map(self, element: syntax.Element) -> Coordinate | None:
        """``map[index]``: an i32 input of one dimension, at the ragged index."""
        access = self.access(element)
        if access is None:
            return None
        tensor = self.names.tensors[access.tensor]
        coordinate = access.coordinates[0]
        if tensor.dtype is not DType.I32:
            self.report.error(
                "MOE0118",
                f"`{clip(tensor.name)}` is no map: a map is i32 with one dimension",
                element.span,
                f"this is {tensor.dtype}",
                labels=(Label(tensor.span, "declared here"),),
                help=f"declare it `input {clip(tensor.name)} : i32[{coordinate.index}]`",
            )
            return None
        if coordinate.via is not None:
            self.report.error(
                "MOE0223",
                "a map cannot be subscripted by a map",
                element.span,
                "two look-ups",
                help="compose the maps before the call",
            )
            return None
        if self.names.indices[coordinate.index].kind is not IndexKind.RAGGED:
            self.report.error(
                "MOE0222",
                f"only the ragged index can go through a map, `{coordinate.index}` is not",
                element.span,
                "expected the ragged index",
                labels=(Label(self.names.indices[coordinate.index].span, "declared here"),),
            )
            return None
        return Coordinate(coordinate.index, tensor.name)


def _described(index: Index) -> str:
    if index.kind is IndexKind.FIXED:
        return f"`{index.name}` of extent {index.extent}"
    return f"`{index.name}`, which is {index.kind}"
