"""IR text: printing and parsing are inverse at every level, and bad text gives diagnostics."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.ir.core import Access, Coordinate, Value
from moedsl.ir.elementwise import Constant
from moedsl.ir.module import Module, levels, register_dialect
from moedsl.ir.moe import Signature
from moedsl.ir.text import parse_module, print_module
from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.span import NOWHERE, Source, Span
from tests.ir.examples import EXAMPLE, KERNEL, TILE_TEXT
from tests.strategies import modules

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(modules())
def test_parse_of_print_is_identity(module: Module) -> None:
    text = print_module(module)
    parsed = parse_module(Source("it.mir", text))
    assert parsed == module
    assert print_module(parsed) == text


def test_tile_text_reads_as_documented() -> None:
    module = parse_module(Source("example.mir", TILE_TEXT))
    assert print_module(module) == TILE_TEXT


@pytest.mark.parametrize("name", ["none", "true", "inf", "index", "input", "a b", 'q"%', "ä", "x{"])
def test_any_name_survives(name: str) -> None:
    signature = replace(KERNEL.signature, name=name)
    module = Module("moe", (replace(KERNEL, signature=signature),), EXAMPLE.source)
    assert parse_module(Source("x", print_module(module))) == module


class Scope(StrEnum):
    CTA = "cta"
    WARP = "warp"


@dataclass(frozen=True, slots=True)
class Extent:
    count: int
    scope: Scope = Scope.CTA


@dataclass(frozen=True, slots=True)
class Note:
    text: str


@dataclass(frozen=True, slots=True)
class Repeat:
    argument: Value
    times: Extent | Note | None
    body: tuple[ToyOp, ...]
    pair: tuple[int, str] = (1, "x")
    tables: tuple[Extent, ...] = ()
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Touch:
    operands: tuple[Value, ...]
    factor: float | None
    at: Coordinate
    where: Access | None
    span: Span = NOWHERE


ToyOp = Repeat | Touch | Constant


@dataclass(frozen=True)
class ToyKernel:
    signature: Signature
    warps: int
    body: tuple[ToyOp, ...]
    source: Source | None = None


register_dialect("toy", ToyOp, ToyKernel)


def test_a_registered_dialect_with_regions_prints_and_parses() -> None:
    signature = EXAMPLE.kernels[0].signature
    one, i, j = Value("one", ()), Value("i", ()), Value("odd name", ("m",))
    touch = Touch((one, i, j), float("-inf"), Coordinate("m", "map"), None, Span(3, 4))
    inner = Repeat(j, Note("none"), (touch, Touch((), None, Coordinate("n"), Access("x", ()))))
    outer = Repeat(i, Extent(4, Scope.WARP), (inner,), (2, "none"), (Extent(1), Extent(2)))
    empty = Repeat(Value("q", ()), None, ())
    kernel = ToyKernel(signature, 4, (Constant(one, 1.5), outer, empty), EXAMPLE.source)
    module = Module("toy", (kernel,), EXAMPLE.source)
    text = print_module(module)
    assert "toy.repeat argument = (%i[]), times = Extent{count = 4, scope = warp}" in text
    assert parse_module(Source("x", text)) == module
    assert levels()["toy"].kernel is ToyKernel


BAD: list[tuple[str, str, str, str, str]] = [
    # (find, replace with, code, text under the span, start of the message)
    ("tile module", "tile modul", "MOE0701", "modul", "IR text is malformed: `modul`"),
    ("tile module", "tyle module", "MOE0702", "tyle", "there is no IR level `tyle`"),
    ("tile.multiply", "tile.multiplie", "MOE0702", "tile.multiplie", "there is no operation"),
    ("tile.multiply", "moe.contract", "MOE0702", "moe.contract", "this level has no operation"),
    ("over = k", "ovr = k", "MOE0702", "ovr", "`tile.multiply` has no attribute `ovr`"),
    ("    over = k,\n", "", "MOE0703", "tile.multiply", "`tile.multiply` lacks the attribute"),
    ("over = k", "over = k, over = k", "MOE0703", "over", "attribute `over` is given twice"),
    ("stages = 3", "stages = 3.5", "MOE0703", "3.5", "attribute of the wrong kind"),
    ("stages = 3", "stages = ()", "MOE0703", "()", "attribute of the wrong kind"),
    ("order = index", "order = longst", "MOE0703", "longst", "attribute of the wrong kind"),
    ("bf16[m, k]", "bf17[m, k]", "MOE0703", "bf17", "there is no type `bf17`"),
    ("= 32\n", f"= {'9' * 5000}\n", "MOE0703", "9" * 5000, "not an integer"),
    ("operands = (%gate", "operands = (%gat", "MOE0704", "%gat", "%gat is not defined here"),
    ("%gate[m, n], %up[m, n] =", "%gate[m, n] =", "MOE0704", "%up", "%up is not defined here"),
    ("%act[m, n] = elem.apply", "elem.apply", "MOE0703", "elem.apply", "`elem.apply` defines 1"),
    ("%h[m, n]", "%act[m, n]", "MOE0704", "%h", "%h is not defined here"),
    ("%up[m, n] =", "%gate[m, n] =", "MOE0704", "%up", "%up is not defined here"),
    (
        "(%gate) loc(9:22)\n",
        "(%gate)\n%up[m, n] = elem.constant number = 1.0\n",
        "MOE0705",
        "%up[m, n] = elem.constant",
        "%up is defined twice",
    ),
    ("h[m, n], acc", "h[m], acc", "MOE0705", "elem.store", "h has 2 dimensions"),
    ("h[m, n], acc", "g[m, n], acc", "MOE0705", "elem.store", "there is no tensor g"),
    ("rows = m", "rows = q", "MOE0705", "swiglu", "there is no index q"),
    ("split_k = 1", "split_k = 0", "MOE0705", "swiglu", "split_k is 0, less than 1"),
    ("target = sm_90a", "target = sm_90b", "MOE0708", "sm_90b", "there is no target `sm_90b`"),
    ('source "swiglu.moe" {', 'source "swiglu.moe {', "MOE0701", '"', "IR text is malformed"),
    ('"# SwiGLU', '"\\\\q# SwiGLU', "MOE0701", '"\\\\q', "malformed string"),
]


@pytest.mark.parametrize(("find", "put", "code", "spelled", "message"), BAD)
def test_bad_text_gives_a_diagnostic(
    find: str, put: str, code: str, spelled: str, message: str
) -> None:
    assert find in TILE_TEXT
    source = Source("bad.mir", TILE_TEXT.replace(find, put.replace("\\\\", "\\"), 1))
    with pytest.raises(DiagnosticError) as caught:
        parse_module(source)
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == code
    assert diagnostic.source is source
    assert diagnostic.span is not None
    assert source[diagnostic.span].startswith(spelled.replace("\\\\", "\\"))
    assert diagnostic.message.startswith(message)


def test_deep_regions_are_refused() -> None:
    op = "toy.repeat argument = (%i{}[]), times = none, body = {{"
    body = "".join(op.format(i) for i in range(3000)) + "elem.constant" + "}" * 3000
    text = print_module(EXAMPLE).replace("moe module", "toy module")
    header = text[: text.index("  %")].replace("index e", "warps = 1 index e", 1)
    with pytest.raises(DiagnosticError, match="MOE0701"):
        parse_module(Source("deep", f"{header}{body}}}"))


@relaxed
@given(st.data())
def test_mutated_text_raises_nothing_but_diagnostics(data: st.DataObject) -> None:
    parts = re.split(r"(\W)", TILE_TEXT)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(parts) - 1))
        other = data.draw(
            st.sampled_from([*parts[:80], "(", "}", "%", '"', "none", "-1", "é", "\0"])
        )
        parts[place] = other
    _parse_or_diagnose("".join(parts))


@relaxed
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_text_raises_nothing_but_diagnostics(text: str) -> None:
    _parse_or_diagnose(text)


def _parse_or_diagnose(text: str) -> Any:
    source = Source("fuzz", text)
    try:
        return parse_module(source)
    except DiagnosticError as error:
        for diagnostic in error.diagnostics:
            assert diagnostic.code.startswith("MOE07")
            assert diagnostic.span is not None
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
