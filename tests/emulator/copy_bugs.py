"""Bugs with products and asynchronous copies, seeded into ``test_hopper_findings``' kernel."""

from __future__ import annotations

from tests.emulator.test_findings import Seeded

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


_WORDS = f"""{_LOAD}
    const auto right = matrix(tile_bytes);
    u32 left[4] = {{}};
    $KEEP
    $FENCE
    group_multiply(sum, left, right, Product<bf16>{{}});$FIRST
    group_commit();
    $AFTER
    group_wait<0>();$WAIT
    for (int i = 0; i < 4; ++i) left[i] = 0x3f803f80u;
    $AGAIN
    group_multiply_add(sum, left, right, Product<bf16>{{}});$SECOND
    group_commit();
    group_wait<0>();
{_STORE}"""
"""Two products whose left operand comes from the same registers."""
_RIGHT = {
    "KEEP": "keep_left(left);",
    "FENCE": "group_fence();",
    "AGAIN": "keep_left(left); group_fence();",
}


def _words(**other: str) -> str:
    text = _WORDS
    for name in ("KEEP", "FENCE", "FIRST", "AFTER", "WAIT", "AGAIN", "SECOND"):
        text = text.replace(f"${name}", other.get(name, _RIGHT.get(name, "")))
    return text


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
        "registers of a that the compiler may set later",
        "wgmma",
        _words(KEEP="$FIX", FIRST="  // BUG"),
        "",
        "keep_left(left);",
        says="keep_left",
    ),
    Seeded(
        "registers of a set behind the fence",
        "wgmma",
        _words(KEEP="", FENCE="$FIX", FIRST="  // BUG"),
        "group_fence(); keep_left(left);",
        "keep_left(left); group_fence();",
        says="registers of a were written and no wgmma.fence since",
    ),
    Seeded(
        "registers of a written while a product reads them",
        "wgmma",
        _words(AFTER="left[2] = $FIX;", WAIT="  // BUG"),
        "1",
        "0",
        says="written while an operation reads them",
    ),
    Seeded(
        "registers of a settled again while a product reads them",
        "wgmma",
        _words(AFTER="left[2] = $FIX; keep_left(left);  // BUG"),
        "1",
        "0",
        says="written while an operation reads them",
    ),
    Seeded(
        "registers of a set while a product goes on, without a fence",
        "wgmma",
        _words(
            AFTER="""
    u32 next[4] = {};
    keep_left(next);
    $FIX
    group_multiply_add(sum, next, right, Product<bf16>{});  // BUG
    group_commit();
"""
        ),
        "",
        "group_fence();",
        says="registers of a were written and no wgmma.fence since",
    ),
    Seeded(
        "registers of a written after they were settled",
        "wgmma",
        _words(
            AGAIN="keep_left(left); group_fence(); left[1] += thread == 77 ? $FIX : 0;",
            SECOND="  // BUG",
        ),
        "1",
        "0",
        says="registers of a were written and no wgmma.fence since",
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
        "two loads under way to one place",
        "race in_flight",
        """
    if (leads) {
        barrier_arrive_expect(bar, 2 * tile_bytes);
        load(arguments, 0);
        tensor_load($FIX, arguments.map, Box<2>{{0, 0}}, bar);  // BUG
    }
    barrier_wait(bar, 0);
    global_store(arguments.y + first, 1.0f);
""",
        "tile_bytes / 2",
        "tile_bytes",
    ),
    Seeded(
        "cp.async to where an mbarrier still counts another of the same thread",
        "race in_flight",
        """
    if (leads) {
        copy_async(0, arguments.x, 16);
        barrier_arrive_copies(bar);
        $FIX
        copy_async(0, arguments.x, 16);  // BUG
        barrier_arrive_copies(bar + 8);
    }
    barrier_wait(bar, 0);
    barrier_wait(bar + 8, 0);
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "barrier_wait(bar, 0);",
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
]
