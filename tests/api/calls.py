"""Calls of a kernel with tensors on a fake device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.api.fakes import tensor as make

if TYPE_CHECKING:
    from moedsl.kernel import CompiledKernel
    from tests.api.fakes import FakeExecutable, Tensor

ADDRESSES = {"x": 1 << 20, "w": 1 << 21, "offs": 1 << 22, "y": 1 << 23}


def arguments(rows: int = 10, **changed: Tensor) -> dict[str, Any]:
    """All that a call takes; ``y`` is the output."""
    tensors = {
        "x": make((rows, 64), pointer=ADDRESSES["x"]),
        "w": make((3, 64, 64), pointer=ADDRESSES["w"]),
        "offs": make((3,), "int32", ADDRESSES["offs"]),
        "y": make((rows, 64), pointer=ADDRESSES["y"]),
    }
    return {**tensors, **changed}


def compute(kernel: CompiledKernel, named: dict[str, Any], **options: Any) -> Any:
    inputs = {name: array for name, array in named.items() if name != "y"}
    return kernel(**inputs, out=named["y"], **options)


def last(executable: FakeExecutable) -> dict[str, int]:
    """Addresses of the last launch, by name."""
    return dict(zip(("x", "w", "y", "offs"), executable.launched[-1][0], strict=True))
