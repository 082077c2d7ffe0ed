"""Names and texts of users in emitted CUDA C."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.backends.cuda.abi import AccessModes
from moedsl.backends.cuda.emission.writer import float_literal, identifier, quoted
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.ir.core import DType, Index, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Function, Store
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import EpilogueStore
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.front import check_program
from moedsl.source.span import Source, Span
from moedsl.target import TARGETS
from tests.cuda.kernels import access, forward
from tests.cuda.test_emit import lowered, own_text, vector


@pytest.mark.parametrize("name", ["rows0", "columns0_0", "plan", "tile", "store_map"])
def test_an_output_may_be_called_like_what_is_emitted(name: str) -> None:
    text = f"""kernel up {{
    index e = 8
    index m = ragged(e)
    index n = 512
    index k = 256
    input x : bf16[m, k]
    input w : bf16[e, n, k]
    output {name} : bf16[m, n]
    {name}[m, n] = sum[k] x[m, k] * w[e, n, k]
}}
"""
    program = check_program(Source("up.moe", text))
    assert program.diagnostics == ()
    (kernel,) = program.kernels
    schedule = choose_schedule(kernel, TARGETS["sm_90a"])
    assert schedule.epilogue_store is EpilogueStore.TMA
    unit = generate(lowered(kernel, schedule), vector(kernel))
    compile_cubin(unit.source, unit.entry, "sm_90a")


def hostile(word: str, source: Source | None = None) -> MoeKernel:
    """A kernel in which every name is ``word``, as far as names may coincide."""
    signature = replace(
        forward().signature,
        name=word,
        tensors=(
            Tensor(word, Role.INPUT, DType.BF16, ("m", "k")),
            Tensor(f"{word}_ptr", Role.INPUT, DType.BF16, ("e", "n", "k")),
            Tensor(f"{word}_sum", Role.OUTPUT, DType.BF16, ("m", "n")),
        ),
        indices=tuple(
            Index(word, i.kind, i.extent, i.over) if i.name == "t" else i
            for i in forward().signature.indices
        ),
    )
    domain = ("m", "n")
    total, result = Value(word, domain), Value(f"{word}.1", domain)
    rows, columns = access(word, "m", "k"), access(f"{word}_ptr", "e", "n", "k")
    return MoeKernel(
        signature,
        (
            Contract(total, "k", rows, columns, Span(0, 4)),
            Apply(result, Function.SILU, (total,), Span(5, 9)),
            Store(result, access(f"{word}_sum", "m", "n"), span=Span(10, 12)),
        ),
        source,
    )


@pytest.mark.parametrize("word", ["int", "template", "moe", "tile", "arguments", "count", "µ", "_"])
def test_user_names_cannot_collide(word: str) -> None:
    unit = generate(lowered(hostile(word), target="sm_80"), AccessModes(frozenset()))
    compile_cubin(unit.source, unit.entry, "sm_80")
    assert unit.entry.isascii()


def test_file_names_stay_in_their_string() -> None:
    source = Source('a"\n#error out\\\n.moe', "gate\nsilu\nstore\n")
    unit = generate(lowered(hostile("x", source), target="sm_80"), AccessModes(frozenset()))
    assert "#error" not in [line[:6] for line in unit.source.splitlines()]
    compile_cubin(unit.source, unit.entry, "sm_80")


def test_line_directives_point_at_the_users_file_and_back() -> None:
    source = Source("f.moe", "gate\nsilu\nstore\n")
    lines = own_text(lowered(hostile("x", source)), AccessModes(frozenset())).splitlines()
    there = lines.index('#line 2 "f.moe"')
    assert "moe::silu" in lines[there + 1]
    for number, line in enumerate(lines, start=1):
        if match := re.fullmatch(r'#line (\d+) "test.cu"', line):
            assert int(match[1]) == number + 1
    files = [line.split('"')[1] for line in lines if line.startswith("#line")]
    assert files == ["f.moe", "test.cu"] * (len(files) // 2)


@given(st.floats(width=32))
def test_float_literals_keep_every_bit(number: float) -> None:
    text = float_literal(number)
    if match := re.fullmatch(r"moe::float_of\((0x[0-9a-f]{8})u\)", text):
        assert struct.pack("<I", int(match[1], 16)) == struct.pack("<f", number)
    else:
        assert re.fullmatch(r"-?\d+\.?\d*(e[-+]\d+)?f", text)
        assert struct.pack("<f", float(text[:-1])) == struct.pack("<f", number)


@given(st.text())
def test_quoted_text_is_one_plain_literal(text: str) -> None:
    assert re.fullmatch(r'"([ !#-\[\]-~]|\\[0-7]{3})*"', quoted(text))


@given(st.text(min_size=1))
def test_identifiers_are_ascii_words(text: str) -> None:
    assert re.fullmatch(r"\w+", identifier(text), re.ASCII)
