"""Bad schedules, rule by rule: what each breaks, where it points and what is said."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from moedsl.ir.core import Compute, DType
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Comparison,
    Cooperation,
    Eviction,
    ExpertOrder,
    Raster,
    Requirement,
    Schedule,
    TileShape,
)
from moedsl.lower.front import load_program
from moedsl.source.span import Source, Span
from tests.kernels import combine, grouped_gemm, weight_gradient

UP = grouped_gemm(8, 512, 256)
GRADIENT = weight_gradient(8, 512, 256)
COMBINE = combine(8, 512, 256)
F32 = grouped_gemm(8, 512, 256, DType.F32)
MANY = grouped_gemm(2000, 512, 256)
INNER_COLUMNS = grouped_gemm(8, 512, 256, weight="w[e,k,n]")
EXPERT_INSIDE = grouped_gemm(8, 512, 256, weight="w[n,k,e]")


def written(
    x: str = "m, k",
    y: str = "m, n",
    read: str = "m, k",
    write: str = "m, n",
    dtype: str = "bf16",
    compute: str = "bf16",
    n: object = 512,
    w: str = "e, n, k",
) -> MoeKernel:
    """A grouped product with other operands or outputs than usual."""
    text = f"""kernel gemm {{
        index e = 8; index m = ragged(e); index n = {n}; index k = 256; index t = dynamic
        input  x  : {dtype}[{x}]
        input  w  : {dtype}[{w}]
        input  at : i32[m]
        output y  : bf16[{y}]
        compute {compute}
        y[{write}] = sum[k] x[{read}] * w[{w}]
    }}"""
    (kernel,) = load_program(Source("gemm.moe", text)).kernels
    return kernel


RAGGED_INSIDE = written(x="k, m", read="k, m")
GATHERED = written(x="t, k", read="at[m], k")
GATHERED_INSIDE = written(x="k, t", read="k, at[m]")
SCATTERED = written(y="t, n", write="at[m], n")
NARROW = grouped_gemm(8, 516, 256)
OPEN = written(n="dynamic")
TURNED = written(y="n, m", write="n, m")


def in_tf32(kernel: MoeKernel) -> MoeKernel:
    """A kernel of f32 with the line `compute tf32`."""
    return replace(kernel, signature=replace(kernel.signature, compute=Compute.TF32))


TF32 = in_tf32(F32)
TF32_GATHERED = written("t, k", read="at[m], k", dtype="f32", compute="tf32")
TF32_COLUMNS_INSIDE = in_tf32(grouped_gemm(8, 512, 256, DType.F32, weight="w[e,k,n]"))
TF32_GATHERED_INSIDE = written("t, k", read="at[m], k", dtype="f32", compute="tf32", w="e, k, n")
TF32_GRADIENT = in_tf32(weight_gradient(8, 512, 256, DType.F32))

DIRECTIVES = {
    "tile.rows": "m=64",
    "tile.columns": "n=128",
    "tile.depth": "k=64",
    "tails": "tails",
    "balanced": "balanced",
    "stages": "stages",
    "consumers": "consumers",
    "cooperation": "pingpong",
    "producer_registers": "producer=40",
    "consumer_registers": "consumer=232",
    "cluster_rows": "cluster m",
    "cluster_columns": "cluster n",
    "row_eviction": "cache m",
    "column_eviction": "cache n",
    "order": "order",
    "raster.group": "group",
    "fuse_rows": "fuse",
    "split_k": "split_k",
    "epilogue_store": "store",
    "require": "require",
}
"""What stands in the source for each directive."""

TEXT = f"schedule s for gemm {{ {' '.join(DIRECTIVES.values())} }}"
SPANS = {
    name: Span(TEXT.index(f" {word}") + 1, TEXT.index(f" {word}") + 1 + len(word))
    for name, word in DIRECTIVES.items()
}
LEGAL = Schedule(TileShape(64, 128, 64))


@dataclass(frozen=True)
class Bad:
    """A schedule that breaks one rule, and what is said about it."""

    code: str
    points_at: str
    message: str
    changes: dict[str, Any]
    kernel: MoeKernel = UP
    sm: str = "sm_90a"
    request: dict[str, Any] = field(default_factory=dict)


def tile(rows: int = 64, columns: int = 128, depth: int = 64) -> dict[str, Any]:
    """A change of the tile."""
    return {"tile": TileShape(rows, columns, depth)}


ROLES = {"producer_registers": 40, "consumer_registers": 232}
SPECIALISED: dict[str, Any] = {"consumers": 2} | ROLES
BOTH = (Requirement.DETERMINISTIC, Requirement.BATCH_INVARIANT)
SMALL_BATCHES = {"when": (Comparison("<=", 512),)}

PORTABLE = (
    Bad(
        "MOE0401",
        TEXT,
        "schedule s is for sm_90a, not for sm_80",
        {},
        UP,
        "sm_80",
        {"on": "sm_90a"},
    ),
    Bad(
        "MOE0401", TEXT, "schedule s is for sm_90, not for sm_89", {}, UP, "sm_89", {"on": "sm_90"}
    ),
    Bad("MOE0402", "m=64", "tile m is 0", tile(rows=0)),
    Bad("MOE0402", "k=64", "tile k is -8", tile(depth=-8)),
    Bad("MOE0402", "group", "raster group is 0", {"raster": Raster(group=0)}),
    Bad("MOE0402", "cluster n", "cluster n is 0", {"cluster_columns": 0}),
    Bad("MOE0403", "tails", "tail 64 is not below 64", {"tails": (64, 32)}),
    Bad("MOE0403", "tails", "tail 32 is not below 16", {"tails": (16, 32)}),
    Bad("MOE0403", "tails", "tail 16 is not below 16", {"tails": (16, 16)}),
    Bad("MOE0403", "tails", "tail 0 is no size", {"tails": (16, 0), "balanced": True}),
    Bad("MOE0404", "fuse", "`fuse` needs ragged output rows", {"fuse_rows": 8}, GRADIENT),
    Bad(
        "MOE0405",
        "fuse",
        "`fuse` takes experts of up to 65 rows, but a tile has 64",
        {"fuse_rows": 65},
    ),
    Bad(
        "MOE0406",
        "order",
        "`order longest` needs ragged output rows",
        {"order": ExpertOrder.LONGEST},
        GRADIENT,
    ),
    Bad(
        "MOE0406",
        "order",
        "`order interleaved` needs ragged output rows",
        {"order": ExpertOrder.INTERLEAVED},
        GRADIENT,
    ),
    Bad(
        "MOE0407",
        "order",
        "`order longest` sorts at most 1024 experts",
        {"order": ExpertOrder.LONGEST},
        MANY,
    ),
    Bad("MOE0408", "stages", "1 stages", {"stages": 1}),
    Bad("MOE0408", "stages", "9 stages", {"stages": 9}),
    Bad("MOE0409", "consumers", "0 consumers", {"consumers": 0}),
    Bad("MOE0409", "consumers", "9 consumers", {"consumers": 9}),
    Bad("MOE0409", "consumers", "8 consumers", {"consumers": 8} | ROLES),
    Bad("MOE0410", "split_k", "`split_k 0`", {"split_k": 0}),
    Bad("MOE0410", "split_k", "`split_k 65`", {"split_k": 65}),
    Bad("MOE0410", "split_k", "`split_k 5` leaves parts without work", {"split_k": 5}),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 72", tile(rows=72)),
    Bad("MOE0411", "n=128", "no MMA shape fits tile n 100", tile(columns=100)),
    Bad("MOE0411", "tails", "no MMA shape fits tail 8", {"tails": (32, 8)}),
    Bad("MOE0411", "n=128", "no MMA shape fits tile n 120", tile(columns=120) | {"swap_ab": True}),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 60", tile(60, 128, 32), F32),
    Bad("MOE0411", "m=64", "no MMA shape fits tile m 80", SPECIALISED | tile(rows=80)),
    Bad(
        "MOE0411",
        "n=128",
        "no MMA shape fits tile n 96",
        SPECIALISED | tile(columns=96) | {"swap_ab": True},
    ),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 16", tile(depth=16)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 96", tile(depth=96)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 256", tile(depth=256), F32),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 32", SPECIALISED | tile(depth=32)),
    Bad("MOE0412", "k=64", "no stage layout fits tile k 512", SPECIALISED | tile(depth=512)),
    *(
        Bad(
            "MOE0412", "k=64", f"no stage layout fits tile k {k}", SPECIALISED | tile(depth=k), TF32
        )
        for k in (16, 256)
    ),
    Bad(
        "MOE0413",
        "consumers",
        "16 warps cannot share a tile of 16 × 64",
        tile(16, 64) | {"consumers": 4},
    ),
    Bad("MOE0413", "consumers", "4 warps cannot share a tile of 16 × 24", tile(16, 24)),
    Bad(
        "MOE0413",
        "consumers",
        "8 warps cannot share a tile of 16 × 32",
        tile(64, 32) | {"consumers": 2, "tails": (16,)},
    ),
    Bad(
        "MOE0414",
        "stages",
        "the schedule asks for ",
        {"stages": 5} | tile(128, 256) | {"consumers": 2},
    ),
    Bad(
        "MOE0414",
        "stages",
        "the schedule asks for ",
        tile(128, 128) | {"stages": 4, "consumers": 2},
        UP,
        "sm_120",
    ),
    Bad("MOE0415", "n=128", "the schedule needs about ", tile(256, 256, 32)),
    Bad(
        "MOE0415",
        "n=128",
        "the schedule needs about 224 registers a thread",
        SPECIALISED
        | tile(128, 192)
        | {
            "cooperation": Cooperation.PINGPONG,
            "producer_registers": 72,
            "consumer_registers": 216,
        },
    ),
    Bad(
        "MOE0415",
        "n=128",
        "the schedule needs about 288 registers a thread",
        SPECIALISED | tile(256, 256) | {"stages": 2},
    ),
    Bad(
        "MOE0415",
        "m=64",
        "a product of 64 × 208 takes 130 registers a thread",
        SPECIALISED
        | tile(208, 64)
        | {"consumers": 3, "producer_registers": 32, "consumer_registers": 160}
        | {"swap_ab": True, "cooperation": Cooperation.PINGPONG},
    ),
    Bad(
        "MOE0415",
        "n=128",
        "the schedule needs about 240 registers a thread",
        SPECIALISED
        | tile(192, 128, 32)
        | {"swap_ab": True, "cooperation": Cooperation.PINGPONG, "stages": 2},
        TF32_COLUMNS_INSIDE,
    ),
    Bad(
        "MOE0415",
        "n=128",
        "a product of 64 × 200 takes 130 registers a thread",
        SPECIALISED
        | tile(128, 200, 32)
        | {"producer_registers": 56, "consumer_registers": 200, "stages": 2},
        TF32_GATHERED,
    ),
    Bad(
        "MOE0415",
        "n=128",
        "a product of 64 × 256 takes 154 registers a thread",
        SPECIALISED
        | tile(192, 256)
        | {"consumers": 3, "producer_registers": 24, "consumer_registers": 160, "stages": 3},
    ),
    Bad("MOE0415", "n=128", "the schedule needs about 92 ", tile(128, 128) | {"consumers": 8}),
    Bad(
        "MOE0416",
        "balanced",
        "`balanced` shares rows in units of 48, but a tile has 64",
        {"tails": (48,), "balanced": True},
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 64 × 72",
        SPECIALISED | tile(64, 72),
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 8 × 64",
        SPECIALISED | tile(16, 64) | {"tails": (8,), "swap_ab": True},
    ),
    Bad(
        "MOE0417",
        "consumers",
        "2 consumers cannot share a tile of 64 × 96",
        SPECIALISED | tile(64, 96),
        INNER_COLUMNS,
    ),
    Bad(
        "MOE0418",
        "m=64",
        "the copy engine cannot bring in tile m 264",
        SPECIALISED | tile(264, 64) | {"swap_ab": True, "consumers": 3, "consumer_registers": 152},
    ),
    Bad(
        "MOE0418",
        "tails",
        "the copy engine cannot bring in tail 24",
        SPECIALISED | {"tails": (24,), "swap_ab": True, "cluster_columns": 2},
    ),
    Bad(
        "MOE0418",
        "n=128",
        "the copy engine cannot bring in tile n 320",
        SPECIALISED | tile(64, 320),
    ),
    Bad(
        "MOE0419",
        "cache m",
        "`cache` needs specialised warps",
        {"row_eviction": Eviction.LAST},
    ),
    Bad(
        "MOE0419",
        "cache n",
        "`cache` needs specialised warps",
        {"column_eviction": Eviction.FIRST},
        sm="sm_80",
    ),
    Bad(
        "MOE0419",
        "cache n",
        "`cache` needs specialised warps",
        {"column_eviction": Eviction.FIRST},
        GATHERED,
    ),
    Bad(
        "MOE0419",
        "cache m",
        "`cache` for m, which come through a map",
        SPECIALISED | {"row_eviction": Eviction.FIRST, "column_eviction": Eviction.LAST},
        GATHERED,
    ),
    Bad(
        "MOE0427",
        "cache m",
        "`once` for m, which the tiles of all n read again",
        SPECIALISED | {"row_eviction": Eviction.ONCE},
    ),
    Bad(
        "MOE0427",
        "cache n",
        "`once` for k, which equally many tiles read in every expert",
        SPECIALISED | {"column_eviction": Eviction.ONCE},
        GRADIENT,
    ),
)
