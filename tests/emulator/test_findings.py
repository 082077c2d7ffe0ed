"""Each class of bug, seeded into a small kernel, is found on its line under every policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from moedsl.backends.emulator.options import Options, Policy
from moedsl.backends.emulator.process import Grid, Use, run
from tests.emulator.harness import POLICIES, assert_told, find, launch_of, marked_line, unit_of

HEAD = """
struct Arguments { const float* x; float* y; int* flag; };
MOE_KERNEL(64, 1) kernel(MOE_ARGUMENTS Arguments arguments) {
    const int thread = thread_index();
    const u32 mine = thread * 16, other = (thread ^ 32) * 16;
"""


@dataclass(frozen=True)
class Seeded:
    """``bug`` becomes the line that is marked; ``fixed`` stands there in the correct kernel.

    ``kind`` is what is found, or words of which one is found.
    """

    name: str
    kind: str
    text: str
    bug: str
    fixed: str
    says: str = ""
    shared: int = 1024


CASES = [
    Seeded(
        "cp.async without wait",
        "in_flight",
        """
    copy_async(mine, arguments.x + thread * 4, 16);
    copy_commit();
    $FIX
    const float value = shared_load<float>(mine);  // BUG
    global_store(arguments.y + thread, value);
""",
        "",
        "copy_wait<0>();",
        says="copy of thread",
    ),
    Seeded(
        "cp.async not committed before the wait",
        "in_flight",
        """
    copy_async(mine, arguments.x + thread * 4, 16);
    $FIX
    copy_wait<0>();
    const float value = shared_load<float>(mine);  // BUG
    global_store(arguments.y + thread, value);
""",
        "",
        "copy_commit();",
    ),
    Seeded(
        "cp.async waited for one group too few",
        "in_flight",
        """
    copy_async(mine, arguments.x + thread * 4, 16);
    copy_commit();
    $FIX
    const float value = shared_load<float>(mine);  // BUG
    global_store(arguments.y + thread, value);
    copy_wait<0>();
""",
        "copy_wait<1>();",
        "copy_wait<0>();",
    ),
    Seeded(
        "cp.async unfinished at exit",
        "unfinished",
        """
    copy_async(mine, arguments.x + thread * 4, 16);  // BUG
    copy_commit();
    $FIX
    global_store(arguments.y + thread, 0.0f);
""",
        "",
        "copy_wait<0>();",
    ),
    Seeded(
        "cp.async to where another of the same thread is under way",
        "in_flight",
        """
    copy_async(mine, arguments.x + thread * 4, 16);
    copy_commit();
    $FIX
    copy_async(mine, arguments.x + thread * 4, 16);  // BUG
    copy_commit();
    copy_wait<0>();
    global_store(arguments.y + thread, shared_load<float>(mine));
""",
        "",
        "copy_wait<0>();",
        says="copy of thread",
    ),
    Seeded(
        "cp.async from a misaligned address",
        "alignment",
        """
    copy_async(mine, $FIX, 16);  // BUG
    copy_commit();
    copy_wait<0>();
    global_store(arguments.y + thread, shared_load<float>(mine));
""",
        "arguments.x + thread * 3",
        "arguments.x + thread * 4",
    ),
    Seeded(
        "global read out of bounds",
        "bounds",
        """
    const float value = global_load(arguments.x + $FIX);  // BUG
    global_store(arguments.y + thread, value);
""",
        "thread * 4 + 4",
        "thread * 4",
        says="`x`, which has 1024 bytes",
    ),
    Seeded(
        "global read in front of a buffer",
        "bounds",
        """
    const float value = global_load(arguments.x + $FIX);  // BUG
    global_store(arguments.y + thread, value);
""",
        "thread - 1",
        "thread",
        says="byte -4 of `x`",
    ),
    Seeded(
        "write to an input",
        "read_only",
        """
    global_store($FIX + thread, 1.0f);  // BUG
""",
        "const_cast<float*>(arguments.x)",
        "arguments.y",
    ),
    Seeded(
        "output element written twice",
        "written_twice",
        """
    global_store(arguments.y + $FIX, 1.0f);  // BUG
""",
        "thread / 2",
        "thread",
    ),
    Seeded(
        "output read before it is written",
        "undefined",
        """
    $FIX
    const float value = global_load(arguments.y + thread);  // BUG
    if (value == 3.0f) global_store(arguments.flag, 1);
""",
        "",
        "global_store(arguments.y + thread, 1.0f);",
    ),
    Seeded(
        "misaligned vector read",
        "alignment",
        """
    const Floats four = global_load(reinterpret_cast<const Floats*>(arguments.x + $FIX));  // BUG
    global_store(arguments.y + thread, four.value[0]);
""",
        "thread",
        "thread * 4",
    ),
    Seeded(
        "shared read out of bounds",
        "bounds",
        """
    shared_store(mine, 1.0f);
    sync_cta();
    const float value = shared_load<float>($FIX);  // BUG
    global_store(arguments.y + thread, value);
""",
        "other + 512",
        "other",
        says="which has 1024 bytes",
    ),
    Seeded(
        "shared read uninitialised",
        "undefined",
        """
    if ($FIX) shared_store(mine, 1.0f);
    sync_cta();
    const float value = shared_load<float>(other);  // BUG
    global_store(arguments.y + thread, value);
""",
        "thread != 7",
        "true",
        says="nobody has written",
    ),
    Seeded(
        "misaligned shared read",
        "alignment",
        """
    shared_store(mine, Floats{1, 2, 3, 4});
    const Floats four = shared_load<Floats>(mine $FIX);  // BUG
    global_store(arguments.y + thread, four.value[0]);
""",
        "+ 8",
        "",
    ),
    Seeded(
        "barrier in a divergent branch",
        "deadlock",
        """
    if ($FIX) sync_cta();  // BUG
    global_store(arguments.y + thread, 0.0f);
""",
        "thread < 32",
        "true",
        says="no thread can go on",
    ),
    Seeded(
        "barrier reached by part of a warp",
        "deadlock",
        """
    if ($FIX) sync_cta();  // BUG
    global_store(arguments.y + thread, 0.0f);
""",
        "thread != 5",
        "true",
    ),
    Seeded(
        "shuffle in a divergent branch",
        "divergence",
        """
    int value = thread;
    if ($FIX) value = shuffle_up(value, 1);
    sync_warp();
    global_store(arguments.y + thread, static_cast<float>(value));
""",
        "thread % 32 < 16",
        "true",
    ),
    Seeded(
        "lane ends before a collective",
        "divergence",
        """
    if ($FIX) return;
    const int value = shuffle_up(thread, 1);
    global_store(arguments.y + thread, static_cast<float>(value));
""",
        "thread == 3",
        "false",
    ),
    Seeded(
        "collective by part of a warp, the rest at a barrier",
        "divergence",
        """
    int value = thread;
    if ($FIX) value = shuffle_up(value, 1);
    sync_cta();
    global_store(arguments.y + thread, static_cast<float>(value));
""",
        "thread % 32 != 31",
        "true",
    ),
    Seeded(
        "integer division by zero",
        "crash",
        """
    const int divisor = global_load(arguments.flag) $FIX;
    global_store(arguments.y + thread, static_cast<float>(100 / divisor));  // BUG
""",
        "",
        "+ 1",
    ),
    Seeded(
        "local array left",
        "crash",
        """
    float values[4] = {0, 1, 2, 3};
    float sum = 0.0f;
    for (int i = 0; i < $FIX; ++i) sum += values[i + thread - thread];  // BUG
    global_store(arguments.y + thread, sum);
""",
        "5",
        "4",
    ),
    Seeded(
        "array at the end of a struct left",
        "crash",
        """
    struct { float values[4]; } last = {{0, 1, 2, 3}};
    for (int i = 0; i < $FIX; ++i) last.values[i] += static_cast<float>(thread);  // BUG
    global_store(arguments.y + thread, last.values[3]);
""",
        "5",
        "4",
    ),
    Seeded(
        "offset beyond 31 bits",
        "crash",
        """
    const int row = global_load(arguments.flag) + 70000;
    const $FIX offset = static_cast<$FIX>(row) * 70000;  // BUG
    global_store(arguments.y + thread, static_cast<float>(offset > 0));
""",
        "int",
        "i64",
    ),
    Seeded(
        "memory touched without an accessor",
        "crash",
        """
    volatile float* stray = arguments.y $FIX;
    *stray = 1.0f;  // BUG
""",
        "+ (1ll << 40)",
        "+ thread",
    ),
    Seeded(
        "endless loop",
        "timeout",
        """
    int turns = 0;
    while ($FIX) turns = shuffle_up(turns + 1, 0);  // BUG
    global_store(arguments.y + thread, static_cast<float>(turns));
""",
        "turns >= 0",
        "turns < 5",
    ),
]


def _arrays() -> dict[str, tuple[np.ndarray, Use]]:
    x = np.arange(256, dtype=np.float32)
    y = np.full(64, np.nan, np.float32)
    return {"x": (x, Use.INPUT), "y": (y, Use.OUTPUT), "flag": (np.zeros(4, np.int32), Use.STATE)}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_seeded_bug_is_found_on_its_line(case: Seeded, policy: Policy) -> None:
    unit = unit_of(HEAD + case.text.replace("$FIX", case.bug) + "}\n")
    launch = launch_of(unit, Grid(1, 64, case.shared), _arrays())
    finding = find(launch, policy, timeout=0.3 if case.kind == "timeout" else 5.0)
    assert finding.kind == case.kind, finding
    assert_told(finding, case.says, marked_line(unit) if "// BUG" in case.text else None)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_same_kernel_without_the_bug_is_silent(case: Seeded) -> None:
    unit = unit_of(HEAD + case.text.replace("$FIX", case.fixed) + "}\n")
    for policy in POLICIES:
        run(launch_of(unit, Grid(1, 64, case.shared), _arrays()), Options(policy))


@pytest.mark.parametrize("store", ["global_store(at, value)", "atomic_add(at, 0.0f)"])
def test_writes_between_elements_are_found_even_if_nothing_changes(store: str) -> None:
    text = f"""
    float* const at = arguments.y + 2 * thread + $FIX;
    const float value = global_load(at);
    {store};  // BUG
"""
    gaps = np.tile(np.repeat(np.array([0, 1], np.uint8), 4), 64).tobytes()
    for fix, stray in (("0", False), ("(thread == 9)", True)):
        unit = unit_of(HEAD + text.replace("$FIX", fix) + "}\n")
        arrays = _arrays() | {"y": (np.zeros(128, np.float32), Use.ACCUMULATED)}
        launch = launch_of(unit, Grid(1, 64, 1024), arrays)
        x, y, flag = launch.buffers
        launch = replace(launch, buffers=(x, replace(y, gaps=gaps), flag))
        if not stray:
            run(launch, Options())
            continue
        finding = find(launch, POLICIES[0])
        assert (finding.kind, finding.line) == ("stray_write", marked_line(unit))
        assert "byte 76 of `y`" in finding.message
