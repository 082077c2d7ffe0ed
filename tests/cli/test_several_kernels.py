"""Commands on a file with several kernels: all of them, unless one is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moedsl.cli import main, run_kernels
from moedsl.cli.trial import try_kernel
from tests.cli.test_commands import document

Captured = pytest.CaptureFixture[str]

LAYER = """
kernel up {
    index e = 2
    index m = ragged(e)
    index n = 32
    index k = 16
    input x : bf16[m, k]
    input w : bf16[e, n, k]
    output h : bf16[m, n]
    h[m, n] = sum[k] x[m, k] * w[e, n, k]
}
kernel down {
    index e = 2
    index t = dynamic
    index m = ragged(e)
    index n = 16
    index k = 32
    input dst : i32[m]
    input h : bf16[m, k]
    input v : bf16[e, n, k]
    output y : f32[t, n]
    y[dst[m], n] += sum[k] h[m, k] * v[e, n, k]
}
schedule same for up { stages 2 }
schedule same for down when rows <= 64 { stages 3 }
schedule alone for down { stages 4 }
"""


@pytest.fixture
def layer(tmp_path: Path) -> str:
    """A file with two kernels, which share an input's name and a schedule's name."""
    file = tmp_path / "layer.moe"
    file.write_text(LAYER)
    return str(file)


def test_run_takes_every_kernel_of_a_file(capsys: Captured, layer: str, tmp_path: Path) -> None:
    words = ["run", layer, "--rows", "3,5", "--size", "t=9", "--backend", "interp"]
    found = document(capsys, *words, "--save", f"{tmp_path}/out.npz")
    assert [kernel["kernel"] for kernel in found["kernels"]] == ["up", "down"]
    assert found["kernels"][1]["sizes"]["t"] == 9
    saved = np.load(tmp_path / "out.npz")
    assert {name: saved[name].shape for name in saved} == {"up.h": (8, 32), "down.y": (9, 16)}
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.count("ok: every element matches the reference") == 2
    only = document(capsys, "run", layer, "--kernel", "down", "--backend", "interp")
    assert [kernel["kernel"] for kernel in only["kernels"]] == ["down"]


def test_run_of_several_kernels_is_wrong_if_one_is(
    capsys: Captured, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = try_kernel

    def wrong_first(kernel: Any, *rest: Any) -> Any:
        trial = right(kernel, *rest)
        return replace(trial, trespasses=("no",)) if kernel.signature.name == "up" else trial

    monkeypatch.setattr(run_kernels, "try_kernel", wrong_first)
    found = document(capsys, "run", layer, "--rows", "3,5", "--backend", "interp", code=1)
    assert [kernel["good"] for kernel in found["kernels"]] == [False, True]
    assert not found["good"]


def test_inputs_go_to_the_kernels_that_have_them(
    capsys: Captured, layer: str, tmp_path: Path
) -> None:
    file = tmp_path / "in.npz"
    np.savez(file, x=np.ones((8, 16), np.float32), h=np.ones((8, 32), np.float32))
    words = ["run", layer, "--rows", "3,5", "--backend", "interp", "--inputs", str(file)]
    found = document(capsys, *words)
    assert [v["mode"] for k in found["kernels"] for v in k["verdicts"]] == ["bound", "bound"]
    np.savez(file, z=np.ones(3))
    assert main(words) == 2
    assert "'z' is no tensor of 'up' or 'down'" in capsys.readouterr().err
    assert main([*words[:-2], "--size", "m=3"]) == 2
    assert "'m' is no dynamic index of 'up' or 'down'" in capsys.readouterr().err


def test_a_schedule_says_which_kernels(capsys: Captured, layer: str) -> None:
    both = document(capsys, "run", layer, "--schedule", "same", "--backend", "interp")
    assert [("stages 2;" in k["schedule"], k["kernel"]) for k in both["kernels"]] == [
        (True, "up"),
        (False, "down"),
    ]
    one = document(capsys, "run", layer, "--schedule", "alone", "--backend", "interp")
    assert [kernel["kernel"] for kernel in one["kernels"]] == ["down"]
    assert main(["run", layer, "--kernel", "up", "--schedule", "alone"]) == 2
    assert "[MOE0604]" in capsys.readouterr().err


def test_compile_of_several_kernels(capsys: Captured, layer: str, tmp_path: Path) -> None:
    assert main(["compile", layer]) == 2
    assert "[MOE0610]" in capsys.readouterr().err
    assert main(["compile", layer, "--emit", "ast"]) == 0
    assert json.loads(capsys.readouterr().out)["node"] == "File"
    assert main(["compile", layer, "--emit", "cuda", "-o", f"{tmp_path}/out"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"up.cu", "down.cu", "manifest.json"}
    kernels = json.loads((tmp_path / "out" / "manifest.json").read_text())["kernels"]
    assert [kernel["kernel"] for kernel in kernels] == ["up", "down"]
    capsys.readouterr()
    found = document(capsys, "compile", layer, "--emit", "tile")
    for name, kernel in zip(("up", "down"), found["kernels"], strict=True):
        assert f"kernel {name}" in kernel["artefacts"]["tile"]
    assert main(["compile", layer, "--print-schedule"]) == 0
    assert capsys.readouterr().out.count("schedule ") == 2


@pytest.mark.parametrize("command", ["run", "compile", "fuzz"])
def test_a_file_without_a_kernel(capsys: Captured, tmp_path: Path, command: str) -> None:
    (tmp_path / "none.moe").write_text("# nothing\n")
    assert main([command, str(tmp_path / "none.moe")]) in (1, 2)
    assert "MOE0" in capsys.readouterr().err
