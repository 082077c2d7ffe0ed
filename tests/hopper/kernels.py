"""The hand-written kernels of this folder, as cases that run on the emulator and on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.cuda.emission.wgmma import WgmmaShape, WgmmaType
from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle
from moedsl.backends.emulator.process import Grid
from moedsl.ir.core import DType
from tests.conformance.case import UNWRITTEN, Case, Random
from tests.conformance.portable import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Arrays

FOLDER = Path(__file__).parent
SHARED_BYTES = 4 * 32768 + 2 * 16384 + 64


@dataclass(frozen=True)
class Sizes:
    """C[m, n] = A[m, k] B[n, k]^T; rows of all three are padded to multiples of 16 bytes."""

    m: int
    n: int
    k: int


SIZES = (Sizes(128, 128, 64), Sizes(200, 264, 200), Sizes(1, 8, 8), Sizes(640, 392, 328))


def cases() -> Iterator[Case]:
    """Both kernels in all sizes."""
    for sizes in SIZES:
        yield gemm_case("gemm", sizes)
        yield gemm_case("gemm_cluster", sizes)


def gemm_case(kernel: str, sizes: Sizes, edit: tuple[str, str] = ("", "")) -> Case:
    """``kernel`` names a file of this folder; ``edit`` replaces a piece of its text."""
    constants = f"constexpr int m_size = {sizes.m}, n_size = {sizes.n}, k_size = {sizes.k};"
    files = [(FOLDER / f"{name}.cu").read_text() for name in ("tile", kernel)]
    cluster = 2 if kernel == "gemm_cluster" else 1
    return Case(
        name=f"{kernel} {sizes.m}x{sizes.n}x{sizes.k}",
        body="\n".join([constants, *files]).replace(*edit),
        grid=Grid(4, 384, SHARED_BYTES, resident=4, cluster=cluster),
        vectors=sizes.m * sizes.n,
        inputs=lambda random: _inputs(random, sizes),
        outputs={"c": ((sizes.m, _padded(sizes.n)), "uint16")},
        maps={
            "left": ("a", _map(sizes.k, sizes.m, 64 if cluster == 2 else 128)),
            "right": ("b", _map(sizes.k, sizes.n, 128)),
            "result": ("c", _map(sizes.n, sizes.m, 64)),
        },
        shapes=(WgmmaShape(WgmmaType.BF16, 128),),
    )


def expected(case: Case, sizes: Sizes, launch: int) -> NDArray[np.uint16]:
    """The exact result; what lies between rows stays as it was."""
    arrays = case.arrays(launch)
    a, b = (_unpacked(arrays[name])[:, : sizes.k] for name in ("a", "b"))
    result = np.full((sizes.m, _padded(sizes.n)), UNWRITTEN * 257, np.uint16)
    result[:, : sizes.n] = packed(a @ b.T, "bf16").view(np.uint16)
    return result


def _padded(extent: int) -> int:
    return -(-extent // 8) * 8


def _map(columns: int, rows: int, box_rows: int) -> TensorMap:
    return TensorMap(
        DType.BF16,
        (columns, rows),
        (_padded(columns) * 2,),
        (64, box_rows),
        swizzle=TensorSwizzle.B128,
    )


def _inputs(random: Random, sizes: Sizes) -> Arrays:
    def operand(rows: int) -> NDArray[np.uint16]:
        # What lies between rows must not count: it is far larger than any element.
        values = np.full((rows, _padded(sizes.k)), 1e30, np.float32)
        values[:, : sizes.k] = random.integers(-1, 1, rows, sizes.k)
        return packed(values, "bf16").view(np.uint16)

    return {"a": operand(sizes.m), "b": operand(sizes.n)}


def _unpacked(words: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (words.astype(np.uint32) << 16).view(np.float32)
