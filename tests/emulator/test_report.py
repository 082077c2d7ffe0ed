"""What users see of a finding, and what they see where there is no compiler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import moedsl
from moedsl.backends.emulator import BACKEND, toolchain
from moedsl.backends.emulator.executable import EmulatorExecutable, Variant
from moedsl.backends.emulator.options import (
    STANDARD_POLICIES,
    VARIABLE,
    Options,
    Order,
    current_options,
    parse_options,
)
from moedsl.backends.emulator.report import KernelFaultError
from moedsl.backends.emulator.unit import Unit
from moedsl.inputs import make_inputs
from moedsl.meaning import Mode
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from moedsl.backends.cuda.abi import AccessModes

TEXT = """
kernel small {
    index e = 2
    index m = ragged(e)
    index n = 24
    index k = 32
    input  x : bf16[m, k]
    input  w : bf16[e, n, k]
    output y : bf16[m, n]
    y[m, n] = sum[k] x[m, k] * w[e, n, k]
}
"""


class Damaged(EmulatorExecutable):
    """Stores one row too low."""

    def variant(self, modes: AccessModes) -> Variant:
        """The emitted code with a row added to where the output goes."""
        variant = super().variant(modes)
        text = variant.unit.emitted.replace(
            "arguments.y_ptr + m_at", "arguments.y_ptr + (m_at + 1)"
        )
        assert text != variant.unit.emitted
        return replace(variant, unit=replace(variant.unit, emitted=text))


def test_fault_points_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = moedsl.load(TEXT).kernel()
    given = make_inputs(kernel.meaning, (5, 9), {}, Mode.EXACT, 1)
    executable = Damaged(kernel.compile("sm_80").tile_kernel(14))
    with pytest.raises(KernelFaultError) as caught:
        executable.launch(given.call())
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "MOE0590"
    assert diagnostic.source is not None and diagnostic.span is not None
    assert "y[m, n] = sum[k]" in diagnostic.source[diagnostic.span]
    assert "bounds" in diagnostic.message and "`y`" in diagnostic.message
    assert any("store_vector(arguments.y_ptr" in note for note in diagnostic.notes)
    assert any(note.startswith("by thread ") for note in diagnostic.notes)
    assert not given.trespass()
    start, _, replay = diagnostic.help.partition(f"{VARIABLE}=")
    assert start == "the same run again: "
    monkeypatch.setenv(VARIABLE, replay)
    with pytest.raises(KernelFaultError) as again:
        executable.launch(given.call())
    assert again.value.finding == caught.value.finding


def test_policies_print_and_parse() -> None:
    for policy in STANDARD_POLICIES:
        options = Options(policy, races=False, multiprocessors=7)
        assert parse_options(str(options)) == options


@pytest.mark.parametrize("text", ["", "fifo", "fifo,latest,1,races", "fifo,soon,1,races,4"])
def test_bad_options_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fifo,latest,1,races,4"):
        parse_options(text)


def test_environment_chooses_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "random,earliest,9,functional,2")
    options = current_options(b"")
    assert (options.policy.order, options.policy.seed, options.races) == (Order.RANDOM, 9, False)
    monkeypatch.delenv(VARIABLE)
    drawn = [current_options(bytes([case])) for case in range(30)]
    assert drawn == [current_options(bytes([case])) for case in range(30)]
    assert {options.policy.order for options in drawn} == {*Order}


def test_no_compiler_is_said_with_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    toolchain.find_compiler.cache_clear()
    try:
        availability = BACKEND.availability()
        assert not availability.usable
        assert "g++" in availability.help
        with pytest.raises(UnavailableError, match="C\\+\\+ compiler"):
            toolchain.find_compiler()
    finally:
        toolchain.find_compiler.cache_clear()


def test_refused_code_is_kept_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit("broken.cu", "// kernel\nMOE_KERNEL(32, 1) broken(int) { nonsense(); }\n", "broken")
    with pytest.raises(toolchain.KernelRefusedError) as caught:
        toolchain.kernel_library(unit.host)
    assert "nonsense" in caught.value.log
    assert "nonsense" in caught.value.path.read_text()


def test_folder_that_cannot_be_written_costs_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert toolchain._folder(tmp_path / "file") == toolchain._temporary_folder()


def test_lines_lead_back_to_the_moe_file() -> None:
    emitted = '// kernel\none\n#line 7 "a.moe"\ntwo\nthree\n#line 7 "kernel.cu"\nfour\n'
    unit = Unit("kernel.cu", emitted, "kernel")
    origins = [unit.origin(line) for line in range(1, 8)]
    assert origins[1] is None
    assert origins[3:5] == [("a.moe", 7), ("a.moe", 8)]
    assert origins[6] is None
    assert unit.host.splitlines()[1] == "one"
    assert unit.host.splitlines()[2] == '//#line 7 "a.moe"'
