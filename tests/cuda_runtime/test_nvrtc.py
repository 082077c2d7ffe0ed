"""NVRTC and the cache: all of it runs without a GPU."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from moedsl.backends.cuda import nvrtc
from moedsl.backends.cuda.cache import KernelCache, cache_folder
from moedsl.backends.cuda.notes import Notes, read_notes
from moedsl.backends.cuda.nvrtc import EmissionError, compile_cubin, compile_ptx
from moedsl.backends.cuda.sass import disassemble
from moedsl.source.diagnostic import UnavailableError

SCALE = """
extern "C" __global__ void scale(float* x) { x[threadIdx.x] *= 2.0f; }
"""

SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) spill(float* x) {
    float kept[64];
    for (int i = 0; i < 64; ++i) kept[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
    float sum = 0.0f;
    #pragma unroll
    for (int i = 0; i < 64; ++i) {
        #pragma unroll
        for (int j = 0; j < 64; ++j) sum += kept[i] * kept[j] * x[i + j];
        x[i] = sum;
    }
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOEDSL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90a", "sm_100", "sm_120"])
def test_compiles_for_every_architecture(folder: Path, arch: str) -> None:
    binary = compile_cubin(SCALE, "scale", arch)
    assert binary.cubin.startswith(b"\x7fELF")
    assert not binary.cached
    assert 0 < binary.notes.registers <= 32
    assert not binary.notes.spills


def test_notes_tell_spills(folder: Path) -> None:
    notes = compile_cubin(SPILLING, "spill", "sm_80").notes
    assert notes.registers == 32
    assert notes.spills
    assert notes.stack > 0


def test_notes_are_read_from_a_log() -> None:
    log = """
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async is serialized
ptxas info    : Function properties for up
ptxas         .     512 bytes stack frame, 44 bytes spill stores, 48 bytes spill loads
ptxas info    : Used 168 registers, used 9 barriers, 1024 bytes smem
"""
    assert read_notes(log) == Notes(
        registers=168,
        spill_stores=44,
        spill_loads=48,
        stack=512,
        static_shared=1024,
        barriers=9,
        messages=(
            "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async is serialized",
        ),
    )


def test_notes_tell_serialized_products() -> None:
    told = tuple(
        f"ptxas info    : ({code}) Potential Performance Loss: wgmma.mma_async instructions are "
        f"serialized due to {reason} in the function 'up'"
        for code, reason in (("C7510", "Extern calls"), ("C7519", "insufficient registers"))
    )
    other = "ptxas warning : (C7508) Potential Performance Loss: 'setmaxnreg' ignored"
    assert read_notes("\n".join([*told, other])).serialized == told
    assert read_notes(other).messages == (other,)
    assert read_notes(other).serialized == ()


def test_second_compilation_comes_from_the_cache(folder: Path) -> None:
    first = compile_cubin(SPILLING, "spill", "sm_90a")
    start = time.perf_counter()
    second = compile_cubin(SPILLING, "spill", "sm_90a")
    assert time.perf_counter() - start < 0.03
    assert second.cached
    assert (second.cubin, second.notes) == (first.cubin, first.notes)
    assert (folder / "notes" / f"{first.key}.cu").read_text() == SPILLING


def test_key_depends_on_source_architecture_and_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {
        nvrtc.cache_key(source, arch) for source in (SCALE, SPILLING) for arch in ("sm_80", "sm_89")
    }
    monkeypatch.setattr(nvrtc, "compiler_version", lambda: "0.0")
    assert len(keys | {nvrtc.cache_key(SCALE, "sm_80")}) == 5


def test_entry_without_its_notes_is_compiled_again(folder: Path) -> None:
    binary = compile_cubin(SCALE, "scale", "sm_80")
    (folder / "notes" / f"{binary.key}.json").write_text('{"key": 1}')
    again = compile_cubin(SCALE, "scale", "sm_80")
    assert not again.cached
    assert again.notes == binary.notes
    assert compile_cubin(SCALE, "scale", "sm_80").cached


def test_folder_that_cannot_be_written_means_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MOEDSL_CACHE_DIR", str(blocked / "cache"))
    assert not compile_cubin(SCALE, "scale", "sm_80").cached
    assert not compile_cubin(SCALE, "scale", "sm_80").cached
    with pytest.raises(EmissionError) as caught:
        compile_cubin("int broken", "broken", "sm_80")
    assert caught.value.path.read_text() == "int broken"
    caught.value.path.unlink()


def test_refused_code_is_kept_with_its_log(folder: Path) -> None:
    with pytest.raises(EmissionError, match=r"broken\.cu\(2\): error") as caught:
        compile_cubin('extern "C" __global__ void f() {\n  nonsense(); }', "broken", "sm_90a")
    assert "nonsense" in caught.value.path.read_text()


def test_an_empty_log_leaves_the_interpreter_s_bytes_alone(folder: Path) -> None:
    compile_ptx(SCALE, "scale", "sm_90a")
    assert bytes([32]).decode() == chr(32)


def test_missing_nvrtc_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuda.bindings import nvrtc as bindings

    def missing() -> None:
        raise RuntimeError("libnvrtc not found")

    monkeypatch.setattr(bindings, "nvrtcVersion", missing)
    nvrtc.nvrtc.cache_clear()
    with pytest.raises(UnavailableError, match="NVRTC") as caught:
        compile_cubin(SCALE, "scale", "sm_80")
    assert "pip install nvidia-cuda-nvrtc" in caught.value.help


def test_ptx_and_sass(folder: Path) -> None:
    assert ".target sm_90a" in compile_ptx(SCALE, "scale", "sm_90a")
    assert "FADD" in disassemble(compile_cubin(SCALE, "scale", "sm_90a").cubin)


def test_cache_lists_prunes_and_clears(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KernelCache(cache_folder())
    assert kept.entries() == [] and kept.clear() == 0
    for arch in ("sm_80", "sm_89"):
        compile_cubin(SCALE, "scale", arch)
    entries = kept.entries()
    assert {(e.kernel, e.arch) for e in entries} == {("scale", "sm_80"), ("scale", "sm_89")}
    assert all(e.bytes == len(compile_cubin(SCALE, "scale", e.arch).cubin) for e in entries)
    assert kept.prune(days=1) == []
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: entries[0].made + 3 * 86400)
        assert {e.arch for e in kept.prune(days=1)} == {"sm_80", "sm_89"}
    assert not compile_cubin(SCALE, "scale", "sm_80").cached
    assert kept.clear() == 1
    assert kept.entries() == []
    assert not any(path.is_file() for path in folder.rglob("*"))
