"""Checks the arguments of a call against a kernel's signature.

Every finding is a diagnostic with a 05xx code that points at the declaration of the argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from moedsl.arrays import ArrayError, ArrayView, ElementTypeError, overlap
from moedsl.ir.core import DType, IndexKind, Tensor
from moedsl.libraries import library_of
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moedsl.ir.moe import Signature
    from moedsl.source.span import Source, Span

OFFSETS = "offs"
"""Name of the argument that holds the cumulative ends of the experts' rows."""


@dataclass(frozen=True)
class Reporter:
    """Makes diagnostics about one kernel's arguments."""

    signature: Signature
    source: Source | None

    def report(
        self,
        code: str,
        message: str,
        name: str | None = None,
        *,
        label: str = "",
        labels: tuple[Label, ...] = (),
        help: str = "",
    ) -> Diagnostic:
        """A diagnostic at the declaration of argument ``name``, else at the kernel."""
        return Diagnostic(
            code,
            message,
            source=self.source,
            span=self._span(name) if self.source else None,
            label=label,
            labels=labels if self.source else (),
            help=help,
        )

    def _span(self, name: str | None) -> Span:
        for tensor in self.signature.tensors:
            if tensor.name == name:
                return tensor.span
        return self.signature.span


def argument_names(signature: Signature) -> tuple[str, ...]:
    """What a call takes, in order: the inputs as declared, then ``offs``."""
    return (*(tensor.name for tensor in signature.inputs), OFFSETS)


def model(signature: Signature, inputs: Sequence[object]) -> object:
    """The array whose library makes the outputs: the first of ``inputs`` that has dimensions."""
    return next(
        array for tensor, array in zip(signature.inputs, inputs, strict=False) if tensor.dims
    )


def arrange(
    reporter: Reporter, positional: Sequence[object], named: Mapping[str, object]
) -> list[object]:
    """The arguments in the order of :func:`argument_names`.

    Raises DiagnosticError: MOE0501 missing, MOE0502 unknown, MOE0503 given twice or too many.
    """
    names = argument_names(reporter.signature)
    found: list[Diagnostic] = []
    if len(positional) > len(names):
        found.append(
            reporter.report(
                "MOE0503",
                f"{len(positional)} positional arguments, expected at most {len(names)}: "
                f"{', '.join(names)}",
            )
        )
    given = dict(zip(names, positional, strict=False))
    for name, value in named.items():
        if name in given:
            found.append(reporter.report("MOE0503", f"argument '{name}' is given twice", name))
        elif name not in names:
            found.append(_unknown(reporter, name, names))
        given[name] = value
    for name in names:
        if name not in given:
            found.append(reporter.report("MOE0501", f"argument '{name}' is missing", name))
    if found:
        raise DiagnosticError(found)
    return [given[name] for name in names]


def _unknown(reporter: Reporter, name: str, names: Sequence[str]) -> Diagnostic:
    outputs = [tensor.name for tensor in reporter.signature.outputs]
    if name in outputs:
        help = "outputs are passed as out=..."
    else:
        near = get_close_matches(name, names, n=1)
        help = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(names)}"
    kernel = reporter.signature.name
    return reporter.report("MOE0502", f"'{kernel}' takes no argument '{name}'", help=help)


def outputs_given(reporter: Reporter, out: object) -> list[object]:
    """The arrays of ``out`` in the order of the outputs.

    One output takes its array or a mapping; several take a mapping from every name. Raises
    DiagnosticError: MOE0501, MOE0502.
    """
    names = [tensor.name for tensor in reporter.signature.outputs]
    if not isinstance(out, dict):
        if len(names) == 1:
            return [out]
        message = f"out= must map each of {', '.join(names)} to an array"
        raise DiagnosticError([reporter.report("MOE0501", message)])
    found = [
        reporter.report("MOE0501", f"output '{name}' is missing in out=", name)
        for name in names
        if name not in out
    ]
    for name in out:
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            help = f"did you mean '{near[0]}'?" if near else f"its outputs are {', '.join(names)}"
            message = f"'{reporter.signature.name}' has no output '{name}'"
            found.append(reporter.report("MOE0502", message, help=help))
    if found:
        raise DiagnosticError(found)
    return [out[name] for name in names]


def view_argument(
    reporter: Reporter, name: str, array: object, stream: int | None
) -> ArrayView | Diagnostic:
    """The view of one argument, or why there is none: MOE0504 no array, MOE0506 element type."""
    try:
        return library_of(array).view(array, stream)
    except ElementTypeError as error:
        return _wrong_type(reporter, name, error.got)
    except ArrayError as error:
        return reporter.report("MOE0504", f"'{name}' {error.message}", name, help=error.help)


def _wrong_type(reporter: Reporter, name: str, got: str) -> Diagnostic:
    expected = DType.I32 if name == OFFSETS else reporter.signature.tensor(name).dtype
    help = "convert it, for example with .to(torch.int32)" if got == "int64" else ""
    return reporter.report(
        "MOE0506",
        f"'{name}' holds {got}, expected {expected}",
        name,
        label=f"declared {expected}",
        help=help,
    )


