"""The gpu dialect, which the cuda backend registers, prints and parses like the built-in ones."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.ir.module import Module
from moedsl.ir.text import parse_module, print_module
from moedsl.lower.build_tile import build_tile
from moedsl.source.span import Source
from moedsl.target import TARGETS
from tests.strategies import legal_schedules, moe_kernels


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(st.data())
def test_parse_of_print_is_identity(data: st.DataObject) -> None:
    source = Source("it.moe", "kernel text")
    kernel = data.draw(moe_kernels(source=source))
    target = TARGETS[data.draw(st.sampled_from(("sm_80", "sm_90a")))]
    tile = build_tile(kernel, data.draw(legal_schedules(kernel, target)), target)
    module = Module("gpu", (lower_to_gpu(tile, every_vector(tile.signature)),), source)
    text = print_module(module)
    assert parse_module(Source("it.mir", text)) == module
