"""Every code of the lowering and of IR text is explained, and no other of their ranges."""

from __future__ import annotations

from moedsl.backends.cuda.executable import SERIALIZED, SPILLED
from moedsl.ir import nodes, text
from moedsl.lower import pipeline
from moedsl.lower.rules import GROUPS, WASTE
from moedsl.source.codes import CODES


def test_legality_codes_are_explained() -> None:
    used = {code for group in (*GROUPS, WASTE) for code, _ in group} | {SPILLED, SERIALIZED}
    assert {code for code in CODES if code.startswith("MOE04")} == used


def test_ir_codes_are_explained() -> None:
    used = {nodes.MALFORMED, nodes.UNKNOWN, nodes.MISTYPED, nodes.UNDEFINED, text.ILL_FORMED}
    used |= {pipeline.UNKNOWN_PASS, pipeline.WRONG_LEVEL, nodes.UNKNOWN_TARGET}
    assert {code for code in CODES if code.startswith("MOE07")} == used
