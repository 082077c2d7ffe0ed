"""Checks a syntax tree: the only way to a :class:`CheckedKernel`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moedsl.source import syntax
from moedsl.source.accesses import Accesses
from moedsl.source.body import Body
from moedsl.source.checked import Assignment, CheckedKernel, Domain, Write
from moedsl.source.constants import LARGEST
from moedsl.source.declarations import Declarations
from moedsl.source.diagnostic import Diagnostic, Label, Severity
from moedsl.source.reporter import Reporter
from moedsl.source.syntax_errors import clip, did_you_mean
from moedsl.source.terms import Compute, DType, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.source.span import Source
    from moedsl.source.terms import Access


@dataclass(frozen=True)
class CheckResult:
    """``kernels`` are those without an error; ``diagnostics`` are in the order of the text."""

    kernels: tuple[CheckedKernel, ...]
    diagnostics: tuple[Diagnostic, ...]


def check_file(
    file: syntax.File, source: Source, overrides: Mapping[str, int | float] | None = None
) -> CheckResult:
    """Check every kernel of ``file``; ``overrides`` replace the values of params. Never raises."""
    report = Reporter(source)
    overrides = overrides or {}
    kernels: list[CheckedKernel] = []
    seen: dict[str, syntax.Name] = {}
    known: set[str] = set()
    for block in file.blocks:
        if not isinstance(block, syntax.Kernel):
            continue
        known |= {s.name.text for s in block.statements if isinstance(s, syntax.Param)}
        if isinstance(block.name, syntax.Name):
            if block.name.text in seen:
                report.error(
                    "MOE0123",
                    f"there are two kernels called `{clip(block.name.text)}`",
                    block.name.span,
                    "defined again",
                    labels=(Label(seen[block.name.text].span, "first defined here"),),
                )
                continue
            seen[block.name.text] = block.name
        kernel = _Check(block, report, overrides).check()
        if kernel is not None:
            kernels.append(kernel)
    if not any(isinstance(block, syntax.Kernel) for block in file.blocks) and not file.broken:
        report.diagnostics.append(
            Diagnostic(
                "MOE0011",
                "there is no kernel in this file",
                source,
                help="a kernel looks like `kernel name { … }`",
            )
        )
    for name, value in overrides.items():
        # Also true of what is not a number.
        if not abs(value) <= LARGEST:
            message = f"the param `{clip(name)}` is set to a number that is too large"
            report.diagnostics.append(Diagnostic("MOE0005", message, source))
        if name not in known:
            report.diagnostics.append(
                Diagnostic(
                    "MOE0116",
                    f"no kernel has a param called `{clip(name)}`",
                    source,
                    notes=(f"its params are {', '.join(sorted(known))}",) if known else (),
                    help=did_you_mean(name, known),
                )
            )
    return CheckResult(tuple(kernels), in_order(report.diagnostics))


def in_order(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sorted by place; those of no place come last."""
    return tuple(sorted(diagnostics, key=lambda d: (d.span is None, d.span.start if d.span else 0)))


