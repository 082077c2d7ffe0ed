"""A hand-written kernel with tensor maps and clusters, launched as the emitted ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backend import Call
from moedsl.backends.cuda.abi import (
    ArgumentField,
    GeneratedKernel,
    GridRule,
    OffsetsPointer,
    TensorMapOf,
)
from moedsl.backends.emulator import executable
from moedsl.backends.emulator.executable import EmulatorExecutable
from moedsl.backends.emulator.options import Options
from moedsl.backends.emulator.report import KernelFaultError
from moedsl.ir.core import DType
from moedsl.lower.build_tile import build_tile
from moedsl.target import TARGETS
from tests.api.kernels import forward, schedule
from tests.emulator.harness import POLICIES, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = tuple[NDArray[np.uint16], NDArray[np.uint16]]

    from moedsl.backends.emulator.options import Policy

KERNEL = build_tile(forward(experts=4), schedule(), TARGETS["sm_90a"])
COLUMNS = 128

# y[m, 128] = x[m, 128], 16 rows of an expert a cluster; each of its CTAs takes half the columns.
SOURCE = """
struct Arguments { TensorMap x, y; const int* offs; };
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {
    if (thread_index() != 0) return;
    barrier_init(0, 1);
    fence_barrier_init();
    int tile = cta_index() / 2, start = 0;
    for (int expert = 0; expert < 4; ++expert) {
        const int end = global_load(a.offs + expert), tiles = (end - start + 15) / 16;
        if (tile < tiles) {
            const int clipped = (1 << 30) - end + start + tile * 16;
            const Box<4> box{{64 * static_cast<int>(cluster_rank()), clipped, end, 1 << 30}};
            barrier_arrive_expect(0, 16 * 128);
            tensor_load(1024, a.x, box, 0);
            barrier_wait(0, 0);
            tensor_store(a.y, box, 1024);
            bulk_commit();
            bulk_wait<0>();
            return;
        }
        tile -= tiles;
        start = end;
    }
}
"""


def generated(source: str = SOURCE) -> GeneratedKernel:
    return GeneratedKernel(
        source=unit_of(source).emitted,
        entry="kernel",
        threads=32,
        shared_bytes=1024 + 16 * 128,
        min_blocks=1,
        arguments=(
            ArgumentField("x", TensorMapOf("x", (16, 64), clip=0), 0, bytes=128),
            ArgumentField("y", TensorMapOf("y", (16, 64), clip=0), 128, bytes=128),
            ArgumentField("offs", OffsetsPointer(), 256),
        ),
        argument_bytes=320,
        grid=GridRule(False, True, 4, "m", "n", 16, 64, cluster=2),
        cluster=2,
    )


def launch(ends: list[int], policy: Policy, multiprocessors: int = 4) -> Arrays:
    """Arrays x and y after a launch; y was filled with 7 before."""
    rows = ends[-1] + 3
    x = np.random.default_rng(1).integers(1, 9999, (rows, COLUMNS)).astype(np.uint16)
    y = np.full((rows, COLUMNS), 7, np.uint16)
    w = np.zeros((4, COLUMNS, COLUMNS), np.uint16)
    offs = np.array(ends, np.int32)
    arrays = {
        name: ArrayView(a.ctypes.data, a.shape, packed_strides(a.shape), DType.BF16, None, a)
        for name, a in (("x", x), ("w", w), ("y", y))
    }
    view = ArrayView(offs.ctypes.data, (4,), (1,), DType.I32, None, offs)
    sizes = {"e": 4, "m": rows, "n": COLUMNS, "k": COLUMNS}
    options = Options(policy, multiprocessors=multiprocessors)
    EmulatorExecutable(KERNEL, options).launch(Call(arrays, view, sizes))
    return x, y


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("ends", [[0, 0, 0, 0], [5, 5, 21, 22], [16, 49, 49, 70]], ids=str)
def test_rows_of_every_expert_are_copied(
    ends: list[int], policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "generate", lambda kernel, modes: generated())
    for multiprocessors in (1, 3):
        x, y = launch(ends, policy, multiprocessors)
        np.testing.assert_array_equal(y[: ends[-1]], x[: ends[-1]])
        assert (y[ends[-1] :] == 7).all()


def test_a_box_that_is_not_clipped_reaches_into_the_next_expert(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = SOURCE.replace("- end +", "- end - 1 +").replace(", end, 1", ", end + 1, 1")
    monkeypatch.setattr(executable, "generate", lambda kernel, modes: generated(late))
    with pytest.raises(KernelFaultError, match="y"):
        launch([5, 5, 21, 22], POLICIES[0])
