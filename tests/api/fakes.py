"""Stand-ins for what this machine may lack: torch with device tensors, a GPU backend."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backend import Availability
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import pytest

    from moedsl.backend import Call
    from moedsl.ir.core import DType
    from moedsl.ir.tile import TileKernel


class DlpackOnly:
    """A NumPy array of which only DLPack is left."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class Tensor:
    """A torch tensor on a device, as far as moedsl looks at one."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        pointer: int,
        strides: tuple[int, ...],
        device: int,
    ) -> None:
        self.shape, self.dtype = shape, f"torch.{dtype}"
        self.layout = "torch.strided"
        self.device = SimpleNamespace(type="cuda", index=device)
        self._pointer, self._strides = pointer, strides

    def data_ptr(self) -> int:
        return self._pointer

    def stride(self) -> tuple[int, ...]:
        return self._strides

    def get_device(self) -> int:
        return int(self.device.index)


Tensor.__module__ = "torch"


def tensor(
    shape: tuple[int, ...],
    dtype: str = "bfloat16",
    pointer: int = 1 << 20,
    *,
    strides: tuple[int, ...] | None = None,
    device: int = 0,
) -> Tensor:
    """A tensor at an address that nobody must look at."""
    return Tensor(shape, dtype, pointer, strides or packed_strides(shape), device)


def fake_torch(monkeypatch: pytest.MonkeyPatch, stream: int = 7) -> list[Tensor]:
    """Install a torch that makes such tensors; returns the list of those it made."""
    made: list[Tensor] = []

    def make(shape: tuple[int, ...], dtype: str, device: Any) -> Tensor:
        made.append(tensor(shape, dtype, (1 << 30) + (len(made) << 20), device=device.index))
        return made[-1]

    def make_strided(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, device: Any
    ) -> Tensor:
        assert strides == packed_strides(shape)
        return make(shape, dtype, device)

    torch = SimpleNamespace(
        empty_strided=make_strided,
        zeros=make,
        bfloat16="bfloat16",
        float16="float16",
        float32="float32",
        _C=SimpleNamespace(_cuda_getCurrentRawStream=lambda device: stream + device),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    return made


@dataclass
class FakeExecutable:
    """Remembers what it was asked to do."""

    kernel: TileKernel
    prepared: list[Call] = field(default_factory=list)
    bound: list[Call] = field(default_factory=list)
    launched: list[tuple[list[int], int]] = field(default_factory=list)

    def prepare(self, call: Call) -> None:
        self.prepared.append(call)

    def launch(self, call: Call) -> None:
        raise AssertionError("a device executable is launched through bind")

    def bind(self, call: Call) -> Callable[[Sequence[int], int], None]:
        self.bound.append(call)
        return lambda pointers, stream: self.launched.append((list(pointers), stream))


@dataclass
class FakeDevice:
    """A backend for device arrays."""

    name: str = "cuda"
    executables: list[FakeExecutable] = field(default_factory=list)
    numbers: list[tuple[bytes, int, int]] = field(default_factory=list)

    def availability(self) -> Availability:
        return Availability(True, "a fake", target=TARGETS["sm_89"])

    def keep_number(self, data: bytes, dtype: DType, device: int, stream: int) -> ArrayView:
        self.numbers.append((data, device, stream))
        return ArrayView((1 << 35) + 16 * len(self.numbers), (), (), dtype, device, None)

    def compile(self, kernel: TileKernel) -> FakeExecutable:
        self.executables.append(FakeExecutable(kernel))
        return self.executables[-1]
