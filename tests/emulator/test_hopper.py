"""A warp-specialised kernel of the Hopper kind runs right, and without each of its waits wrong."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from moedsl.backends.emulator.options import Options, Policy
from moedsl.backends.emulator.process import Buffer, Grid, Launch, Pointer, Use, run
from moedsl.backends.emulator.report import EmulationError
from moedsl.backends.emulator.unit import Unit
from tests.emulator.harness import POLICIES, marked_line, result, unit_of

ROWS, COLUMNS, DEPTH, STAGE = 64, 64, 320, 64
STAGES = 3
TILE = 64 * STAGE * 2
SHARED = 2 * STAGES * TILE + ROWS * COLUMNS * 2 + 1024

# y[64, 64] = x[64, 320] w[64, 320]^T in bf16: a producer's warp fills three stages, a warpgroup
# multiplies them, and the result leaves through a swizzled tile and a tensor store.
KERNEL = f"""
struct Arguments {{ TensorMap x, w, y; }};
constexpr int kStages = {STAGES}, kSteps = {DEPTH // STAGE};
constexpr u32 kTile = {TILE}, kOut = 2 * kStages * kTile, kBarriers = kOut + {ROWS * COLUMNS * 2};
MOE_DEVICE u32 full(int stage) {{ return kBarriers + stage * 16; }}
MOE_DEVICE u32 empty(int stage) {{ return kBarriers + stage * 16 + 8; }}
MOE_KERNEL(256, 1) kernel(MOE_ARGUMENTS Arguments arguments) {{
    const int thread = thread_index();
    if (thread == 0) {{
        for (int stage = 0; stage < kStages; ++stage) {{
            barrier_init(full(stage), 1);  // FULL INIT
            barrier_init(empty(stage), 1);
        }}
        fence_barrier_init();  // INIT FENCE
    }}
    sync_cta();  // INIT SYNC
    if (thread >= 128) {{
        lower_registers<40>();
        if (warp_index() == 4 && elect()) {{
            for (int step = 0; step < kSteps; ++step) {{
                const int stage = step % kStages;
                barrier_wait(empty(stage), (step / kStages & 1) ^ 1);  // EMPTY WAIT
                barrier_arrive_expect(full(stage), 2 * kTile);  // EXPECT
                const Box<2> box{{{{step * 64, 0}}}};
                tensor_load(stage * kTile, arguments.x, box, full(stage));  // LOAD
                tensor_load((kStages + stage) * kTile, arguments.w, box, full(stage));  // LOAD W
            }}
        }}
        return;
    }}
    float sum[32];
    for (int step = 0; step < kSteps; ++step) {{
        const int stage = step % kStages;
        barrier_wait(full(stage), step / kStages & 1);  // FULL WAIT
        u64 left = describe_matrix<swizzle_128>(stage * kTile, 16, 1024);
        u64 right = describe_matrix<swizzle_128>((kStages + stage) * kTile, 16, 1024);
        group_fence();  // GROUP FENCE
        for (int k = 0; k < 4; ++k) {{
            if (step == 0 && k == 0) {{
                group_multiply(sum, left, right, Product<bf16>{{}});  // FIRST MULTIPLY
            }} else {{
                group_multiply_add(sum, left, right, Product<bf16>{{}});  // MULTIPLY
            }}
            left = advanced(left, 32);
            right = advanced(right, 32);
        }}
        group_commit();  // GROUP COMMIT
        group_wait<0>();  // GROUP WAIT
        named_sync(1, 128);  // CONSUMER SYNC
        if (thread == 0) barrier_arrive(empty(stage));  // RELEASE
    }}
    const int row = warp_index() * 16 + lane_index() / 4;
    for (int i = 0; i < 32; ++i) {{
        const int r = row + i / 2 % 2 * 8, c = i / 4 * 8 + lane_index() % 4 * 2 + i % 2;
        const u32 place = r * 128 + (c / 8 ^ r % 8) * 16 + c % 8 * 2;
        shared_store(kOut + place, rounded<bf16>(sum[i]));  // STAGE
    }}
    fence_async();  // PROXY FENCE
    named_sync(1, 128);  // STORE SYNC
    if (thread == 0) {{
        tensor_store(arguments.y, Box<2>{{{{0, 0}}}}, kOut);  // STORE
        bulk_commit();
        bulk_wait<0>();  // STORE WAIT
    }}
}}
"""


def _map(extents: tuple[int, int], box: tuple[int, int], swizzle: int = 128) -> bytes:
    """An EmuTensorMap of a bf16 matrix, padded to the size of a CUtensorMap."""
    packed = struct.pack(
        "<Q4Q5I5H5B4B", 0, extents[0] * 2, 0, 0, 0, *extents, 1, 1, 1, *box, 1, 1, 1,
        *(1, 1, 1, 1, 1), 2, 2, swizzle, 0,
    )  # fmt: skip
    return packed.ljust(128, b"\0")


def _launch(unit: Unit) -> tuple[Launch, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.integers(-1, 2, (ROWS, DEPTH)).astype(ml_dtypes.bfloat16)
    w = rng.integers(-1, 2, (COLUMNS, DEPTH)).astype(ml_dtypes.bfloat16)
    y = np.full((ROWS, COLUMNS), np.nan, ml_dtypes.bfloat16)
    arguments = _map((DEPTH, ROWS), (64, 64)) + _map((DEPTH, COLUMNS), (64, 64))
    arguments += _map((COLUMNS, ROWS), (64, 64))
    launch = Launch(
        unit,
        Grid(1, 256, SHARED),
        arguments,
        tuple(Pointer(128 * i, name) for i, name in enumerate("xwy")),
        (
            Buffer("x", bytearray(x.tobytes()), Use.INPUT),
            Buffer("w", bytearray(w.tobytes()), Use.INPUT),
            Buffer("y", bytearray(y.tobytes()), Use.OUTPUT),
        ),
    )
    expected = x.astype(np.float32) @ w.astype(np.float32).T
    return launch, expected


@pytest.mark.parametrize("races", [False, True], ids=["functional", "races"])
def test_the_kernel_is_right(races: bool) -> None:
    for policy in (*POLICIES, *(Policy(POLICIES[2].order, a.arrival, 7) for a in POLICIES)):
        launch, expected = _launch(unit_of(KERNEL))
        run(launch, Options(policy, races=races))
        assert (result(launch, "y", expected.astype(ml_dtypes.bfloat16)) == expected).all()


@dataclass(frozen=True)
class Bug:
    """The line marked ``mark`` is replaced; one of ``kinds`` is found on one of the lines ``at``.

    It shows under every policy, or with ``needs_luck`` under some of them.
    """

    mark: str
    line: str
    kinds: tuple[str, ...]
    at: tuple[str, ...] = ()
    needs_luck: bool = False


_WAITS = ("FULL WAIT", "EMPTY WAIT")
_PRODUCTS = ("FIRST MULTIPLY", "MULTIPLY")
_REUSE = ("LOAD", *_PRODUCTS)

BUGS = [
    Bug("INIT FENCE", "", ("race",), ("LOAD", "FULL INIT")),
    Bug("INIT SYNC", "", ("race", "mbarrier"), _WAITS),
    Bug("EMPTY WAIT", "", ("race", "in_flight", "mbarrier"), ("EXPECT", "LOAD")),
    Bug("EMPTY WAIT", "barrier_wait(empty(stage), step / kStages & 1);", ("deadlock",), _WAITS),
    Bug("EXPECT", "barrier_arrive_expect(full(stage), 2 * kTile + 16);", ("deadlock",), _WAITS),
    Bug("EXPECT", "barrier_arrive_expect(full(stage), kTile);", ("mbarrier", "race", "in_flight"),
        ("LOAD W", *_PRODUCTS)),
    Bug("EXPECT", "barrier_arrive(full(stage));", ("mbarrier", "race", "in_flight", "undefined"),
        _REUSE),
    Bug("FULL WAIT", "", ("race", "in_flight", "undefined", "mbarrier"), _REUSE),
    Bug("FULL WAIT", "if (warp_index() != 2) barrier_wait(full(stage), step / kStages & 1);",
        ("race", "undefined"), _REUSE),
    Bug("FULL WAIT", "barrier_wait(full(stage), step / kStages & 1 ^ 1);",
        ("race", "deadlock", "in_flight", "undefined"), (*_WAITS, *_REUSE)),
    Bug("GROUP FENCE", "", ("wgmma",), _PRODUCTS),
    Bug("GROUP WAIT", "", ("race", "unfinished", "mbarrier", "in_flight"), _REUSE),
    Bug("GROUP WAIT", "group_wait<1>();", ("race", "unfinished", "in_flight"), _REUSE),
    Bug("GROUP COMMIT", "", ("race", "unfinished", "in_flight"), _REUSE),
    Bug("CONSUMER SYNC", "", ("race",), _REUSE),
    Bug("CONSUMER SYNC", "named_sync(1, 160);", ("deadlock", "barrier"), ("CONSUMER SYNC",)),
    Bug("RELEASE", "", ("deadlock",), _WAITS),
    Bug("RELEASE", "if (thread < 2) barrier_arrive(empty(stage));",
        ("mbarrier", "race", "deadlock"), (*_WAITS, "RELEASE", *_REUSE), needs_luck=True),
    Bug("RELEASE", "if (thread == 0) barrier_arrive(full(stage));",
        ("mbarrier", "deadlock", "race"), (*_WAITS, "RELEASE")),
    Bug("PROXY FENCE", "", ("race",), ("STORE",)),
    Bug("STORE SYNC", "", ("race", "undefined"), ("STORE",)),
    Bug("STORE WAIT", "", ("unfinished",), ("STORE",)),
    Bug("STORE", "tensor_store(arguments.y, Box<2>{{0, 1}}, kOut + 64);", ("alignment",),
        ("STORE",)),
    Bug("LOAD", "tensor_load(stage * kTile + 64, arguments.x, box, full(stage));",
        ("alignment",), ("LOAD",)),
    Bug("MULTIPLY", "group_multiply_add(sum, left + (k == 3), right, Product<bf16>{});",
        ("wrong", "in_flight", "race"), ("MULTIPLY",)),
    Bug("FIRST MULTIPLY", "group_multiply_add(sum, left, right, Product<bf16>{});",
        ("undefined",), ("FIRST MULTIPLY",)),
    Bug("STAGE", "shared_store(kOut + (place ^ 16), rounded<bf16>(sum[i]));", ("wrong",)),
]  # fmt: skip


def _outcome(bug: Bug, policy: Policy) -> str:
    """The kind of finding, which must be on its line; else whether the result is right."""
    original = unit_of(KERNEL)
    lines = list(original.lines)
    lines[marked_line(original, bug.mark) - 1] = bug.line
    launch, expected = _launch(Unit("kernel.cu", "\n".join(lines) + "\n", "kernel"))
    try:
        run(launch, Options(policy, timeout=5))
    except EmulationError as error:
        finding = error.finding
        assert finding.frames[0].line in {marked_line(original, mark) for mark in bug.at}, finding
        return finding.kind
    right = (result(launch, "y", expected.astype(ml_dtypes.bfloat16)) == expected).all()
    return "right" if right else "wrong"


@pytest.mark.parametrize("bug", BUGS, ids=lambda b: f"{b.mark}: {b.line[:40] or 'gone'}")
def test_seeded_bug_is_found_on_its_line(bug: Bug) -> None:
    outcomes = {_outcome(bug, policy) for policy in POLICIES}
    if bug.needs_luck:
        assert outcomes != {"right"}
        outcomes.discard("right")
    assert outcomes <= set(bug.kinds)
