"""Each misuse of Hopper's primitives, seeded into a small kernel, is found on its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle
from moedsl.backends.emulator.options import Options, Policy
from moedsl.backends.emulator.process import Buffer, Grid, Launch, Pointer, Use, run
from moedsl.ir.core import DType
from tests.conformance.model import record
from tests.emulator.harness import POLICIES, find, marked_line, unit_of
from tests.emulator.test_findings import Seeded

if TYPE_CHECKING:
    from moedsl.backends.emulator.unit import Unit

SHARED = 32768

# 128 threads in each of two CTAs of a cluster; a stage of 64 rows of 128 bytes at 0 and at 8192, an
# mbarriers for one arrival at 24576 and behind it. `map` lies over `x`, 64 rows of 64 bf16.
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

_LOAD = """
    if (leads) {
        barrier_arrive_expect(bar, 2 * tile_bytes);
        load(arguments, 0);
        load(arguments, tile_bytes);
    }
    barrier_wait(bar, 0);
    float sum[32];
    group_fence();
"""
_STORE = """
    global_store(arguments.y + first, sum[3]);
"""
_FILL = """
    shared_store(stage + thread * 16, Words{});
    fence_async();
    sync_cta();
"""


def _product(multiply: str) -> str:
    return f"{_LOAD}    {multiply}\n    group_commit();\n    group_wait<0>();\n{_STORE}"


CASES = [
    Seeded(
        "accumulators that nobody has set",
        "undefined",
        _product(
            "group_multiply$FIX(sum, matrix(0), matrix(tile_bytes), Product<bf16>{});  // BUG"
        ),
        "_add",
        "",
        says="accumulator 0",
    ),
    Seeded(
        "product not waited for at the end",
        "unfinished",
        f"""{_LOAD}
    group_multiply(sum, matrix(0), matrix(tile_bytes), Product<bf16>{{}});  // BUG
    group_commit();
    $FIX
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "group_wait<0>();",
    ),
    Seeded(
        "descriptor that leads out of shared memory",
        "bounds",
        _product("group_multiply(sum, matrix(0), matrix($FIX), Product<bf16>{});  // BUG"),
        "32768",
        "tile_bytes",
        says="shared memory, which has 32768 bytes",
    ),
    Seeded(
        "descriptor with a base offset",
        "operands",
        _product(
            "group_multiply(sum, matrix(0) $FIX, matrix(tile_bytes), Product<bf16>{});  // BUG"
        ),
        "| 1ull << 49",
        "",
        says="base offset",
    ),
    Seeded(
        "descriptor of what nobody has written",
        "undefined",
        _product("group_multiply(sum, matrix(0), matrix($FIX), Product<bf16>{});  // BUG"),
        "tile_bytes + 1024",
        "tile_bytes",
        says="nobody has written",
    ),
    Seeded(
        "threads of a warpgroup with different descriptors",
        "divergence",
        _product("group_multiply(sum, matrix($FIX), matrix(tile_bytes), Product<bf16>{});  // BUG"),
        "thread < 64 ? 0 : 1024",
        "0",
        says="different wgmma",
    ),
    Seeded(
        "tf32 operand that lies by rows",
        "operands",
        _product(
            "group_multiply(sum, matrix(0), matrix(tile_bytes), Product<tf32, $FIX>{});  // BUG"
        ),
        "by_outer",
        "by_depth",
        says="K-major",
    ),
    Seeded(
        "load that nobody waits for",
        "unfinished",
        """
    if (leads) {
        barrier_arrive_expect(bar, tile_bytes);
        load(arguments, 0);
    }
    $FIX
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "barrier_wait(bar, 0);",
    ),
    Seeded(
        "load into a place that is being read",
        "race in_flight",
        """
    if (leads) {
        barrier_arrive_expect(bar, tile_bytes);
        load(arguments, 0);
    }
    barrier_wait(bar, 0);
    const u16 value = shared_load<u16>(thread * 2);  // BUG
    $FIX
    if (leads) {
        barrier_arrive_expect(bar + 8, tile_bytes);
        tensor_load(0, arguments.map, Box<2>{{0, 0}}, bar + 8);
    }
    barrier_wait(bar + 8, 0);
    global_store(arguments.y + first, static_cast<float>(value));
""",
        "",
        "sync_cta();",
    ),
    Seeded(
        "generic writes without a proxy fence",
        "race",
        """
    shared_store(stage + thread * 16, Words{});  // BUG
    $FIX
    sync_cta();
    if (leads) {
        bulk_store(arguments.y + first, stage, 512);
        bulk_commit();
        bulk_wait<0>();
    }
""",
        "",
        "fence_async();",
        says="the other access",
    ),
    Seeded(
        "store of what nobody has written",
        "undefined",
        f"""{_FILL}
    if (leads) {{
        bulk_store(arguments.y + first, stage $FIX, 512);  // BUG
        bulk_commit();
        bulk_wait<0>();
    }}
""",
        "+ 2048",
        "",
    ),
    Seeded(
        "place of a bulk store written again too early",
        "race",
        f"""{_FILL}
    if (leads) {{
        bulk_store(arguments.y + first, stage, 512);
        bulk_commit();
        $FIX
        shared_store(stage, 1.0f);  // BUG
        bulk_wait<0>();
    }}
""",
        "",
        "bulk_wait_read<0>();",
    ),
    Seeded(
        "bulk store out of bounds",
        "bounds",
        f"""{_FILL}
    if (leads) {{
        bulk_store(arguments.y + first $FIX, stage, 512);  // BUG
        bulk_commit();
        bulk_wait<0>();
    }}
""",
        "+ 64",
        "",
        says="`y`, which has 1024 bytes",
    ),
    Seeded(
        "two CTAs store the same elements",
        "written_twice",
        f"""{_FILL}
    if (leads) {{
        bulk_store(arguments.y + $FIX, stage, 512);  // BUG
        bulk_commit();
        bulk_wait<0>();
    }}
""",
        "thread",
        "first",
    ),
    Seeded(
        "bulk store of an odd size",
        "alignment",
        f"""{_FILL}
    if (leads) {{
        bulk_store(arguments.y + first, stage, $FIX);  // BUG
        bulk_commit();
        bulk_wait<0>();
    }}
""",
        "500",
        "512",
    ),
    Seeded(
        "box of another rank",
        "operands",
        """
    if (leads) {
        barrier_arrive_expect(bar, tile_bytes);
        tensor_load(0, arguments.map, $FIX, bar);  // BUG
    }
    barrier_wait(bar, 0);
    global_store(arguments.y + first, 1.0f);
""",
        "Box<3>{{0, 0, 0}}",
        "Box<2>{{0, 0}}",
        says="rank 2",
    ),
    Seeded(
        "one arrival too many",
        "mbarrier",
        """
    if (leads) {
        barrier_expect(bar, 16);
        barrier_arrive(bar);
        $FIX  // BUG
        bulk_load(0, arguments.x, 16, bar);
    }
    barrier_wait(bar, 0);
    global_store(arguments.y + first, 1.0f);
""",
        "barrier_arrive(bar);",
        "",
        says="all 1 of this phase have arrived",
    ),
    Seeded(
        "one arrival too few",
        "deadlock",
        """
    if ($FIX) barrier_arrive(bar);
    barrier_wait(bar, 0);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "false",
        "leads",
        says="lacks 1 of 1 arrivals",
    ),
    Seeded(
        "mbarrier initialised a second time",
        "mbarrier",
        """
    if (leads) barrier_init(bar + $FIX, 1);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "0",
        "16",
        says="a second time",
    ),
    Seeded(
        "no mbarrier there",
        "mbarrier",
        """
    if (leads) barrier_arrive(bar + $FIX);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "16",
        "0",
        says="no mbarrier at byte 24592",
    ),
    Seeded(
        "write over an mbarrier",
        "mbarrier",
        """
    if (leads) shared_store(bar + $FIX, 1.0f);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "12",
        "16",
        says="where an mbarrier lies",
    ),
    Seeded(
        "numbered barrier used by others who cannot know that it is free",
        "race divergence",
        """
    named_sync(warp_index() < 2 ? 1 : $FIX, 64);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "1",
        "2",
        says="barrier 1",
    ),
    Seeded(
        "numbered barrier arrived at again before the others have come",
        "race divergence",
        """
    if (warp_index() < 2) {
        named_arrive(1, 128);
        $FIX
        named_arrive(1, 128);  // BUG
    } else {
        named_sync(1, 128);
        $FIX
        named_sync(1, 128);
    }
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "named_sync(2, 128);",
    ),
    Seeded(
        "no such numbered barrier",
        "barrier",
        """
    named_sync($FIX, 128);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "16",
        "15",
    ),
    Seeded(
        "numbered barrier with two counts",
        "barrier",
        """
    if (warp_index() < 2) named_sync(1, 128);
    else named_sync(1, $FIX);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "96",
        "128",
        says="where others count",
    ),
    Seeded(
        "numbered barrier without its last warp",
        "deadlock",
        """
    if ($FIX) named_sync(1, 128);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "warp_index() < 3",
        "true",
    ),
    Seeded(
        "elect in a divergent branch",
        "divergence",
        """
    bool chosen = false;
    if ($FIX) chosen = elect();
    sync_cta();
    global_store(arguments.y + first, chosen ? 1.0f : 0.0f);
""",
        "lane_index() > 0",
        "true",
    ),
    Seeded(
        "stmatrix to a misaligned row",
        "alignment",
        """
    const u32 values[1] = {0};
    store_matrices(warp_index() * 128 + lane_index() % 8 * 16 + $FIX, values);  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "8",
        "0",
    ),
    Seeded(
        "more registers than the CTA has",
        "deadlock",
        """
    raise_registers<$FIX>();  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "256",
        "248",
    ),
    Seeded(
        "registers lowered to more",
        "registers",
        """
    lower_registers<40>();
    lower_registers<$FIX>();  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "48",
        "40",
    ),
    Seeded(
        "CTA outside the cluster",
        "cluster",
        """
    if (leads) peer_arrive(peer_address(bar, $FIX));  // BUG
    barrier_wait_cluster(bar, 0);
    global_store(arguments.y + first, 1.0f);
""",
        "2",
        "1 - cluster_rank()",
        says="no CTA 2",
    ),
    Seeded(
        "wait for a cluster one has not arrived at",
        "cluster",
        """
    $FIX
    cluster_wait();  // BUG
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "cluster_arrive();",
        says="without having arrived",
    ),
    Seeded(
        "peer's memory read without the cluster's barrier",
        "race",
        """
    if (leads) shared_store(stage, 0u);
    sync_cluster();
    if (leads) shared_store(stage, 1u);  // BUG
    $FIX
    const u32 value = peer_load(peer_address(stage, 1 - cluster_rank()));  // OTHER
    global_store(arguments.y + first, static_cast<float>(value));
""",
        "",
        "sync_cluster();",
    ),
    Seeded(
        "flag raised before the data it tells of",
        "race",
        """
    if (leads && cluster_rank() == 0) {
        if ($FIX) flag_store_release(arguments.flag, 1);
        global_store(arguments.y, 1.0f);  // BUG
        if (!$FIX) flag_store_release(arguments.flag, 1);
    }
    if (leads && cluster_rank() == 1) {
        flag_wait(arguments.flag, 1);
        global_store(arguments.y + 1, global_load(arguments.y));
    }
""",
        "true",
        "false",
    ),
]


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
    told = [finding.message, *(note.text for note in finding.notes)]
    assert case.says in "\n".join(told)
    if "// BUG" in case.text:
        lines = {frame.line for frame in finding.frames}
        lines |= {frame.line for note in finding.notes for frame in note.frames}
        assert marked_line(unit) in lines, finding


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_same_kernel_without_the_bug_is_silent(case: Seeded) -> None:
    for policy in POLICIES:
        run(_launch(_unit(case, case.fixed)), Options(policy))
