"""Bad schedules of clusters and specialised warps, and promises that cannot be kept."""

from __future__ import annotations

from moedsl.ir.schedule import (
    Cooperation,
    EpilogueStore,
)
from tests.lower.bad_schedules import (
    BOTH,
    COMBINE,
    EXPERT_INSIDE,
    F32,
    GATHERED_INSIDE,
    GRADIENT,
    NARROW,
    RAGGED_INSIDE,
    SCATTERED,
    SMALL_BATCHES,
    SPECIALISED,
    TF32_COLUMNS_INSIDE,
    TF32_GATHERED,
    TF32_GATHERED_INSIDE,
    TF32_GRADIENT,
    TURNED,
    UP,
    Bad,
    tile,
)

SPECIAL = (
    Bad("MOE0420", "cluster n", "a cluster of 1 × 16 = 16 CTAs", {"cluster_columns": 16}),
    Bad(
        "MOE0421",
        "cluster m",
        "a cluster of 4 × 1 CTAs",
        SPECIALISED | {"cluster_rows": 4},
    ),
    Bad(
        "MOE0421",
        "cluster m",
        "a cluster of 2 × 2 CTAs",
        SPECIALISED | {"cluster_rows": 2, "cluster_columns": 2},
    ),
    Bad(
        "MOE0421",
        "cluster m",
        "CTAs of a pair compute equally high tiles, and `tails` makes the last one lower",
        SPECIALISED | tile(128) | {"cluster_rows": 2, "tails": (64,)},
    ),
    Bad("MOE0422", "cluster n", "sm_89 has no clusters", {"cluster_columns": 2}, UP, "sm_89"),
    Bad(
        "MOE0422",
        "cluster m",
        "sm_89 has no clusters",
        tile(128) | {"cluster_rows": 2, "tails": (64,)},
        UP,
        "sm_89",
    ),
    Bad(
        "MOE0418",
        "n=128",
        "the copy engine cannot bring in tile n 72",
        SPECIALISED | tile(128, 72) | {"cluster_rows": 2},
    ),
    Bad(
        "MOE0418",
        "n=128",
        "the copy engine cannot bring in tile n 512",
        SPECIALISED
        | tile(16, 512)
        | {"swap_ab": True, "consumers": 2, "stages": 3, "cluster_rows": 2},
    ),
    Bad(
        "MOE0418",
        "m=64",
        "the copy engine cannot bring in tile m 384",
        SPECIALISED | tile(384, 64) | {"swap_ab": True, "stages": 3, "cluster_rows": 2},
    ),
    Bad("MOE0423", "cluster n", "`cluster` needs specialised warps", {"cluster_columns": 2}),
    Bad(
        "MOE0423",
        "cluster m",
        "`cluster` needs specialised warps",
        {"cluster_rows": 2},
        GRADIENT,
        "sm_90",
    ),
    Bad(
        "MOE0423",
        "cluster n",
        "nothing is shared along n: rows come through a map",
        SPECIALISED | {"cluster_columns": 2},
        COMBINE,
    ),
    Bad(
        "MOE0423",
        "cluster n",
        "nothing is shared along n: rows come through a map",
        {"cluster_columns": 2},
        COMBINE,
    ),
    Bad("MOE0424", "consumer=232", "sm_90 has no specialised warps", SPECIALISED, sm="sm_90"),
    Bad("MOE0424", "consumer=232", "sm_100 has no specialised warps", SPECIALISED, sm="sm_100"),
    Bad(
        "MOE0425",
        "pingpong",
        "`pingpong` needs specialised warps",
        {"cooperation": Cooperation.PINGPONG, "consumers": 2},
    ),
    Bad(
        "MOE0425",
        "pingpong",
        "one consumer cannot take turns",
        SPECIALISED | {"cooperation": Cooperation.PINGPONG, "consumers": 1},
    ),
    Bad(
        "MOE0426",
        "store",
        "`epilogue store=tma` needs specialised warps",
        {"epilogue_store": EpilogueStore.TMA},
        sm="sm_80",
    ),
    *(
        Bad(
            "MOE0426",
            "store",
            "`epilogue store=tma` cannot store this kernel's outputs",
            SPECIALISED | {"epilogue_store": EpilogueStore.TMA},
            kernel,
        )
        for kernel in (COMBINE, SCATTERED, TURNED, NARROW)
    ),
    *(
        Bad(
            "MOE0428",
            field,
            f"{count} registers for a {role}",
            SPECIALISED | {f"{role}_registers": count},
        )
        for role, field, count in (
            ("producer", "producer=40", 16),
            ("producer", "producer=40", 44),
            ("consumer", "consumer=232", 248),
            ("consumer", "consumer=232", 236),
        )
    ),
    Bad("MOE0428", "consumer=232", "0 registers for a consumer", {"producer_registers": 40}),
    Bad("MOE0428", "producer=40", "0 registers for a producer", {"consumer_registers": 232}),
    Bad(
        "MOE0428",
        "consumer=232",
        "256 threads start with 248 registers each",
        SPECIALISED | tile(128, 128) | {"consumers": 1, "stages": 6},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "1024 threads start with 64 registers each",
        SPECIALISED
        | tile(64, 56)
        | {"consumers": 7, "producer_registers": 24, "consumer_registers": 56},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "1024 threads start with 64 registers each",
        SPECIALISED
        | tile(64, 56)
        | {"consumers": 7, "producer_registers": 72, "consumer_registers": 72},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "384 threads start with 168 registers each",
        SPECIALISED | {"consumer_registers": 160},
    ),
    Bad(
        "MOE0428",
        "consumer=232",
        "the roles take 544 registers for every 4 threads",
        SPECIALISED | tile(192, 128) | {"consumers": 3, "consumer_registers": 168, "stages": 4},
    ),
    *(
        Bad(
            "MOE0429",
            "consumer=232",
            "specialised warps cannot compute this kernel",
            SPECIALISED,
            k,
        )
        for k in (
            *(F32, RAGGED_INSIDE, EXPERT_INSIDE, GATHERED_INSIDE),
            *(TF32_GATHERED_INSIDE, TF32_GRADIENT),
        )
    ),
    Bad(
        "MOE0432",
        "consumer=232",
        "tf32 products cannot take n on their flat side",
        SPECIALISED | tile(depth=32),
        TF32_COLUMNS_INSIDE,
    ),
    Bad(
        "MOE0432",
        "consumer=232",
        "tf32 products cannot take m on their flat side",
        SPECIALISED | tile(depth=32) | {"swap_ab": True, "consumer_registers": 200},
        TF32_GATHERED,
    ),
    Bad(
        "MOE0430",
        "require",
        "`require deterministic` cannot be proved: y",
        {"require": BOTH[:1]},
        COMBINE,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved: y",
        {"require": BOTH[1:]},
        COMBINE,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved",
        {"require": BOTH},
        GRADIENT,
    ),
    Bad(
        "MOE0431",
        "require",
        "`require batch_invariant` cannot be proved",
        {"require": BOTH},
        UP,
        "sm_80",
        SMALL_BATCHES,
    ),
)