def call_sizes(
    reporter: Reporter, views: Mapping[str, ArrayView]
) -> tuple[dict[str, int], list[Diagnostic]]:
    """Extents of all indices, as ``Call.sizes`` holds them, and what contradicts the signature.

    MOE0505 wrong rank or extent, MOE0506 wrong element type. ``views`` may lack outputs.
    """
    signature = reporter.signature
    sizes = {i.name: i.extent for i in signature.indices if i.extent is not None}
    decided: dict[str, Tensor] = {}
    found: list[Diagnostic] = []
    for tensor in signature.tensors:
        view = views.get(tensor.name)
        if view is None:
            continue
        if view.dtype is not tensor.dtype:
            found.append(_wrong_type(reporter, tensor.name, view.dtype))
        if len(view.shape) != len(tensor.dims):
            found.append(_wrong_rank(reporter, tensor, view))
            continue
        for dim, extent in zip(tensor.dims, view.shape, strict=True):
            if signature.index(dim).kind is not IndexKind.FIXED and dim not in sizes:
                sizes[dim], decided[dim] = extent, tensor
            elif sizes[dim] != extent:
                found.append(_wrong_extent(reporter, tensor, dim, view, sizes, decided.get(dim)))
    return sizes, found


def _wrong_rank(reporter: Reporter, tensor: Tensor, view: ArrayView) -> Diagnostic:
    return reporter.report(
        "MOE0505",
        f"'{tensor.name}' has {len(view.shape)} dimensions, expected {len(tensor.dims)}: "
        f"got shape {view.shape}",
        tensor.name,
        label=f"declared [{', '.join(tensor.dims)}]",
    )


def _wrong_extent(
    reporter: Reporter,
    tensor: Tensor,
    dim: str,
    view: ArrayView,
    sizes: Mapping[str, int],
    other: Tensor | None,
) -> Diagnostic:
    position = tensor.dims.index(dim)
    swapped = sorted(view.shape) == sorted(sizes.get(d, -1) for d in tensor.dims)
    return reporter.report(
        "MOE0505",
        f"dimension {position} of '{tensor.name}' ('{dim}') is {view.shape[position]}, "
        f"expected {sizes[dim]}: got shape {view.shape}",
        tensor.name,
        label=f"declared [{', '.join(tensor.dims)}]",
        labels=(Label(other.span, f"'{other.name}' has {sizes[dim]}"),) if other else (),
        help="the order of dimensions is the order of the declaration" if swapped else "",
    )


def check_offsets(reporter: Reporter, offs: ArrayView) -> Iterable[Diagnostic]:
    """``offs`` must be a packed i32[E]: MOE0506, MOE0507."""
    experts = reporter.signature.expert_count
    if offs.dtype is not DType.I32:
        yield _wrong_type(reporter, OFFSETS, offs.dtype)
    if offs.shape != (experts,):
        help = ""
        if offs.shape == (experts + 1,):
            help = "offs holds the end of each expert and no leading 0: pass offs[1:]"
        yield reporter.report(
            "MOE0507", f"'offs' has shape {offs.shape}, expected ({experts},)", help=help
        )
    elif experts > 1 and offs.strides != (1,):
        yield reporter.report(
            "MOE0507", f"'offs' has stride {offs.strides[0]}, expected 1", help="copy it"
        )


def check_placement(reporter: Reporter, views: Mapping[str, ArrayView]) -> Iterable[Diagnostic]:
    """All arrays must lie on the device of ``offs``: MOE0508."""
    device = views[OFFSETS].device
    for name, view in views.items():
        if view.device != device:
            yield reporter.report(
                "MOE0508",
                f"'{name}' lies on {_place(view.device)}, 'offs' on {_place(device)}",
                name,
                help="all arguments of a call lie on one device",
            )


def _place(device: int | None) -> str:
    return "the host" if device is None else f"CUDA device {device}"


def check_outputs(reporter: Reporter, views: Mapping[str, ArrayView]) -> Iterable[Diagnostic]:
    """Outputs are writable and share memory with nothing: MOE0509, MOE0510."""
    names = [t.name for t in reporter.signature.outputs if t.name in views]
    for number, name in enumerate(names):
        view = views[name]
        if not view.writable:
            yield reporter.report("MOE0509", f"output '{name}' is read-only", name)
        if not view.distinct:
            yield reporter.report(
                "MOE0510",
                f"different elements of output '{name}' share memory: strides {view.strides}",
                name,
            )
        others = [n for n in views if n not in names] + names[:number]
        for other in others:
            if overlap(view, views[other]):
                yield reporter.report(
                    "MOE0510",
                    f"output '{name}' shares memory with '{other}'",
                    name,
                    help="write to memory of its own; tiles are computed in no fixed order",
                )


def unknown_extents(
    reporter: Reporter, sizes: Mapping[str, int], outputs: Iterable[Tensor]
) -> Iterable[Diagnostic]:
    """MOE0511 for each output whose shape the inputs do not decide."""
    for tensor in outputs:
        for dim in tensor.dims:
            if dim not in sizes:
                yield reporter.report(
                    "MOE0511",
                    f"the extent of '{dim}' in output '{tensor.name}' is unknown",
                    tensor.name,
                    label=f"no input has '{dim}'",
                    help="pass the output as out=",
                )
