"""Stand-ins for what this machine may lack: torch with device tensors, a GPU backend."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from moedsl import libraries, plan
from moedsl.arguments import OFFSETS
from moedsl.arrays import packed_strides
from moedsl.backend import Availability
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import pytest

    from moedsl.backend import Call
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
        self.negative = False

    def data_ptr(self) -> int:
        return self._pointer

    def stride(self) -> tuple[int, ...]:
        return self._strides

    def is_neg(self) -> bool:
        return self.negative

    def get_device(self) -> int:
        return int(self.device.index)


Tensor.__module__ = "torch"


class TensorGuards:
    """What torch's compiler has to tell whether tensors are like earlier ones."""

    grad_mode: object = True
    """Guards made in one mode recognise nothing in another."""

    made: ClassVar[list[TensorGuards]] = []

    def __init__(self, *tensors: Any, dynamic_dims_sizes: Any, dynamic_dims_strides: Any) -> None:
        assert dynamic_dims_sizes == [list(tensor.shape) for tensor in tensors]
        assert dynamic_dims_strides == [list(tensor.stride()) for tensor in tensors]
        self._seen = [self._of(tensor) for tensor in tensors]
        self.made.append(self)

    def check(self, *tensors: Any) -> bool:
        if len(tensors) != len(self._seen):
            raise TypeError("wrong length")
        alike = [
            type(t) is Tensor and self._of(t) == s for t, s in zip(tensors, self._seen, strict=True)
        ]
        return all(alike) and len({*map(id, tensors)}) == len(tensors)

    def _of(self, tensor: Tensor) -> Any:
        device = tensor.device.index
        kind = tensor.dtype, tensor.negative
        return tensor.shape, tensor.stride(), kind, device, TensorGuards.grad_mode


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


class FakeTorch:
    """A torch that makes such tensors, and lists those it ``made`` and how."""

    bfloat16, float16, float32 = "bfloat16", "float16", "float32"

    def __init__(self, *, shortcuts: bool = True) -> None:
        self.made: list[Tensor] = []
        self.ways: list[str] = []
        self.stream, self.device, self.devices = 7, 0, 2
        guards = SimpleNamespace(TensorGuards=TensorGuards, _empty_strided_cuda=self._quickly)
        self._C = SimpleNamespace(
            _cuda_getCurrentRawStream=lambda device: self.stream + device,
            _cuda_getDevice=lambda: self.device,
            _cuda_getDeviceCount=lambda: self.devices,
        )
        if shortcuts:
            self._C._dynamo = SimpleNamespace(guards=guards)

    def empty_strided(
        self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, device: Any
    ) -> Tensor:
        return self._make("empty_strided", shape, strides, dtype, device.index)

    def zeros(self, shape: tuple[int, ...], dtype: str, device: Any) -> Tensor:
        return self._make("zeros", shape, packed_strides(shape), dtype, device.index)

    def _quickly(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Tensor:
        return self._make("quickly", shape, strides, dtype, self.device)

    def _make(
        self, way: str, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, device: int
    ) -> Tensor:
        assert strides == packed_strides(shape)
        self.ways.append(way)
        self.made.append(tensor(shape, dtype, (1 << 30) + (len(self.made) << 20), device=device))
        return self.made[-1]


def fake_torch(monkeypatch: pytest.MonkeyPatch, *, shortcuts: bool = True) -> FakeTorch:
    """Install such a torch."""
    torch = FakeTorch(shortcuts=shortcuts)
    monkeypatch.setitem(sys.modules, "torch", torch)
    # A library keeps what it found in the torch of its time.
    monkeypatch.setattr(libraries, "LIBRARIES", {})
    monkeypatch.setattr(plan, "LIBRARIES", libraries.LIBRARIES)
    return torch


@dataclass
class FakeExecutable:
    """Remembers what it was asked to do: for each launch also the call it was ``bound`` for."""

    kernel: TileKernel
    prepared: list[Call] = field(default_factory=list)
    bound: list[Call] = field(default_factory=list)
    launched: list[tuple[list[int], int]] = field(default_factory=list)
    served: list[Call] = field(default_factory=list)

    def prepare(self, call: Call) -> None:
        self.prepared.append(call)

    def launch(self, call: Call) -> None:
        raise AssertionError("a device executable is launched through bind")

    def bind(self, call: Call, order: Sequence[str]) -> Callable[[Sequence[int], int], None]:
        """``launched`` holds the pointers in the order of the signature's tensors, then offs."""
        self.bound.append(call)
        ours = [*(t.name for t in self.kernel.signature.tensors), OFFSETS]
        at = [order.index(name) for name in ours]

        def launch(pointers: Sequence[int], stream: int) -> None:
            self.launched.append(([pointers[number] for number in at], stream))
            self.served.append(call)

        return launch


@dataclass
class FakeDevice:
    """A backend for device arrays."""

    name: str = "cuda"
    executables: list[FakeExecutable] = field(default_factory=list)
    numbers: list[tuple[bytes, int, int]] = field(default_factory=list)

    def availability(self) -> Availability:
        return Availability(True, "a fake", target=TARGETS["sm_89"])

    def number_keeper(self, device: int) -> Callable[[bytes, int], int]:
        def keep(data: bytes, stream: int) -> int:
            self.numbers.append((data, device, stream))
            return (1 << 35) + 16 * len(self.numbers)

        return keep

    def compile(self, kernel: TileKernel) -> FakeExecutable:
        self.executables.append(FakeExecutable(kernel))
        return self.executables[-1]
