"""Legal schedules that give speed away are named, with the amount and where it is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moedsl.lower.front import load_program
from moedsl.lower.pipeline import Options, lower_kernel
from moedsl.source.diagnostic import Severity
from moedsl.source.span import Source
from moedsl.target import TARGETS

if TYPE_CHECKING:
    from moedsl.source.diagnostic import Diagnostic

KERNEL = """
kernel up {
    index e = 8
    index m = ragged(e)
    index n = 1024
    index k = 1024
    input x : bf16[m, k]
    input w : bf16[e, n, k]
    output y : bf16[m, n]
    y[m, n] = sum[k] x[m, k] * w[e, n, k]
}
schedule mine for up { %s }
"""


def warnings_of(directives: str, rows: int | None, sm: str = "sm_90a") -> list[Diagnostic]:
    program = load_program(Source("waste.moe", KERNEL % directives), {})
    (kernel,), (request,) = program.kernels, program.requests
    found: list[Diagnostic] = []
    options = Options(TARGETS[sm], requests={"up": request}, rows=rows, report=found.append)
    lower_kernel(kernel, options)
    return found


@pytest.mark.parametrize(
    ("rows", "share", "tail"),
    [(8 * 64, "50%", "m=64"), (8 * 16, "88%", "m=16"), (8 * 136, "44%", "m=16")],
)
def test_padding_is_told_with_the_tail_that_mends_it(rows: int, share: str, tail: str) -> None:
    (found,) = warnings_of("tile m=128 n=128; tails off", rows)
    assert (found.code, found.severity) == ("MOE0440", Severity.WARNING)
    assert share in found.message
    assert found.source is not None
    assert found.span is not None
    assert found.source[found.span] == "tails off"
    advice = found.help.removeprefix("allow `").removesuffix("`")
    assert advice == f"tails {tail}"
    assert warnings_of(f"tile m=128 n=128; {advice}", rows) == []


def test_a_pair_is_told_to_share_evenly() -> None:
    (found,) = warnings_of(f"tile m=128 n=128; tails off; {PAIR}", 8 * 64, "sm_90a")
    assert found.help == "allow lower tiles with `tails balanced`, whose shares a pair can take"
    assert warnings_of(f"tile m=128 n=128; tails balanced m=64; {PAIR}", 8 * 64, "sm_90a") == []


PAIR = "swap_ab; cluster m=2; registers producer=40 consumer=232"


def test_even_shares_are_judged_as_they_are() -> None:
    # 136 rows are 128 and 8, or shared evenly 80 and 56.
    (found,) = warnings_of("tile m=128 n=128; tails m=112", 8 * 136)
    assert found.label == "112 rows high for 8"
    assert warnings_of("tile m=128 n=128; tails balanced m=80,64,16", 8 * 136) == []
    (found,) = warnings_of("tile m=128 n=128; tails balanced m=64", 8 * 70)
    assert found.label == "128 rows high for 70"
    assert found.help == "let `tails balanced` list m=80 too"
    assert warnings_of("tile m=128 n=128; tails balanced m=80,64", 8 * 70) == []


@pytest.mark.parametrize("rows", [None, 0, 8 * 128, 8 * 120, 8 * 4096])
def test_little_padding_is_no_waste(rows: int | None) -> None:
    assert warnings_of("tile m=128 n=128; tails off", rows) == []


def test_what_no_height_could_spare_is_no_waste() -> None:
    assert warnings_of("tile m=8 n=128; swap_ab", 8) == []


def test_a_tail_that_the_warps_cannot_share_is_not_advised() -> None:
    # Four warps need 64 columns at a height of 8: no tail can spare the padding of this tile.
    assert warnings_of("tile m=16 n=32 k=32; swap_ab", 16) == []


def test_few_warps_are_told_with_what_keeps_others_out() -> None:
    wasteful = "tile m=128 n=128 k=64; stages 6; warps consumers=1"
    (found,) = warnings_of(wasteful, None)
    assert (found.code, found.severity) == ("MOE0441", Severity.WARNING)
    assert "only 4 warps" in found.message
    assert found.source is not None
    assert found.span is not None
    assert found.source[found.span] == "stages 6"
    assert any("1 CTAs of 128 threads" in note for note in found.notes)
    assert warnings_of(wasteful.replace("stages 6", "stages 3"), None) == []
