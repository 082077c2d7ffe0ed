"""What is wrong with the arguments of a call is said by name, with what was expected and got."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from moedsl.checked import CheckedCall, check_call
from moedsl.ir.core import DType
from moedsl.ir.moe import MoeKernel
from moedsl.source.diagnostic import DiagnosticError
from tests.api.fakes import tensor
from tests.api.kernels import forward

BF16 = ml_dtypes.bfloat16
PLAIN = forward(experts=3, columns=8, depth=16)
GATHER = forward(experts=3, columns=8, depth=16, gather=True, scatter=True)


def arguments(**other: Any) -> dict[str, Any]:
    """A legal call of PLAIN with 10 rows, but for ``other``."""
    return {
        "x": np.zeros((10, 16), BF16),
        "w": np.zeros((3, 8, 16), BF16),
        "offs": np.array([4, 4, 10], np.int32),
        **other,
    }


def check(
    named: dict[str, Any], out: list[Any] | None = None, kernel: MoeKernel = PLAIN
) -> CheckedCall:
    return check_call(kernel, list(named.values()), out, None, debug=False)


def complaint(
    named: dict[str, Any], out: list[Any] | None = None, kernel: MoeKernel = PLAIN
) -> str:
    """Code, message and help of the one diagnostic there is."""
    with pytest.raises(DiagnosticError) as caught:
        check(named, out, kernel)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.message} | {diagnostic.help}"


def test_a_legal_call() -> None:
    checked = check(arguments())
    assert checked.call.sizes == {"e": 3, "n": 8, "k": 16, "m": 10}
    assert set(checked.call.arrays) == {"x", "w", "y"}
    (made,) = checked.outputs
    assert made.shape == (10, 8) and made.dtype == BF16
    given = np.zeros((10, 8), BF16)
    assert check(arguments(), [given]).outputs[0] is given


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"x": [1]}, "MOE0504 'x' is no array but of type list"),
        ({"x": np.zeros((10, 16))}, "MOE0506 'x' holds float64, expected bf16"),
        ({"x": np.zeros((10, 16), np.float16)}, "MOE0506 'x' holds f16, expected bf16"),
        ({"x": np.zeros(10, BF16)}, "MOE0505 'x' has 1 dimensions, expected 2"),
        (
            {"w": np.zeros((3, 16, 8), BF16)},
            "dimension 1 of 'w' ('n') is 16, expected 8: got shape (3, 16, 8)",
        ),
        ({"w": np.zeros((4, 8, 16), BF16)}, "MOE0505 dimension 0 of 'w' ('e') is 4, expected 3"),
        ({"offs": np.zeros(4, np.int32)}, "pass offs[1:]"),
        ({"offs": np.zeros((3, 1), np.int32)}, "MOE0507 'offs' has shape (3, 1), expected (3,)"),
        ({"offs": np.zeros(6, np.int32)[::2]}, "MOE0507 'offs' has stride 2, expected 1"),
        ({"offs": np.zeros(3, np.int64)}, "'offs' holds int64, expected i32 | convert it"),
        ({"offs": np.array([4, 3, 10], np.int32)}, "MOE0512 'offs' falls from 4 to 3 at expert 1"),
        ({"offs": np.array([-1, 3, 9], np.int32)}, "'offs' falls from 0 to -1 at expert 0"),
        ({"offs": np.array([4, 4, 11], np.int32)}, "'offs' ends at 11, but 'm' has 10 positions"),
    ],
)
def test_wrong_inputs(other: dict[str, Any], text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        check(arguments(**other))
    found = caught.value.diagnostics
    assert text in " ".join(f"{d.code} {d.message} | {d.help}" for d in found)


def test_swapped_dimensions_are_recognised() -> None:
    with pytest.raises(DiagnosticError) as caught:
        check(arguments(w=np.zeros((3, 16, 8), BF16)))
    assert all("order of the declaration" in d.help for d in caught.value.diagnostics)


def test_all_findings_of_a_stage_come_together() -> None:
    with pytest.raises(DiagnosticError) as caught:
        check(arguments(x=np.zeros((10, 15), BF16), w=np.zeros((3, 9, 16), np.float32)))
    assert [d.code for d in caught.value.diagnostics] == ["MOE0505", "MOE0506", "MOE0505"]


def test_wrong_outputs() -> None:
    assert "MOE0505 dimension 0 of 'y' ('m') is 9, expected 10" in complaint(
        arguments(), [np.zeros((9, 8), BF16)]
    )
    frozen = np.zeros((10, 8), BF16)
    frozen.flags.writeable = False
    assert "MOE0509 output 'y' is read-only" in complaint(arguments(), [frozen])
    spread = np.lib.stride_tricks.as_strided(np.zeros(8, BF16), (10, 8), (0, 2))
    assert "MOE0510 different elements of output 'y'" in complaint(arguments(), [spread])


def test_overlap_of_output_and_input() -> None:
    memory = np.zeros((10, 24), BF16)
    x = memory[:, :16]
    beside, across = memory[:, 16:], memory[:, 15:23]
    assert check(arguments(x=x), [beside]).outputs[0] is beside
    assert "MOE0510 output 'y' shares memory with 'x'" in complaint(arguments(x=x), [across])


def test_devices_must_agree() -> None:
    device = {
        "x": tensor((10, 16)),
        "w": tensor((3, 8, 16), pointer=1 << 21),
        "offs": tensor((3,), "int32", 1 << 22),
    }
    assert check(device).call.offs.device == 0
    moved = {**device, "w": tensor((3, 8, 16), device=1)}
    assert "MOE0508 'w' lies on CUDA device 1, 'offs' on CUDA device 0" in complaint(moved)
    mixed = {**device, "w": np.zeros((3, 8, 16), BF16)}
    assert "MOE0508 'w' lies on the host, 'offs' on CUDA device 0" in complaint(mixed)


def gathering(**other: Any) -> dict[str, Any]:
    return {
        "src": np.array([0, 1, 2, 5], np.int32),
        "dst": np.array([3, 1, 0, 9], np.int32),
        "x": np.zeros((6, 16), BF16),
        "w": np.zeros((3, 8, 16), BF16),
        "offs": np.array([2, 2, 4], np.int32),
        **other,
    }


def test_maps() -> None:
    y = np.zeros((10, 8), BF16)
    assert check(gathering(), [y], GATHER).call.sizes["t"] == 6
    wrong = gathering(src=np.array([0, 1, 6, -1], np.int32))
    assert "MOE0513 'src[2]' is 6, expected 0 to 5" in complaint(wrong, [y], GATHER)
    twice = gathering(dst=np.array([3, 1, 3, 0], np.int32))
    assert "MOE0514 'dst[0]' and 'dst[2]' are both 3" in complaint(twice, [y], GATHER)
    unowned = gathering(src=np.array([0, 1, 6, -1], np.int32), offs=np.array([0, 1, 2], np.int32))
    assert check(unowned, [y], GATHER)
    assert "MOE0511 the extent of 'u' in output 'y' is unknown | pass the output" in complaint(
        gathering(), None, GATHER
    )


def test_adding_through_a_map_may_meet() -> None:
    kernel = forward(3, 8, 16, scatter=True, accumulate=True, out=DType.F32)
    named = {
        "dst": np.zeros(4, np.int32),
        "x": np.zeros((4, 16), BF16),
        "w": np.zeros((3, 8, 16), BF16),
        "offs": np.array([2, 2, 4], np.int32),
    }
    assert check(named, [np.zeros((2, 8), np.float32)], kernel)


def test_contents_on_a_device_are_read_in_debug_mode_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.api import fakes

    named = {
        "x": tensor((10, 16)),
        "w": tensor((3, 8, 16), pointer=1 << 21),
        "offs": tensor((3,), "int32", 1 << 22),
    }
    host = np.array([4, 3, 10], np.int32)

    class Host:
        dtype = "torch.int32"

        def numpy(self) -> Any:
            return host

    monkeypatch.setattr(fakes.Tensor, "detach", lambda self: self, raising=False)
    monkeypatch.setattr(fakes.Tensor, "cpu", lambda self: Host(), raising=False)
    check(named)
    with pytest.raises(DiagnosticError, match="falls from 4 to 3"):
        check_call(PLAIN, list(named.values()), None, None, debug=True)
