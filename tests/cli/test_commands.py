"""Every command on real files: results, exit codes, JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from moedsl.backend import backends
from moedsl.cli import main

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "examples" / "quickstart.moe")
MIXTRAL = str(ROOT / "examples" / "mixtral_up.moe")
SMALL = ["--set", "hidden=64", "--set", "ffn=96"]
Captured = pytest.CaptureFixture[str]


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Make ``data`` standard input."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def document(capsys: Captured, *words: str, code: int = 0) -> dict[str, Any]:
    """The JSON document of a command, which must exit with ``code``."""
    assert main([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    return found


@pytest.fixture
def broken(tmp_path: Path) -> str:
    file = tmp_path / "broken.moe"
    file.write_text("kernel k {\n    index e = 8\n    y[m, n] = silo(x)\n}\n")
    return str(file)


# ---- check


def test_check_is_silent_about_a_good_file(capsys: Captured) -> None:
    assert main(["check", MIXTRAL]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_prints_findings_on_stdout(capsys: Captured, broken: str) -> None:
    assert main(["check", broken]) == 1
    shown = capsys.readouterr()
    assert f"{broken}:3:" in shown.out
    assert "[MOE0111]" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("style", ["human", "short", "json", "sarif"])
def test_check_in_every_format(capsys: Captured, broken: str, style: str) -> None:
    assert main(["check", broken, "--diagnostic-format", style]) == 1
    shown = capsys.readouterr().out
    assert "MOE0111" in shown
    if style in ("json", "sarif"):
        json.loads(shown)


def test_check_judges_schedules(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = "schedule huge for quickstart on sm_80 { tile m=128 n=128 k=64; stages 64 }\n"
    give(monkeypatch, Path(QUICKSTART).read_bytes() + schedule.encode())
    found = document(capsys, "check", "-", code=1)
    assert [d["code"][:5] for d in found["diagnostics"]] == ["MOE04"]
    assert found["file"] == "<stdin>"


def test_a_missing_file_is_wrong_use(capsys: Captured) -> None:
    assert main(["check", "nowhere.moe"]) == 2
    assert "cannot read" in capsys.readouterr().err


# ---- fmt


def test_fmt_check_diff_and_write(capsys: Captured, tmp_path: Path) -> None:
    good = Path(QUICKSTART).read_text()
    file = tmp_path / "loose.moe"
    loose = good.replace("param  ffn    = 384", "param ffn=384")
    file.write_text(loose)
    assert main(["fmt", "--check", str(file)]) == 1
    assert capsys.readouterr().out == f"{file}\n"
    assert main(["fmt", "--diff", str(file)]) == 0
    assert "\n-    param ffn=384\n" in capsys.readouterr().out
    assert file.read_text() == loose
    assert main(["fmt", str(file)]) == 0
    assert file.read_text() == good
    assert main(["fmt", "--check", str(file)]) == 0


def test_fmt_of_standard_input(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, Path(QUICKSTART).read_bytes())
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == Path(QUICKSTART).read_text()


# ---- compile


@pytest.mark.parametrize(
    ("level", "holds"),
    [
        ("ast", '"node": "Kernel"'),
        ("moe", "moe.contract"),
        ("tile", "tile.multiply"),
        ("gpu", "gpu.pipeline"),
        ("cuda", "moedsl_quickstart"),
        ("ptx", ".target sm_80"),
        ("sass", "HMMA"),
    ],
)
def test_compile_emits_every_level(capsys: Captured, level: str, holds: str) -> None:
    assert main(["compile", QUICKSTART, "--target", "sm_80", "--emit", level]) == 0
    assert holds in capsys.readouterr().out


def test_compile_writes_a_manifest(capsys: Captured, tmp_path: Path) -> None:
    words = ["compile", QUICKSTART, "--target", "sm_80", "--emit", "cuda", "--emit", "cubin"]
    assert main([*words, "-o", f"{tmp_path}/out/"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"quickstart.cu", "quickstart.cubin", "manifest.json"}
    assert (tmp_path / "out" / "quickstart.cubin").read_bytes()[:4] == b"\x7fELF"
    (manifest,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["kernels"]
    assert manifest["arch"] == "sm_80"
    assert manifest["notes"]["registers"] > 0
    assert manifest["notes"]["spill_stores"] == 0
    assert manifest["schedule"].startswith("schedule ")
    assert set(manifest["artefacts"]) == {"cuda", "cubin"}
    assert str(tmp_path / "out" / "manifest.json") in capsys.readouterr().out


def test_compile_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "kernel.tile"
    assert main(["compile", QUICKSTART, "--emit", "tile", "-o", str(file)]) == 0
    assert file.read_text().startswith("tile module")
    assert (file.parent / "manifest.json").exists()


def test_a_printed_schedule_can_be_pasted_back(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--print-schedule", "--target", "sm_80"]
    assert main(["compile", QUICKSTART, *words]) == 0
    printed = capsys.readouterr().out
    give(monkeypatch, f"{Path(QUICKSTART).read_text()}\n{printed}".encode())
    name = printed.split()[1]
    assert main(["compile", "-", "--schedule", name, *words]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--kernel", "quikstart"], "MOE0602"),
        (["--schedule", "fast"], "MOE0604"),
        (["--target", "sm_12"], "MOE0605"),
        (["--emit", "moe", "--emit", "tile"], "MOE0610"),
        (["--emit", "moe", "-o", "/dev/null/x"], "MOE0609"),
    ],
)
def test_compile_explains_wrong_use(capsys: Captured, words: list[str], code: str) -> None:
    assert main(["compile", QUICKSTART, *words]) == 2
    assert f"[{code}]" in capsys.readouterr().err


def test_a_schedule_of_another_target(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = "schedule mine for quickstart on sm_90 { stages 3 }\n"
    give(monkeypatch, Path(QUICKSTART).read_bytes() + schedule.encode())
    assert main(["compile", "-", "--schedule", "mine", "--target", "sm_80"]) == 2
    assert "[MOE0606]" in capsys.readouterr().err


# ---- opt


def test_opt_goes_on_from_its_own_output(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["opt", MIXTRAL, "--target", "sm_80"]) == 0
    whole = capsys.readouterr().out
    first = "fold_constants,share_values,drop_unused,choose_schedule"
    assert main(["opt", MIXTRAL, "--target", "sm_80", "--passes", first]) == 0
    half = capsys.readouterr().out
    assert half.startswith("scheduled module")
    give(monkeypatch, half.encode())
    assert main(["opt", "-"]) == 0
    assert capsys.readouterr().out == whole


def test_opt_prints_ir_between_passes(capsys: Captured) -> None:
    words = ["--passes", "fold_constants,choose_schedule", "--print-ir-after", "fold_constants"]
    assert main(["opt", QUICKSTART, *words]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("// IR after fold_constants\nmoe module")
    assert shown.out.startswith("scheduled module")


def test_opt_knows_its_passes(capsys: Captured) -> None:
    assert main(["opt", QUICKSTART, "--passes", "fold_constant"]) == 1
    assert "there is no pass `fold_constant`" in capsys.readouterr().err


# ---- run


def test_run_shows_tiles_and_verdict(capsys: Captured) -> None:
    rows = ["--rows", "37,0,181,130", "--backend", "interp"]
    assert main(["run", QUICKSTART, *rows]) == 0
    shown = capsys.readouterr().out
    assert "backend   interp: " in shown
    assert "1 of 4 experts idle" in shown
    assert shown.endswith("ok: every element matches the reference\n")


def test_run_as_json_holds_every_expert(capsys: Captured) -> None:
    words = ["run", MIXTRAL, "--set", "experts=64", *SMALL, "--backend", "interp"]
    found = document(capsys, *words, "--rows", "zipf:640:1.2")
    (kernel,) = found["kernels"]
    assert len(kernel["experts"]) == 64
    assert sum(share["rows"] for share in kernel["experts"]) == 640
    assert [v["mode"] for v in kernel["verdicts"]] == ["statistical", "exact"]
    assert found["good"] and kernel["good"]
    assert kernel["seconds"] > 0
    assert kernel["flops"] == 2 * 2 * 640 * 64 * 96


def test_run_leaves_out_the_middle_of_many_experts(capsys: Captured) -> None:
    words = ["run", MIXTRAL, "--set", "experts=64", *SMALL, "--backend", "interp"]
    assert main([*words, "--rows", "even:640", "--check", "sample"]) == 0
    shown = capsys.readouterr().out
    assert "49 more" in shown
    assert shown.endswith("ok: every sampled element matches the reference\n")


def test_run_of_a_wrong_backend_is_1(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    interp = backends()["interp"]

    class Wrong:
        def __init__(self, executable: Any) -> None:
            self.executable = executable

        def prepare(self, call: Any) -> None:
            self.executable.prepare(call)

        def launch(self, call: Any) -> None:
            self.executable.launch(call)
            call.arrays["y"].owner[5, 7] += 1

    compile_right = interp.compile
    monkeypatch.setattr(interp, "compile", lambda tile: Wrong(compile_right(tile)), raising=False)
    assert main(["run", QUICKSTART, "--rows", "even:64", "--backend", "interp"]) == 1
    shown = capsys.readouterr().out
    assert "y[5, 7]" in shown
    assert shown.endswith("WRONG: the reference says otherwise\n")


def test_run_on_given_arrays_and_save(capsys: Captured, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 256)).astype(ml_dtypes.bfloat16)
    w = rng.standard_normal((4, 384, 256)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x, w=w, offs=np.array([3, 3, 9, 10]))
    words = ["--inputs", str(tmp_path / "in.npz"), "--save", str(tmp_path / "out.npz")]
    assert main(["run", QUICKSTART, *words, "--backend", "interp"]) == 0
    assert "sizes     e=4  m=10" in capsys.readouterr().out
    y = np.load(tmp_path / "out.npz")["y"]
    last = x[9].astype(np.float32) @ w[3].astype(ml_dtypes.bfloat16).astype(np.float32).T
    np.testing.assert_allclose(y[9], last, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"z": np.zeros(3)}, "'z' is no tensor"),
        ({"x": np.zeros((3, 3)), "offs": np.array([1, 1, 1, 3])}, "has shape (3, 3)"),
        ({"offs": np.array([3, 1, 3, 3])}, "'offs' falls"),
        ({"offs": np.array([3, 3])}, "2 ends for 4 experts"),
        ({"offs": np.array(1.5)}, "not a vector of integers"),
    ],
)
def test_run_refuses_unsuitable_arrays(
    capsys: Captured, tmp_path: Path, arrays: dict[str, Any], text: str
) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    words = ["run", QUICKSTART, "--inputs", str(tmp_path / "in.npz"), "--backend", "interp"]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert text in shown
    assert "[MOE0607]" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--rows", "1,2"], "MOE0622"),
        (["--rows", "nowhere.json"], "MOE0620"),
        (["--size", "t=5"], "MOE0608"),
        (["--inputs", "nowhere.npz"], "MOE0607"),
    ],
)
def test_run_explains_wrong_use(capsys: Captured, words: list[str], code: str) -> None:
    assert main(["run", QUICKSTART, "--backend", "interp", *words]) == 2
    assert f"[{code}]" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "fuzz"])
def test_a_mistyped_backend_is_wrong_use(capsys: Captured, command: str) -> None:
    assert main([command, QUICKSTART, "--backend", "intrep"]) == 2
    shown = capsys.readouterr().err
    assert "there is no backend 'intrep'; did you mean 'interp'? [MOE0611]" in shown


@pytest.mark.parametrize("words", [["--set", "ffn"], ["--set", "ffn=many"], ["--size", "t=-1"]])
def test_malformed_options_are_wrong_use(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", QUICKSTART, *words])
    assert stopped.value.code == 2


@pytest.mark.gpu
def test_auto_takes_the_gpu(capsys: Captured) -> None:
    found = document(capsys, "run", QUICKSTART, "--rows", "37,0,181,130")
    assert found["backend"].startswith("cuda: ")
    assert found["good"]


# ---- cache, doctor, explain-code


def test_cache_lists_prunes_and_clears(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MOEDSL_CACHE_DIR", str(tmp_path))
    assert document(capsys, "cache", "ls")["cuda"]["kernels"] == []
    main(["compile", QUICKSTART, "--target", "sm_80", "--emit", "cubin", "-o", f"{tmp_path}/k"])
    capsys.readouterr()
    assert main(["cache", "ls"]) == 0
    assert "moedsl_quickstart" in capsys.readouterr().out
    assert document(capsys, "cache", "prune")["cuda"]["removed"] == []
    assert document(capsys, "cache", "clear")["cuda"]["removed"] == 1
    assert document(capsys, "cache", "ls")["cuda"]["kernels"] == []


def test_doctor_finds_what_a_run_needs(capsys: Captured) -> None:
    found = document(capsys, "doctor")
    assert found["ready"]
    states = {finding["what"]: finding for finding in found["findings"]}
    assert states["backend interp"]["state"] == "ok"
    assert {"driver", "NVRTC", "cache cuda", "C++ compiler", "disassembler"} <= states.keys()
    assert all(f["help"] for f in states.values() if f["state"] == "lacking")


def test_every_listed_code_is_explained(capsys: Captured) -> None:
    codes = document(capsys, "explain-code")["codes"]
    assert main(["explain-code", next(iter(codes)).lower()]) == 0
    assert capsys.readouterr().out.startswith(next(iter(codes)))
    assert main(["explain-code", "MOE9999"]) == 2
    assert "[MOE0601]" in capsys.readouterr().err
