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

NARROW = {
    64: "128x32x64 stages=3 consumers=1 tails=96,64,32",
    2006: "128x32x64 stages=4 consumers=2 tails=96,64,32",
    9296: "128x32x64 stages=3 consumers=2 tails=96,64,32",
    11862: "128x32x32 stages=5 consumers=2 tails=96,64,32",
    13130: "128x32x32 stages=4 consumers=2 tails=96,64,32",
    14416: "128x32x32 stages=3 consumers=2 tails=96,64,32",
    15702: "128x32x32 stages=3 consumers=1 tails=96,64,32",
    16342: "64x32x32 stages=4 consumers=1 tails=32",
    17104: "64x32x32 stages=3 consumers=1 tails=32",
    17878: "64x32x32 stages=2 consumers=1 tails=32",
    18652: "32x32x32 stages=2 consumers=1 tails=",
}
"""The same for a matrix of 32 columns, to which every tile is cut."""

STEPS = {(*key, 4096): steps for key, steps in BY_EXPERTS.items()}
STEPS["bf16", "sm_80", None, 32] = NARROW


@pytest.mark.parametrize(("compute", "sm", "rows", "columns"), STEPS)
def test_choices_step_down_as_experts_take_shared_memory(
    compute: str, sm: str, rows: int | None, columns: int
) -> None:
    def chosen(experts: int) -> str:
        kernel = forward(experts, n=columns, k=4096, compute=Compute(compute))
        total = None if rows is None else rows * experts
        return shown(choose_schedule(kernel, TARGETS[sm], None, total))

    steps = STEPS[compute, sm, rows, columns]
    found = {experts: chosen(experts) for experts in steps}
    assert found == steps
    for before, after in pairwise(steps):
        assert chosen(after - 1) == steps[before]