class _Check:
    """The check of one kernel."""

    def __init__(
        self, kernel: syntax.Kernel, report: Reporter, overrides: Mapping[str, int | float]
    ) -> None:
        self.kernel, self.report = kernel, report
        self.names = Declarations(report, overrides)
        self.accesses = Accesses(self.names)

    def check(self) -> CheckedKernel | None:
        """The checked kernel, or None if anything was reported or could not be read."""
        before = sum(d.severity is Severity.ERROR for d in self.report.diagnostics)
        kernel, names = self.kernel, self.names
        names.declare(kernel.statements)
        sound = not kernel.broken and not names.unknowable
        domain = self._domain()
        body = Body(names, self.accesses, domain)
        checked = [
            body.statement(statement)
            for statement in kernel.statements
            if isinstance(statement, syntax.Definition | syntax.Store)
        ]
        compute = self._compute(body)
        if sound:
            self._check_whole(body)
        after = sum(d.severity is Severity.ERROR for d in self.report.diagnostics)
        if after > before or kernel.broken or domain is None or compute is None:
            return None
        self._warn_unused()
        assert isinstance(kernel.name, syntax.Name)
        tensors = tuple(
            replace(tensor, role=Role.ACCUMULATED) if tensor.name in body.accumulated else tensor
            for tensor in names.tensors.values()
        )
        return CheckedKernel(
            name=kernel.name.text,
            params=names.params,
            indices=tuple(names.indices.values()),
            tensors=tensors,
            compute=compute,
            experts=domain.experts,
            ragged=domain.ragged,
            rows=domain.rows,
            columns=domain.columns,
            body=tuple(s for s in checked if isinstance(s, Assignment | Write)),
            source=self.report.source,
            span=kernel.name.span,
        )

    def _domain(self) -> Domain | None:
        """What the first store spans; None (and reported) if that is no domain."""
        names = self.names
        if not names.ragged:
            if not self.kernel.broken and not names.unknowable:
                self.report.error(
                    "MOE0201",
                    "this kernel has no ragged index",
                    self.kernel.name.span,
                    "expected one",
                    help="declare the experts and their rows: `index e = 8` and "
                    "`index m = ragged(e)`",
                )
            return None
        ragged = names.ragged[0][0]
        experts = ragged.over or ""
        if experts not in names.indices:
            return None
        store, access = self._first_store()
        if store is None or access is None:
            return None
        indices = [index for index in access.indices if index != experts]
        if len(indices) == 2 and ragged.name in indices and experts not in access.indices:
            columns = next(index for index in indices if index != ragged.name)
            return Domain(experts, ragged.name, ragged.name, columns)
        if len(indices) == 2 and ragged.name not in indices and experts in access.indices:
            return Domain(experts, ragged.name, indices[0], indices[1])
        self.report.error(
            "MOE0218",
            "these are not the indices of an output",
            store.target.span,
            f"expected `{ragged.name}` and one more, or `{experts}` and two more",
            notes=(
                (
                    f"with `{ragged.name}` the output has a row for each row of the batch; "
                    f"with `{experts}` it has a matrix for each expert, `{ragged.name}` is summed"
                ),
            ),
        )
        return None

    def _first_store(self) -> tuple[syntax.Store | None, Access | None]:
        """The first store to a declared output. Errors are reported with its statement."""
        silent = Accesses(self.names)
        silent.report = Reporter(self.report.source)
        for statement in self.kernel.statements:
            if not isinstance(statement, syntax.Store):
                continue
            access = silent.access(statement.target)
            if access is not None and self.names.tensors[access.tensor].role is not Role.INPUT:
                return statement, access
        return None, None

    def _compute(self, body: Body) -> Compute | None:
        dtype = body.contractions.find_dtype()
        if dtype is None or dtype is DType.I32:
            return None
        chosen = self.names.compute
        if chosen is None:
            return Compute(dtype)
        if chosen.text == Compute.TF32 and dtype is DType.F32:
            return Compute.TF32
        if chosen.text != dtype:
            wanted = f"{dtype} or tf32" if dtype is DType.F32 else str(dtype)
            self.report.error(
                "MOE0130",
                f"{dtype} factors cannot be multiplied as {chosen.text}",
                chosen.span,
                f"expected {wanted}",
                notes=("tf32 is for f32 inputs only",) if chosen.text == Compute.TF32 else (),
                help="remove this line: products are formed in the inputs' type",
            )
            return None
        return Compute(dtype)

    def _check_whole(self, body: Body) -> None:
        names = self.names
        outputs = [t for t in names.tensors.values() if t.role is not Role.INPUT]
        stores = any(isinstance(s, syntax.Store) for s in self.kernel.statements)
        if not outputs and not stores:
            self.report.error(
                "MOE0214",
                "this kernel has no output",
                self.kernel.name.span,
                "writes nothing",
                help="declare `output h : bf16[m, n]` and store to it: `h[m, n] = …`",
            )
        for tensor in outputs:
            if tensor.name not in body.written:
                self.report.error(
                    "MOE0216",
                    f"the output `{clip(tensor.name)}` is never written",
                    tensor.span,
                    "declared here",
                    help=f"store to it: `{tensor.name}[{', '.join(tensor.dims)}] = …`",
                )
        if not body.contractions.count and (outputs or stores):
            self.report.error(
                "MOE0220",
                "this kernel has no contraction",
                self.kernel.name.span,
                "expected at least one `sum[…]`",
                help="multiply by the experts' weights: `sum[k] x[m, k] * w[e, n, k]`",
            )

    def _warn_unused(self) -> None:
        for name, span in self.names.names.items():
            if name in self.names.used:
                continue
            tensor = self.names.tensors.get(name)
            kind = "value"
            if tensor is not None:
                if tensor.role is not Role.INPUT:
                    continue
                kind = "input"
            elif name in self.names.indices:
                kind = "index"
            elif name in self.names.params:
                kind = "param"
            elif name in self.names.unknowable:
                continue
            self.report.warning(
                "MOE0124", f"the {kind} `{clip(name)}` is never used", span, "unused"
            )
