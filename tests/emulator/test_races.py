"""Accesses that nothing orders are found on both of their lines, whoever happens to run first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.backends.emulator.options import Options, Policy
from moedsl.backends.emulator.process import Grid, Use, run
from tests.emulator.harness import POLICIES, find, launch_of, marked_line, unit_of

if TYPE_CHECKING:
    from tests.emulator.harness import Arrays

HEAD = """
struct Arguments { const float* x; float* y; int* flag; float* parts; };
MOE_KERNEL(64, 1) kernel(MOE_ARGUMENTS Arguments arguments) {
    const int thread = thread_index();
    const u32 mine = thread * 16, other = (thread ^ 32) * 16, near = (thread ^ 1) * 16;
"""


@dataclass(frozen=True)
class Seeded:
    """``fixed`` stands at $FIX in the correct kernel, ``bug`` in the other one.

    The lines marked BUG and OTHER are the two that race, in either order.
    """

    name: str
    text: str
    fixed: str
    bug: str = ""
    blocks: int = 1


_LAST = """
    sync_cta();
    const bool last = shared_load<int>(0) == cta_count() - 1;
"""
_SUM = """
    float sum = 0.0f;
    for (int i = 0; last && i < cta_count(); ++i) {
        sum += global_load(arguments.parts + i * 64 + thread);  // BUG
    }
    if (last) global_store(arguments.y + thread, sum);
"""
_PART = """
    global_store(arguments.parts + cta_index() * 64 + thread, 1.0f);  // OTHER
"""
_COUNT = "shared_store(0, atomic_add(arguments.flag, 1));"

CASES = [
    Seeded(
        "read after write without a barrier",
        """
    shared_store(mine, 1.0f);  // OTHER
    sync_cta();
    shared_store(mine, 2.0f);  // BUG
    $FIX
    const float value = shared_load<float>(other);  // ALSO
    global_store(arguments.y + thread, value);
""",
        "sync_cta();",
    ),
    Seeded(
        "write after read without a barrier",
        """
    shared_store(mine, 1.0f);
    sync_cta();
    const float value = shared_load<float>(other);  // OTHER
    $FIX
    shared_store(mine, 2.0f);  // BUG
    global_store(arguments.y + thread, value);
""",
        "sync_cta();",
    ),
    Seeded(
        "two writes",
        """
    shared_store($FIX, 1.0f);  // BUG
    sync_cta();
    global_store(arguments.y + thread, shared_load<float>(mine - mine));
""",
        "mine",
        "thread / 2 * 32",
    ),
    Seeded(
        "two threads in one 4-byte word, in different halves",
        """
    shared_store(static_cast<u32>(thread * $FIX), u16{1});  // BUG
    sync_cta();
    global_store(arguments.y + thread, 0.0f);
""",
        "2",
        "2 / 4 * 4",
    ),
    Seeded(
        "neighbours in a warp without syncwarp",
        """
    shared_store(mine, 1.0f);
    sync_warp();
    const float before = shared_load<float>(near);  // OTHER
    $FIX
    shared_store(mine, before);  // BUG
    sync_warp();
    global_store(arguments.y + thread, shared_load<float>(near));
""",
        "sync_warp();",
    ),
    Seeded(
        "shuffles order no memory",
        """
    shared_store(mine, 1.0f);
    sync_warp();
    const float before = shared_load<float>(near);  // OTHER
    $FIX
    shared_store(mine, before);  // BUG
    global_store(arguments.y + thread, before);
""",
        "sync_warp();",
        "shuffle_up(thread, 1);",
    ),
    Seeded(
        "a copy waited for by its own thread only",
        """
    copy_async(mine, arguments.x + thread * 4, 16);  // OTHER
    copy_commit();
    copy_wait<0>();
    $FIX
    const float value = shared_load<float>(other);  // BUG
    global_store(arguments.y + thread, value);
""",
        "sync_cta();",
    ),
    Seeded(
        "a barrier before the wait instead of behind it",
        """
    copy_async(mine, arguments.x + thread * 4, 16);  // OTHER
    copy_commit();
    $FIX
    const float value = shared_load<float>(other);  // BUG
    global_store(arguments.y + thread, value);
""",
        "copy_wait<0>(); sync_cta();",
        "sync_cta(); copy_wait<0>();",
    ),
    Seeded(
        "a copy into a stage that is still read",
        """
    shared_store(mine, 1.0f);
    sync_cta();
    const float value = shared_load<float>(other);  // OTHER
    $FIX
    copy_async(mine, arguments.x + thread * 4, 16);  // BUG
    copy_commit();
    copy_wait<0>();
    global_store(arguments.y + thread, value);
""",
        "sync_cta();",
    ),
    Seeded(
        "partial sums of another block without a fence",
        f"""
{_PART}
    sync_cta();
    if (thread == 0) {{ $FIX {_COUNT} $FIX }}
{_LAST}{_SUM}
""",
        "fence_device();",
        blocks=3,
    ),
    Seeded(
        "partial sums counted by a thread that has not fenced since the barrier",
        f"""
{_PART}
    $FIX
    if (thread == 0) {{ {_COUNT} fence_device(); }}
{_LAST}{_SUM}
""",
        "sync_cta(); fence_device();",
        "fence_device(); sync_cta();",
        blocks=3,
    ),
    Seeded(
        "partial sums read behind fences of threads that have not counted",
        f"""
{_PART}
    sync_cta();
    if (thread == 0) {{ fence_device(); {_COUNT} $FIX }}
{_LAST}
    fence_device();
{_SUM}
""",
        "fence_device();",
        blocks=3,
    ),
    Seeded(
        "partial sums counted before all threads have written",
        f"""
{_PART}
    $FIX
    if (thread == 0) {{ fence_device(); {_COUNT} fence_device(); }}
{_LAST}{_SUM}
""",
        "sync_cta();",
        blocks=3,
    ),
]


def _arrays() -> Arrays:
    return {
        "x": (np.arange(256, dtype=np.float32), Use.INPUT),
        "y": (np.full(64, np.nan, np.float32), Use.OUTPUT),
        "flag": (np.zeros(4, np.int32), Use.STATE),
        "parts": (np.zeros(256, np.float32), Use.SCRATCH),
    }


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_seeded_race_is_found_on_both_lines(case: Seeded, policy: Policy) -> None:
    unit = unit_of(HEAD + case.text.replace("$FIX", case.bug) + "}\n")
    finding = find(launch_of(unit, Grid(case.blocks, 64, 1024), _arrays()), policy, races=True)
    assert finding.kind in ("race", "in_flight", "undefined"), finding
    marks = [m for m in ("BUG", "OTHER", "ALSO") if f"// {m}" in case.text]
    lines = {marked_line(unit, mark) for mark in marks}
    found = {frame.line for frame in finding.frames}
    if finding.kind == "race":
        others = [note for note in finding.notes if note.text == "the other access"]
        assert len(others) == 1
        found |= {frame.line for frame in others[0].frames}
    assert found & lines, (finding, lines)
    assert found <= lines, (finding, lines)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_ordered_accesses_are_silent(case: Seeded) -> None:
    unit = unit_of(HEAD + case.text.replace("$FIX", case.fixed) + "}\n")
    for policy in POLICIES:
        launch = launch_of(unit, Grid(case.blocks, 64, 1024), _arrays())
        run(launch, Options(policy, races=True))
