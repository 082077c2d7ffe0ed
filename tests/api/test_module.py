"""Loading programs and calling them: the whole way, on the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import moedsl
from moedsl.ir.schedule import TileShape
from moedsl.source.codes import CODES
from moedsl.target import TARGETS
from tests.api.kernels import schedule

TEXT = """
kernel up {
    param depth = 48
    index e = 3
    index m = ragged(e)
    index n = 40
    index k = depth
    input  x : f16[m, k]
    input  w : f16[e, n, k]
    output y : f32[m, n]
    d = sum[k] x[m, k] * w[e, n, k]
    y[m, n] = 2 * d
}

schedule few for up when rows <= 4 { tile m=16 n=32 k=32 }
schedule many for up on sm_80 { tile m=64 n=32 k=32 }
"""

COMBINE = """
kernel combine {
    index e = 3
    index m = ragged(e)
    index n = 16
    index k = 32
    index t = dynamic
    input  dst : i32[m]
    input  x : bf16[m, k]
    input  w : bf16[e, n, k]
    output y : f32[t, n]
    d = sum[k] x[m, k] * w[e, n, k]
    y[dst[m], n] += d
}
"""


def arguments(rows: tuple[int, ...] = (2, 0, 5), depth: int = 48) -> tuple[dict[str, Any], Any]:
    random = np.random.default_rng(0)
    x = random.integers(-1, 2, (sum(rows), depth))
    w = random.integers(-1, 2, (3, 40, depth))
    expert = np.repeat(np.arange(3), rows)
    named = {
        "x": x.astype(np.float16),
        "w": w.astype(np.float16),
        "offs": np.cumsum(rows).astype(np.int32),
    }
    return named, 2.0 * np.einsum("mk,mnk->mn", x, w[expert])


def test_text_file_and_parameters(tmp_path: Path) -> None:
    named, expected = arguments(depth=16)
    path = tmp_path / "up.moe"
    path.write_text(TEXT)
    for source in (TEXT, path, str(path)):
        module = moedsl.load(source, depth=16)
        assert module.kernels == ("up",)
        assert module.kernel().name == module.kernel("up").name == "up"
        result = module.kernel().compile()(**named)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, expected)


def test_text_without_a_line_break() -> None:
    with pytest.raises(moedsl.DiagnosticError, match="<text>:1:"):
        moedsl.load("kernel up { }")


def test_schedule_of_a_call_follows_rows_and_target() -> None:
    kernel = moedsl.load(TEXT).kernel()
    assert list(kernel.schedules) == ["few", "many"]
    everywhere = kernel.compile("sm_120")
    assert everywhere.tile_kernel(3).schedule.tile == TileShape(64, 32, 32)
    few = kernel.compile("sm_120", "few")
    assert few.tile_kernel(3).schedule.tile == few.tile_kernel(300).schedule.tile
    assert few.schedule.tile == TileShape(16, 32, 32)
    written = kernel.compile(schedule="schedule my for up { tile m=32 n=16 k=32\n stages 2 }")
    assert written.schedule.tile == TileShape(32, 16, 32)
    assert kernel.compile(schedule=schedule()).schedule == schedule()
    named, expected = arguments()
    for compiled in (everywhere, few, written):
        np.testing.assert_array_equal(compiled(**named), expected)


def test_source_and_manifest() -> None:
    compiled = moedsl.load(TEXT).kernel().compile(TARGETS["sm_89"])
    assert 'extern "C"' in compiled.source
    assert compiled.manifest["arch"] == "sm_89"
    assert compiled.manifest["kernel"] == "up"


def test_accumulation_starts_from_zero_or_from_what_is_given() -> None:
    compiled = moedsl.load(COMBINE).kernel().compile()
    named = {
        "dst": np.array([1, 1, 0], np.int32),
        "x": np.ones((3, 32), ml_dtypes.bfloat16),
        "w": np.ones((3, 16, 32), ml_dtypes.bfloat16),
        "offs": np.array([1, 2, 3], np.int32),
    }
    y = np.ones((3, 16), np.float32)
    assert compiled(**named, out=y) is y
    np.testing.assert_array_equal(y[:, 0], [33, 65, 1])
    with pytest.raises(moedsl.DiagnosticError, match="MOE0511"):
        compiled(**named)


@pytest.mark.parametrize(
    ("use", "code", "help"),
    [
        (lambda m: m.kernel("upp"), "MOE0602", "did you mean 'up'?"),
        (lambda m: m.kernel().compile("sm_9a"), "MOE0605", "did you mean 'sm_90a'?"),
        (lambda m: m.kernel().compile(schedule="fwe"), "MOE0604", "did you mean 'few'?"),
        (lambda m: moedsl.load(TEXT + COMBINE).kernel(), "MOE0603", ""),
        (lambda m: moedsl.load("nowhere.moe"), "MOE0010", ""),
    ],
)
def test_names_that_do_not_exist(use: Any, code: str, help: str) -> None:
    with pytest.raises(moedsl.DiagnosticError) as caught:
        use(moedsl.load(TEXT))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.help) == (code, help)


def test_schedule_for_another_target() -> None:
    hopper = "\nschedule hopper for up on sm_90a { tile m=64 n=32 k=32 }"
    with pytest.raises(moedsl.DiagnosticError, match="for sm_90a, not for sm_80"):
        moedsl.load(TEXT + hopper).kernel().compile("sm_80", "hopper")


def test_diagnostics_point_at_declarations() -> None:
    named, _ = arguments()
    named["w"] = named["w"][:, :39]
    with pytest.raises(moedsl.DiagnosticError, match=r"<text>:9:\d+: error: .*'w' \('n'\) is 39"):
        moedsl.load(TEXT).kernel().compile()(**named)


def test_backend_must_be_installed() -> None:
    with pytest.raises(moedsl.DiagnosticError, match="no backend 'tpu'"):
        moedsl.load(TEXT).kernel().compile(backend="tpu")


def test_codes_of_calls_are_explained() -> None:
    used = {f"MOE05{number:02}" for number in range(1, 17)}
    assert used <= set(CODES)


def test_import_is_cheap() -> None:
    script = "import moedsl, sys; print([m for m in ('numpy', 'lark', 'cuda') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert {"load", "Module", "CompiledKernel"} <= set(dir(moedsl))
    with pytest.raises(AttributeError, match="'moedsl' has no attribute 'laod'"):
        getattr(moedsl, "".join(("la", "od")))
