"""Numbers for scalar arguments, on the host and on a device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import moedsl
from tests.api.fakes import FakeDevice, Tensor, tensor

TEXT = """
kernel scaled {{
    index e = 2
    index m = ragged(e)
    index n = 8
    index k = 16
    input  scale : {dtype}
    input  x : f16[m, k]
    input  w : f16[e, n, k]
    output y : f32[m, n]
    y[m, n] = scale * (sum[k] x[m, k] * w[e, n, k])
}}
"""


def compiled(dtype: str = "f32") -> Any:
    return moedsl.load(TEXT.format(dtype=dtype)).kernel().compile()


def arguments() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.integers(-1, 2, (5, 16)).astype(np.float16),
        "w": rng.integers(-1, 2, (2, 8, 16)).astype(np.float16),
        "offs": np.array([2, 5], np.int32),
    }


@pytest.mark.parametrize("two", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.float16(2)])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_a_number_is_as_good_as_an_array(two: Any, dtype: str) -> None:
    kernel, named = compiled(dtype), arguments()
    once = kernel(**named, scale=1)
    assert np.abs(once).max() > 0
    np.testing.assert_array_equal(kernel(**named, scale=two), 2 * once)
    if dtype != "bf16":
        array = np.array(2, {"f32": np.float32, "f16": np.float16}[dtype])
        np.testing.assert_array_equal(kernel(**named, scale=array), 2 * once)


def test_special_numbers_are_themselves() -> None:
    kernel, named = compiled(), arguments()
    assert np.isnan(kernel(**named, scale=math.nan)).all()
    assert np.isinf(kernel(**named, scale=-math.inf)).any()


@pytest.mark.parametrize(
    ("scale", "dtype", "text"),
    [
        (1e6, "f16", "MOE0516 'scale' is 1e+06, too large for f16"),
        (-1e39, "f32", "MOE0516 'scale' is -1e+39, too large for f32"),
        (10**400, "f32", "MOE0516 'scale' is beyond 1e308, too large for f32"),
        (True, "f32", "MOE0504 'scale' is no array but of type bool"),
        ("2", "f32", "MOE0504 'scale' is no array but of type str"),
        (np.zeros(1, np.float32), "f32", "MOE0505 'scale' has 1 dimensions, expected 0"),
    ],
)
def test_what_is_no_scalar(scale: Any, dtype: str, text: str) -> None:
    with pytest.raises(moedsl.DiagnosticError) as caught:
        compiled(dtype)(**arguments(), scale=scale)
    (found,) = caught.value.diagnostics
    assert f"{found.code} {found.message}".startswith(text)
    assert found.span is not None and found.source is not None
    assert "scale" in found.source.text[found.span.start : found.span.end]


def test_numbers_stand_for_scalars_alone() -> None:
    with pytest.raises(moedsl.DiagnosticError, match="'x' is no array but of type float"):
        compiled()(**{**arguments(), "x": 2.0}, scale=2.0)
    with pytest.raises(moedsl.DiagnosticError, match="'offs' is no array but of type int"):
        compiled()(**{**arguments(), "offs": 5}, scale=np.float32(2))


def on_device() -> dict[str, Tensor]:
    return {
        "x": tensor((5, 16), "float16", 1 << 20),
        "w": tensor((2, 8, 16), "float16", 1 << 21),
        "offs": tensor((2,), "int32", 1 << 22),
    }


def test_numbers_on_a_device(device: FakeDevice, made: list[Tensor]) -> None:
    kernel = compiled()
    results = [kernel(**on_device(), scale=scale, stream=5) for scale in (1, 2.0)]
    assert device.numbers == [(b"\0\0\x80\x3f", 0, 5), (b"\0\0\0\x40", 0, 5)]
    (executable,) = device.executables
    assert len(executable.bound) == 1
    assert [pointers[0] for pointers, _ in executable.launched] == [
        (1 << 35) + 16,
        (1 << 35) + 32,
    ]
    assert results == made
    kernel.warmup(**on_device(), scale=3, stream=6)
    assert device.numbers[2:] == [(b"\0\0\x40\x40", 0, 6)]


def test_numbers_on_a_device_are_checked_too(device: FakeDevice) -> None:
    with pytest.raises(moedsl.DiagnosticError, match="too large for f16"):
        compiled("f16")(**on_device(), scale=1e5)
    assert not device.numbers
