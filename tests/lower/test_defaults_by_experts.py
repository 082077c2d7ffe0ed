"""Defaults where many experts leave less and less shared memory: the next best is taken."""

from __future__ import annotations

from itertools import pairwise

import pytest

from moedsl.ir.core import Compute
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.target import TARGETS
from tests.cuda.kernels import forward
from tests.lower.test_defaults import shown

BY_EXPERTS: dict[tuple[str, str, int | None], dict[int, str]] = {
    ("bf16", "sm_80", None): {
        64: "128x256x64 stages=3 consumers=2 tails=96,64,32",
        86: "128x256x32 stages=5 consumers=2 tails=96,64,32",
        3146: "128x256x32 stages=4 consumers=2 tails=96,64,32",
        6224: "128x128x32 stages=6 consumers=2 tails=96,64,32",
        7236: "128x128x32 stages=5 consumers=2 tails=96,64,32",
        9290: "128x128x32 stages=4 consumers=2 tails=96,64,32",
        11344: "128x128x32 stages=3 consumers=2 tails=96,64,32",
        13398: "128x64x32 stages=4 consumers=1 tails=96,64,32",
        14032: "128x64x32 stages=3 consumers=1 tails=96,64,32",
        15574: "64x64x32 stages=4 consumers=1 tails=32",
        16080: "64x64x32 stages=3 consumers=1 tails=32",
        17110: "64x64x32 stages=2 consumers=1 tails=32",
    },
    ("bf16", "sm_80", 100): {
        64: "64x128x64 stages=3 consumers=1 tails=32",
        470: "64x128x32 stages=5 consumers=1 tails=32",
        1994: "64x128x32 stages=4 consumers=1 tails=32",
        3536: "64x128x32 stages=3 consumers=1 tails=32",
        5078: "64x64x32 stages=4 consumers=1 tails=32",
        16080: "64x64x32 stages=3 consumers=1 tails=32",
        17110: "64x64x32 stages=2 consumers=1 tails=32",
    },
    ("bf16", "sm_80", 32): {
        64: "48x128x64 stages=3 consumers=1 tails=32,24,16,8 swap",
        1302: "32x128x32 stages=6 consumers=1 tails=24,16,8 swap",
        2052: "32x128x32 stages=5 consumers=1 tails=24,16,8 swap",
        3338: "32x128x32 stages=4 consumers=1 tails=24,16,8 swap",
        4624: "32x128x32 stages=3 consumers=1 tails=24,16,8 swap",
        5910: "32x64x32 stages=4 consumers=1 tails=24,16,8 swap",
        17424: "32x64x32 stages=3 consumers=1 tails=24,16,8 swap",
        18198: "32x64x32 stages=2 consumers=1 tails=24,16,8 swap",
        18972: "32x64x32 stages=2 consumers=1 tails=",
    },
    ("bf16", "sm_80", 4): {
        64: "16x64x64 stages=6 consumers=1 tails=8 swap",
        2308: "16x64x64 stages=5 consumers=1 tails=8 swap",
        3594: "16x64x64 stages=4 consumers=1 tails=8 swap",
        4880: "16x64x64 stages=3 consumers=1 tails=8 swap",
        6166: "16x64x32 stages=4 consumers=1 tails=8 swap",
        17936: "16x64x32 stages=3 consumers=1 tails=8 swap",
        18582: "16x64x32 stages=2 consumers=1 tails=8 swap",
        19228: "32x64x32 stages=2 consumers=1 tails=",
    },
    ("bf16", "sm_90", None): {
        64: "128x128x64 stages=3 consumers=1 tails=96,64,32",
        982: "128x256x64 stages=4 consumers=2 tails=96,64,32",
        2128: "128x256x64 stages=3 consumers=2 tails=96,64,32",
        8278: "128x256x32 stages=5 consumers=2 tails=96,64,32",
        11338: "128x256x32 stages=4 consumers=2 tails=96,64,32",
        14416: "128x128x32 stages=6 consumers=2 tails=96,64,32",
        15428: "128x128x32 stages=5 consumers=2 tails=96,64,32",
        17482: "128x128x32 stages=4 consumers=2 tails=96,64,32",
        19536: "128x128x32 stages=3 consumers=2 tails=96,64,32",
        21590: "128x64x32 stages=4 consumers=1 tails=96,64,32",
        22224: "128x64x32 stages=3 consumers=1 tails=96,64,32",
        23766: "64x64x32 stages=4 consumers=1 tails=32",
        24272: "64x64x32 stages=3 consumers=1 tails=32",
        25302: "64x64x32 stages=2 consumers=1 tails=32",
    },
    ("bf16", "sm_90", 100): {
        64: "128x128x64 stages=3 consumers=1 tails=96,64,32",
        982: "64x128x64 stages=4 consumers=1 tails=32",
        1488: "64x128x64 stages=3 consumers=1 tails=32",
        4566: "64x128x32 stages=5 consumers=1 tails=32",
        6090: "64x128x32 stages=4 consumers=1 tails=32",
        7632: "64x128x32 stages=3 consumers=1 tails=32",
        9174: "64x64x32 stages=4 consumers=1 tails=32",
        24272: "64x64x32 stages=3 consumers=1 tails=32",
        25302: "64x64x32 stages=2 consumers=1 tails=32",
    },
    ("bf16", "sm_90", 32): {
        64: "48x128x64 stages=4 consumers=1 tails=32,24,16,8 swap",
        2576: "48x128x64 stages=3 consumers=1 tails=32,24,16,8 swap",
        5398: "32x128x32 stages=6 consumers=1 tails=24,16,8 swap",
        6148: "32x128x32 stages=5 consumers=1 tails=24,16,8 swap",
        7434: "32x128x32 stages=4 consumers=1 tails=24,16,8 swap",
        8720: "32x128x32 stages=3 consumers=1 tails=24,16,8 swap",
        10006: "32x64x32 stages=4 consumers=1 tails=24,16,8 swap",
        25616: "32x64x32 stages=3 consumers=1 tails=24,16,8 swap",
        26390: "32x64x32 stages=2 consumers=1 tails=24,16,8 swap",
        27164: "32x64x32 stages=2 consumers=1 tails=",
    },
    ("bf16", "sm_90", 4): {
        64: "16x64x128 stages=5 consumers=1 tails=8 swap",
        1290: "16x64x128 stages=4 consumers=1 tails=8 swap",
        3856: "16x64x64 stages=6 consumers=1 tails=8 swap",
        6404: "16x64x64 stages=5 consumers=1 tails=8 swap",
        7690: "16x64x64 stages=4 consumers=1 tails=8 swap",
        8976: "16x64x64 stages=3 consumers=1 tails=8 swap",
        10262: "16x64x32 stages=4 consumers=1 tails=8 swap",
        26128: "16x64x32 stages=3 consumers=1 tails=8 swap",
        26774: "16x64x32 stages=2 consumers=1 tails=8 swap",
        27420: "32x64x32 stages=2 consumers=1 tails=",
    },
    ("f32", "sm_80", None): {
        64: "128x64x32 stages=3 consumers=1 tails=96,64,32",
        470: "128x64x32 stages=2 consumers=1 tails=96,64,32",
        3548: "64x64x16 stages=4 consumers=1 tails=32",
        16080: "64x64x16 stages=3 consumers=1 tails=32",
        17110: "64x64x16 stages=2 consumers=1 tails=32",
    },
    ("f32", "sm_80", 32): {
        64: "32x64x32 stages=4 consumers=1 tails=",
        3536: "32x64x32 stages=3 consumers=1 tails=",
        5078: "32x64x32 stages=2 consumers=1 tails=",
        6620: "32x64x16 stages=4 consumers=1 tails=",
        17104: "32x64x16 stages=3 consumers=1 tails=",
        17878: "32x64x16 stages=2 consumers=1 tails=",
        18652: "32x64x16 stages=2 consumers=1 tails=",
    },
    ("f32", "sm_90", None): {
        64: "128x64x32 stages=4 consumers=1 tails=96,64,32",
        1488: "128x64x32 stages=3 consumers=1 tails=96,64,32",
        4566: "128x64x32 stages=2 consumers=1 tails=96,64,32",
        7644: "64x64x16 stages=4 consumers=1 tails=32",
        24272: "64x64x16 stages=3 consumers=1 tails=32",
        25302: "64x64x16 stages=2 consumers=1 tails=32",
    },
    ("f32", "sm_90", 32): {
        64: "32x64x32 stages=4 consumers=1 tails=",
        7632: "32x64x32 stages=3 consumers=1 tails=",
        9174: "32x64x32 stages=2 consumers=1 tails=",
        10716: "32x64x16 stages=4 consumers=1 tails=",
        25296: "32x64x16 stages=3 consumers=1 tails=",
        26070: "32x64x16 stages=2 consumers=1 tails=",
        26844: "32x64x16 stages=2 consumers=1 tails=",
    },
}
"""By type, target and rows per expert: the choice from so many experts on."""


@pytest.mark.parametrize(("compute", "sm", "rows"), BY_EXPERTS)
def test_choices_step_down_as_experts_take_shared_memory(
    compute: str, sm: str, rows: int | None
) -> None:
    def chosen(experts: int) -> str:
        kernel = forward(experts, n=4096, k=4096, compute=Compute(compute))
        total = None if rows is None else rows * experts
        return shown(choose_schedule(kernel, TARGETS[sm], None, total))

    steps = BY_EXPERTS[compute, sm, rows]
    found = {experts: chosen(experts) for experts in steps}
    assert found == steps
    for before, after in pairwise(steps):
        assert chosen(after - 1) == steps[before]
