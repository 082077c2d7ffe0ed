"""Bugs with barriers, registers and clusters, seeded into ``test_hopper_findings``' kernel."""

from __future__ import annotations

from tests.emulator.test_findings import Seeded

CASES = [
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
        "two groups take turns, and nobody begins",
        "deadlock",
        """
    const int group = warp_index() / 2;
    role("group", group);
    if (group == 1) { $FIX }
    for (int turn = 0; turn < 3; ++turn) {
        named_sync(1 + group, 128);  // BUG
        if (thread % 64 == 0) shared_store(stage, turn);
        if (group == 0 || turn < 2) named_arrive(2 - group, 128);
    }
    global_store(arguments.y + first, 1.0f);
""",
        "",
        "named_arrive(1, 128);",
        says="(group 1; the first is 64) wait in barrier 2",
    ),
    Seeded(
        "two groups take turns, and one does not wait for its own",
        "race",
        """
    const int group = warp_index() / 2;
    role("group", group);
    if (group == 1) named_arrive(1, 128);
    for (int turn = 0; turn < 3; ++turn) {
        named_$FIX(1 + group, 128);
        if (thread % 64 == 0) shared_store(stage, turn);
        if (group == 0 || turn < 2) named_arrive(2 - group, 128);
    }
    global_store(arguments.y + first, 1.0f);
""",
        "arrive",
        "sync",
        says="by group ",
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
