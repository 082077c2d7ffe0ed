"""What users do that nobody meant them to: every one gets an answer, none a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moedsl.cli import main, run_kernels
from moedsl.fuzz import hunt
from moedsl.fuzz.trial import Finding

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "examples" / "quickstart.moe")
SMALL = ["--set", "hidden=16", "--set", "ffn=16"]
Captured = pytest.CaptureFixture[str]

SCALED = """
kernel scaled {
    param scale = 0.5
    index e = 2
    index m = ragged(e)
    index n = 8
    index k = 8
    input x : f32[m, k]
    input w : f32[e, n, k]
    output y : f32[m, n]
    y[m, n] = scale * (sum[k] x[m, k] * w[e, n, k])
}
"""


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """``command`` of a shell, in which $MOEDSL is the command under test."""
    environment = {**os.environ, "MOEDSL": f"{sys.executable} -m moedsl"}
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ["run", QUICKSTART, "--seed", "-1"],
        ["fuzz", QUICKSTART, "--seed", "-1"],
        ["fuzz", QUICKSTART, "--cases", "0"],
        ["fuzz", QUICKSTART, "--cases", "-3"],
        ["run", QUICKSTART, "--set", "hidden=nan"],
        ["run", QUICKSTART, "--set", "hidden=0x10"],
    ],
)
def test_numbers_that_mean_nothing_are_wrong_use(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2


def test_no_command_names_only_the_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.endswith("are required: COMMAND\n")


def test_a_param_may_be_set_to_a_fraction(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "scaled.moe"
    file.write_text(SCALED)
    for number in ("0.25", "-1e-3", "2"):
        assert main(["run", str(file), "--set", f"scale={number}"]) == 0
        assert main(["opt", str(file), "--set", f"scale={number}", "--passes", ""]) == 0
        assert f"elem.constant number = {float(number)}" in capsys.readouterr().out
    assert main(["check", str(file), "--set", "scale=1e400"]) == 1
    assert "too large [MOE0005]" in capsys.readouterr().out
    assert main(["check", QUICKSTART, "--set", "ffn=1.5"]) == 1
    assert "MOE0115" in capsys.readouterr().out


def test_no_rows_are_not_the_default_rows(capsys: Captured) -> None:
    assert main(["run", QUICKSTART, "--rows", ""]) == 2
    assert "no rows are given" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["check", "/dev/zero"], ["run", QUICKSTART, "--rows=/dev/zero"]])
def test_a_file_without_an_end_is_refused(capsys: Captured, words: list[str]) -> None:
    assert main(words) == 2
    assert "File too large" in capsys.readouterr().err


def test_more_memory_than_there_is_is_3(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_data(*_: object) -> None:
        raise MemoryError("Unable to allocate 1.00 TiB")

    monkeypatch.setattr(run_kernels, "make_data", make_data)
    assert main(["run", QUICKSTART]) == 3
    shown = capsys.readouterr().err
    assert "there is not enough memory: Unable to allocate 1.00 TiB" in shown
    assert "help: fewer rows" in shown


def test_inputs_that_are_a_bare_array_or_complex(capsys: Captured, tmp_path: Path) -> None:
    bare, complex_ = tmp_path / "x.npy", tmp_path / "x.npz"
    np.save(bare, np.zeros(3))
    np.savez(complex_, x=np.zeros((256, 16), complex))
    assert main(["run", QUICKSTART, *SMALL, "--inputs", str(bare)]) == 2
    assert "MOE0607" in capsys.readouterr().err
    assert main(["run", QUICKSTART, *SMALL, "--inputs", str(complex_)]) == 2
    assert "'x' holds complex numbers" in capsys.readouterr().err


def test_print_ir_after_knows_its_passes(capsys: Captured) -> None:
    assert main(["opt", QUICKSTART, "--print-ir-after", "chose_schedule"]) == 1
    assert "MOE0706" in capsys.readouterr().err


def test_opt_reads_gpu_text_of_another_process(tmp_path: Path) -> None:
    text = tmp_path / "quickstart.gpu"
    shell(f"$MOEDSL compile {QUICKSTART} --emit gpu > {text}")
    found = shell(f"$MOEDSL opt {text} --passes ''")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == text.read_text()


def test_a_dump_that_cannot_be_written(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOEDSL_DUMP", "/dev/null/dump")
    assert main(["compile", QUICKSTART, "--emit", "tile"]) == 2
    assert "MOE0609" in capsys.readouterr().err


def test_a_full_disk_is_3() -> None:
    for options in ("", "--json"):
        found = shell(f"$MOEDSL run {QUICKSTART} --check none {options} > /dev/full")
        assert found.returncode == 3
        assert found.stderr == "moedsl: cannot write: No space left on device\n"


def test_closed_streams_are_like_dev_null() -> None:
    assert shell(f"$MOEDSL check {QUICKSTART} >&-").returncode == 0
    assert shell(f"$MOEDSL run {QUICKSTART} --check none 2>&-").stdout.startswith("kernel")
    assert "MOE0011" in shell("$MOEDSL check - <&-").stdout


def test_outputs_are_saved_though_nobody_reads_the_report(tmp_path: Path) -> None:
    saved = tmp_path / "y.npz"
    shell(f"$MOEDSL run {QUICKSTART} --check none --save {saved} | head -c 1")
    assert saved.exists()


def test_a_failure_that_cannot_be_kept_is_still_told(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setattr(hunt, "try_case", lambda *_: Finding("a wrong element", 0))
    words = ["fuzz", QUICKSTART, "--backend", "interp", "--cases", "2", "--seed", "1"]
    assert main([*words, "--corpus", str(occupied)]) == 1
    shown = capsys.readouterr().out
    assert "a wrong element" in shown
    assert "kept as" not in shown
