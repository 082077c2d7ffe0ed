"""Moedsl itself, with the schedules that its compiler chooses; also the bounds on two kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import moedsl
from moedsl.bench.contestant import Launch
from moedsl.bench.kernels import KERNELS, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.bench.operands import Operands

Bind = Callable[["Operands"], Launch]


def bind(operands: Operands) -> Launch:
    """The kernel."""
    return _launch(operands.workload, operands, operands.inputs, operands.out)


def bind_pregathered(operands: Operands) -> Launch:
    """The plain product of rows gathered before: what a gather can at best cost."""
    x = operands["x"].index_select(0, operands["src"])
    return _launch(_plain(operands), operands, {"x": x, "w": operands["w"]}, operands.out)


def bind_plain(operands: Operands) -> Launch:
    """The plain product, [rows, n] in bf16: what a scatter can hardly cost less than."""
    inputs = {name: operands[name] for name in ("x", "w")}
    case = operands.workload.case
    out = operands["x"].new_empty(case.total, case.n)
    return _launch(_plain(operands), operands, inputs, out)


def _plain(operands: Operands) -> Workload:
    return Workload(KERNELS["product"], operands.workload.case)


def _launch(workload: Workload, operands: Operands, inputs: Mapping[str, Any], out: Any) -> Launch:
    compiled = moedsl.load(workload.text).kernel().compile(backend="cuda")
    arguments = {**inputs, "offs": operands.offs, "out": out}
    compiled.warmup(**arguments)
    return Launch(lambda: compiled(**arguments))
