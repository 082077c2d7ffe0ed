"""The emulator gives, bit for bit, what Hopper GPUs gave; where there is one, it still does.

`python -m tests.conformance` runs all launches of all cases; here it is a part of each.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from moedsl.backends.cuda.emission.wgmma import Major, WgmmaShape, WgmmaType, wgmma_text
from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle
from moedsl.backends.emulator.report import EmulationError
from moedsl.ir.core import DType
from tests.conformance.case import Random, digest
from tests.conformance.clips import CLIPS, Clip, clip_case, expected
from tests.conformance.device import DeviceKernel
from tests.conformance.fragments import FORMS, fragment_case
from tests.conformance.fragments import expected as fragment_words
from tests.conformance.model import run_model
from tests.conformance.roundings import EXPONENTS, rounding_case
from tests.conformance.roundings import expected as rounded
from tests.conformance.run import all_cases, recorded

if TYPE_CHECKING:
    from tests.conformance.case import Arrays

COMPARED = [name for name in all_cases() if name in recorded()]
MORE_COLUMNS = (8, 24, 120, 256)
"""Of the many numbers of columns, those that are run every time."""


def _quick(name: str) -> bool:
    words = name.split()
    return words[0] != "wgmma" or "integers" not in words or int(words[2][1:]) in MORE_COLUMNS


@pytest.mark.parametrize("name", [name for name in COMPARED if _quick(name)])
def test_model_gives_what_the_hardware_gave(name: str) -> None:
    assert digest(run_model(all_cases()[name], 0)) == recorded()[name][0]


def test_every_case_was_compared_and_every_record_is_of_a_case() -> None:
    assert recorded().keys() == all_cases().keys()


@pytest.mark.gpu
@pytest.mark.parametrize("primitive", sorted({case.primitive for case in all_cases().values()}))
def test_hardware_gives_what_the_model_gives(primitive: str) -> None:
    for case in all_cases().values():
        if case.primitive == primitive:
            assert digest(DeviceKernel(case).run(0)) == digest(run_model(case, 0)), case.name


def test_every_primitive_has_ten_thousand_vectors() -> None:
    counts: dict[str, int] = defaultdict(int)
    for case in all_cases().values():
        if not case.primitive.startswith("gemm"):
            counts[case.primitive] += case.vectors * case.launches
    assert {p: n for p, n in counts.items() if n < 10_000} == {}


def test_every_number_of_columns_is_compared() -> None:
    for kind in WgmmaType:
        columns = {int(n.split()[2][1:]) for n in COMPARED if n.startswith(f"wgmma {kind.value} ")}
        assert columns == set(range(8, 257, 8))


def test_random_numbers_never_change() -> None:
    random = Random("name", 3)
    assert random.integers(-9, 9, 6).tolist() == FIRST_INTEGERS
    assert sorted(random.order(50).tolist()) == list(range(50))


FIRST_INTEGERS = [-6, -9, -9, 4, 7, 3]


def test_innermost_coordinate_must_be_a_multiple_of_16_bytes() -> None:
    """With boxes that start anywhere an H200 stops: the emulator says what is wrong."""
    case = all_cases()["tensor_load 2d swizzle-0 f16"]

    def inputs(random: Random) -> Arrays:
        arrays = dict(case.inputs(random))
        arrays["corner"] = arrays["corner"] + np.array([1, 0], np.int32)
        return arrays

    with pytest.raises(EmulationError, match="16 bytes"):
        run_model(replace(case, inputs=inputs), 0)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_boxes_end_where_the_coordinates_say(clip: Clip) -> None:
    case = clip_case(clip)
    want = expected(case, clip, 0)
    (data,) = run_model(case, 0)
    np.testing.assert_array_equal(np.frombuffer(data, np.uint16).reshape(want.shape), want)


@pytest.mark.parametrize(("major", "rounds"), FORMS)
def test_fragments_are_what_the_instruction_takes(major: Major, rounds: bool) -> None:
    case = fragment_case(major, rounds)
    want = fragment_words(case, major, rounds)
    (data,) = run_model(case, 0)
    np.testing.assert_array_equal(np.frombuffer(data, np.uint32).reshape(want.shape), want)


@pytest.mark.parametrize("kind", EXPONENTS)
def test_loads_round_to_the_nearest_tf32(kind: str) -> None:
    case = rounding_case(kind)
    want = rounded(case, 0)
    (data,) = run_model(case, 0)
    np.testing.assert_array_equal(np.frombuffer(data, np.uint32), want)


def test_obstacles_of_tensor_maps_are_named() -> None:
    good = TensorMap(DType.BF16, (64, 9), (128,), (64, 8), swizzle=TensorSwizzle.B128)
    assert good.obstacle() is None
    assert good.box_bytes == 1024
    for bad, word in (
        (TensorMap(DType.BF16, (64, 9), (100,), (64, 8)), "stride"),
        (TensorMap(DType.BF16, (64, 9), (128,), (64, 257)), "box of 257"),
        (TensorMap(DType.BF16, (64, 9), (128,), (63, 8)), "rows of 126 bytes"),
        (TensorMap(DType.F32, (64, 9), (256,), (64, 8), swizzle=TensorSwizzle.B128), "wider"),
        (TensorMap(DType.BF16, (64, 0), (128,), (64, 8)), "extent of 0"),
        (TensorMap(DType.BF16, (64,) * 6, (128,) * 5, (8,) * 6), "6 dimensions"),
        (TensorMap(DType.BF16, (64, 9), (128,), (64, 8), (1, 9)), "step of 9"),
        (TensorMap(DType.BF16, (64, 9), (128,), (64, 8), tf32=True), "bf16 to be rounded"),
    ):
        assert word in (bad.obstacle() or "")
    assert "multiples of 16" in (good.obstacle(8) or "")


def test_shapes_that_wgmma_lacks_are_refused() -> None:
    for columns in (0, 4, 12, 264):
        with pytest.raises(ValueError, match="columns"):
            WgmmaShape(WgmmaType.BF16, columns)
    text = wgmma_text([WgmmaShape(WgmmaType.F16, 8), WgmmaShape(WgmmaType.F16, 8)])
    assert text.count("wgmma.mma_async") == 2
