"""Each misuse of Hopper's primitives, seeded into a small kernel, is found on its line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle
from moedsl.backends.emulator.options import Options, Policy
from moedsl.backends.emulator.process import Buffer, Grid, Launch, Pointer, Use, run
from moedsl.backends.emulator.tensor_map import record
from moedsl.ir.core import DType
from tests.emulator import barrier_bugs, copy_bugs
from tests.emulator.harness import POLICIES, assert_told, find, marked_line, unit_of

if TYPE_CHECKING:
    from moedsl.backends.emulator.unit import Unit
    from tests.emulator.test_findings import Seeded

CASES = [*copy_bugs.CASES, *barrier_bugs.CASES]

SHARED = 32768

# 128 threads in each of two CTAs of a cluster; 64 rows of 128 bytes at 0 and at 8192, mbarriers for
# one arrival at 24576 and behind it. `map` lies over `x`, 64 rows of 64 bf16.
HEAD = """
struct Arguments { TensorMap map; const u16* x; float* y; int* flag; };
constexpr u32 row_bytes = 128, tile_bytes = 64 * row_bytes, bar = 24576, stage = 16384;
MOE_DEVICE u64 matrix(u32 offset) { return describe_matrix<swizzle_128>(offset, 16, 1024); }
MOE_DEVICE void load(const Arguments& arguments, u32 offset) {
    tensor_load(offset, arguments.map, Box<2>{{0, 0}}, bar);
}
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments arguments) {
    const int thread = thread_index(), first = cluster_rank() * 128 + thread;
    const bool leads = thread == 0;
    if (leads) {
        barrier_init(bar, 1);
        barrier_init(bar + 8, 1);
        fence_barrier_init();
    }
    sync_cluster();
"""
TAIL = """
    sync_warp();
    sync_cluster();
}
"""


def _unit(case: Seeded, fix: str) -> Unit:
    return unit_of(HEAD + case.text.replace("$FIX", fix) + TAIL)


def _launch(unit: Unit) -> Launch:
    x = np.zeros((64, 64), np.uint16)
    description = TensorMap(DType.BF16, (64, 64), (128,), (64, 64), swizzle=TensorSwizzle.B128)
    y = np.full(256, np.nan, np.float32)
    return Launch(
        unit,
        Grid(2, 128, SHARED, resident=2, cluster=2),
        record(description) + bytes(64),
        (
            Pointer(0, "x"),
            *(Pointer(128 + 8 * i, name) for i, name in enumerate(("x", "y", "flag"))),
        ),
        (
            Buffer("x", bytearray(x.tobytes()), Use.INPUT),
            Buffer("y", bytearray(y.tobytes()), Use.OUTPUT),
            Buffer("flag", bytearray(16), Use.STATE),
        ),
    )


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_seeded_bug_is_found_on_its_line(case: Seeded, policy: Policy) -> None:
    unit = _unit(case, case.bug)
    finding = find(_launch(unit), policy, races=True)
    assert finding.kind in case.kind.split(), finding
    assert_told(finding, case.says, marked_line(unit) if "// BUG" in case.text else None)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_same_kernel_without_the_bug_is_silent(case: Seeded) -> None:
    for policy in POLICIES:
        run(_launch(_unit(case, case.fixed)), Options(policy))


WAIT = "wait_for_previous_launch();"
GLOBAL_ACCESSES = {
    "reads": 'if (global_load(arguments.x + first) == 3) role("");',
    "writes": "global_store(arguments.y + first, 1.0f);",
    "writes to a flag": "if (leads) flag_add(arguments.flag, 0);",
    "loads": "if (leads) { barrier_arrive_expect(bar, tile_bytes); load(arguments, 0); }"
    " barrier_wait(bar, 0);",
}


@pytest.mark.parametrize("access", GLOBAL_ACCESSES)
def test_launches_that_overlap_wait_before_they_touch_memory(access: str) -> None:
    text = GLOBAL_ACCESSES[access]
    for waits in (f"{text} {WAIT}", f"if (!leads) {WAIT} {text}", text):
        unit = unit_of(f"{HEAD}{waits}  // BUG\n{TAIL}")
        launch = _launch(unit)
        finding = find(replace(launch, grid=replace(launch.grid, overlaps=True)), POLICIES[0])
        assert finding.kind == "overlap"
        assert_told(finding, "without having waited for the launch before", marked_line(unit))
    for overlaps, waits in ((True, WAIT), (False, "")):
        launch = _launch(unit_of(f"{HEAD}allow_next_launch(); {waits} {text}{TAIL}"))
        grid = replace(launch.grid, overlaps=overlaps)
        run(replace(launch, grid=grid), Options(POLICIES[0]))
