"""From the objects of a call to a backend's ``Call``: every check there is, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moedsl.arguments import (
    OFFSETS,
    Reporter,
    argument_names,
    call_sizes,
    check_offsets,
    check_outputs,
    check_placement,
    model,
    unknown_extents,
    view_argument,
)
from moedsl.arrays import ArrayError, ArrayView
from moedsl.backend import Call
from moedsl.contents import check_ends, check_maps, map_names, scattered
from moedsl.ir.core import Role
from moedsl.libraries import library_of
from moedsl.source.diagnostic import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moedsl.ir.moe import MoeKernel


@dataclass(frozen=True)
class CheckedCall:
    """A call that fits its kernel. ``outputs`` are the caller's or fresh ones, in declaration
    order; ``makers`` make more of the fresh ones, and are empty if the caller gave outputs.
    """

    call: Call
    outputs: tuple[Any, ...]
    makers: tuple[Callable[[], Any], ...]


def check_call(
    kernel: MoeKernel,
    inputs: Sequence[object],
    outputs: Sequence[object] | None,
    stream: int | None,
    *,
    debug: bool,
) -> CheckedCall:
    """Check the arguments of a call, ``inputs`` in the order of ``argument_names``.

    What the arrays hold is checked on the host, on a device only with ``debug``, for it waits.
    Raises DiagnosticError with every finding of the first stage that has any.
    """
    reporter = Reporter(kernel.signature, kernel.source)
    names = argument_names(kernel.signature)
    objects = dict(zip(names, inputs, strict=True))
    if outputs is not None:
        objects |= zip((t.name for t in kernel.signature.outputs), outputs, strict=True)
    views = _views(reporter, objects, stream)
    tensors = {name: view for name, view in views.items() if name != OFFSETS}
    sizes, found = call_sizes(reporter, tensors)
    _raise_any([*found, *check_offsets(reporter, views[OFFSETS])])
    _raise_any(check_placement(reporter, views))
    makers: tuple[Callable[[], Any], ...] = ()
    if outputs is None:
        makers = _makers(reporter, kernel, model(kernel.signature, inputs), sizes)
        outputs = [make() for make in makers]
        made = zip(kernel.signature.outputs, outputs, strict=True)
        tensors |= {t.name: library_of(array).view(array, stream) for t, array in made}
    else:
        _raise_any(check_outputs(reporter, views))
    offs = views[OFFSETS]
    if debug or offs.device is None:
        _raise_any(_check_contents(reporter, kernel, objects, sizes))
    return CheckedCall(Call(tensors, offs, sizes, stream), tuple(outputs), makers)


def _raise_any(found: Iterable[Diagnostic]) -> None:
    if diagnostics := list(found):
        raise DiagnosticError(diagnostics)


def _views(
    reporter: Reporter, objects: Mapping[str, object], stream: int | None
) -> dict[str, ArrayView]:
    results = {n: view_argument(reporter, n, array, stream) for n, array in objects.items()}
    _raise_any(r for r in results.values() if isinstance(r, Diagnostic))
    return {n: r for n, r in results.items() if isinstance(r, ArrayView)}


def _makers(
    reporter: Reporter, kernel: MoeKernel, like: object, sizes: Mapping[str, int]
) -> tuple[Callable[[], Any], ...]:
    """What makes each output as ``like``'s library does: MOE0511, MOE0515 if that is impossible."""
    outputs = kernel.signature.outputs
    _raise_any(unknown_extents(reporter, sizes, outputs))
    partly = scattered(kernel)
    makers = []
    for tensor in outputs:
        shape = tuple(sizes[dim] for dim in tensor.dims)
        zero = tensor.role is Role.ACCUMULATED or tensor.name in partly
        try:
            makers.append(library_of(like).maker(like, shape, tensor.dtype, zero=zero))
        except ArrayError as error:
            message = f"output '{tensor.name}' {error.message}"
            diagnostic = reporter.report("MOE0515", message, tensor.name, help=error.help)
            raise DiagnosticError([diagnostic]) from error
    return tuple(makers)


def _check_contents(
    reporter: Reporter, kernel: MoeKernel, objects: Mapping[str, Any], sizes: Mapping[str, int]
) -> Iterable[Diagnostic]:
    ends = [int(end) for end in library_of(objects[OFFSETS]).fetch(objects[OFFSETS])]
    wrong_ends = list(check_ends(reporter, ends, sizes[kernel.signature.ragged]))
    if wrong_ends:
        return wrong_ends
    maps = {name: library_of(objects[name]).fetch(objects[name]) for name in map_names(kernel)}
    return list(check_maps(reporter, kernel, maps, sizes, ends[-1]))
