"""Cases on a GPU, through the driver."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.backends.cuda.driver import check, driver
from moedsl.backends.cuda.launch import launch_config
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.backends.cuda.tensor_map import MAP_BYTES, encode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.case import Case

ARCH = "sm_90a"


def cubin_of(case: Case, folder: Path | None) -> bytes:
    """The kernel's machine code, from ``folder`` if it was compiled there before."""
    name = hashlib.sha256(case.device_source.encode()).hexdigest()[:24]
    if folder is None:
        return compile_cubin(case.device_source, "conformance", ARCH).cubin
    path = folder / f"{name}.cubin"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compile_cubin(case.device_source, "conformance", ARCH).cubin)
    return path.read_bytes()


@cache
def _context() -> Any:
    cuda = driver()
    device = check(cuda.cuDeviceGet(0))
    context = check(cuda.cuDevicePrimaryCtxRetain(device))
    check(cuda.cuCtxSetCurrent(context))
    return context


class DeviceKernel:
    """A case's kernel, loaded. Raises RuntimeError with the driver's reason for what fails."""

    def __init__(self, case: Case, folder: Path | None = None) -> None:
        _context()
        cuda = driver()
        self._case = case
        module = check(cuda.cuModuleLoadData(cubin_of(case, folder)))
        self._function = check(cuda.cuModuleGetFunction(module, b"kernel"))
        attribute = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        check(cuda.cuFuncSetAttribute(self._function, attribute, case.grid.shared_bytes))

    def run(self, number: int) -> list[bytes]:
        """The outputs of one launch."""
        cuda, case = driver(), self._case
        arrays = case.arrays(number)
        addresses: dict[str, Any] = {}
        for name, array in arrays.items():
            addresses[name] = check(cuda.cuMemAlloc(max(array.nbytes, 16)))
            check(cuda.cuMemcpyHtoD(addresses[name], array.ctypes.data, array.nbytes))
        arguments = bytearray(case.argument_bytes)
        for i, (tensor, description) in enumerate(case.maps.values()):
            encoded = encode(description, int(addresses[tensor]))
            arguments[MAP_BYTES * i : MAP_BYTES * (i + 1)] = encoded
        for name, at in case.pointer_offsets().items():
            arguments[at : at + 8] = int(addresses[name]).to_bytes(8, "little")
        self._launch(arguments)
        outputs = []
        for name in case.outputs:
            result = np.empty_like(arrays[name])
            check(cuda.cuMemcpyDtoH(result.ctypes.data, addresses[name], result.nbytes))
            outputs.append(result.tobytes())
        for address in addresses.values():
            check(cuda.cuMemFree(address))
        return outputs

    def _launch(self, arguments: bytearray) -> None:
        cuda, grid = driver(), self._case.grid
        buffer = (ctypes.c_char * len(arguments)).from_buffer(arguments)
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(buffer))
        config = launch_config(grid.blocks, grid.threads, grid.shared_bytes, cluster=grid.cluster)
        address = ctypes.addressof(parameters)
        check(cuda.cuLaunchKernelEx(config, self._function, address, 0))
        check(cuda.cuCtxSynchronize())
