"""What code generation decides from layouts, and a kernel of two sums of different depth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moedsl.backends.cuda.abi import AccessModes
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emission.constants import emit_order
from moedsl.backends.cuda.emission.writer import Writer, float_literal
from moedsl.backends.cuda.emit import generate
from moedsl.backends.cuda.gpu import Copy, CopyWay
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.backends.emulator import BACKEND
from moedsl.inputs import make_inputs
from moedsl.ir.core import Index, IndexKind, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Function, Store
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import Persistence, Schedule, TileShape
from moedsl.lower.build_tile import build_tile
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from moedsl.source.span import Source, Span
from moedsl.target import TARGETS
from tests.cuda.kernels import access, forward, weight_gradient
from tests.cuda.test_emit import own_text

BASE = Schedule(TileShape(64, 64, 32), stages=3)
TARGET = TARGETS["sm_80"]
VECTOR, MAPPED, ELEMENT = CopyWay.VECTOR, CopyWay.MAPPED, CopyWay.ELEMENT


@pytest.mark.parametrize(
    ("kernel", "ways"),
    [
        (forward(), [VECTOR, VECTOR]),
        (forward(weights="ekn"), [VECTOR, VECTOR]),
        (forward(weights="nke"), [VECTOR, ELEMENT]),
        (forward(gather=True), [MAPPED, VECTOR]),
        (forward(rows="km"), [ELEMENT, VECTOR]),
        (forward(rows="km", gather=True), [ELEMENT, VECTOR]),
        (weight_gradient(), [VECTOR, VECTOR]),
        (weight_gradient(gather=True), [VECTOR, MAPPED]),
    ],
)
def test_operands_are_copied_as_fast_as_they_lie(kernel: MoeKernel, ways: list[CopyWay]) -> None:
    tile = build_tile(kernel, BASE, TARGET)
    for modes, expected in (
        (every_vector(kernel.signature), ways),
        (AccessModes(frozenset()), [ELEMENT] * len(ways)),
    ):
        (pipeline,) = lower_to_gpu(tile, modes).pipelines
        assert [s.way for s in pipeline.body if isinstance(s, Copy)] == expected


def test_whole_vectors_are_stored_where_columns_lie_together() -> None:
    tile = build_tile(forward(), BASE, TARGET)
    whole = own_text(tile, every_vector(tile.signature))
    assert "moe::store_vector(arguments.y_ptr" in whole
    assert "moe::store_elements" not in whole
    assert "arguments.y_stride1" not in whole
    assert "moe::store_elements(arguments.y_ptr" in own_text(tile, AccessModes(frozenset()))


@pytest.mark.parametrize("tails", [(), (32,)])
def test_rows_that_no_tile_has_are_not_copied(tails: tuple[int, ...]) -> None:
    tile = build_tile(forward(), replace(BASE, tails=tails), TARGET)
    text = own_text(tile, every_vector(tile.signature))
    assert f"moe::VectorCopy<rows0_tile, kThreads, {str(bool(tails)).lower()}>" in text
    assert "moe::VectorCopy<columns0_0_tile, kThreads, false>" in text


@pytest.mark.parametrize("columns", [8, 32, 64, 96, 128])
def test_columns_are_counted_where_the_last_tile_has_fewer(columns: int) -> None:
    tile = build_tile(forward(n=columns), BASE, TARGET)
    counted = "n_extent - tile.column" in own_text(tile, every_vector(tile.signature))
    assert counted == (columns % BASE.tile.columns > 0)


def test_what_has_no_place_in_the_source_has_no_directive() -> None:
    writer = Writer("test.cu")
    with writer.from_source(Source("f.moe", "gate"), Span(0, 0)):
        writer.line("here();")
    assert writer.finish() == "here();\n"


@pytest.mark.parametrize(("number", "bits"), [(1e300, 0x7F800000), (-1e300, 0xFF800000)])
def test_numbers_beyond_f32_are_its_infinities(number: float, bits: int) -> None:
    assert float_literal(number) == f"moe::float_of({bits:#010x}u)"


def test_arguments_are_words_of_eight_bytes_that_say_what_they_are() -> None:
    schedule = replace(BASE, split_k=2, persistent=Persistence.DYNAMIC)
    unit = generate(build_tile(forward(), schedule, TARGET), AccessModes(frozenset()))
    assert [f.offset for f in unit.arguments] == list(range(0, unit.argument_bytes, 8))
    assert {f.bytes for f in unit.arguments} == {8}
    for line in (
        "const moe::bf16* w_ptr;  // bf16[e=8, n=256, k=128]",
        "moe::i64 w_stride2;  // elements along k",
        "moe::i64 t_extent;",
        "const int* offs;  // i32[8], where each expert's rows end",
        "float* partials;  // f32[tiles, 2 parts, 1 sums, tile]",
    ):
        assert f"    {line}\n" in unit.source


@pytest.mark.parametrize("split_k", [1, 2, 3])
@pytest.mark.parametrize("fuse_rows", [0, 1, 16])
@pytest.mark.parametrize("by_rows", [True, False])
def test_tiles_are_counted_where_items_do_not_number_them(
    split_k: int, fuse_rows: int, by_rows: bool
) -> None:
    kernel = forward(k=1024) if by_rows else weight_gradient()
    schedule = replace(BASE, split_k=split_k, fuse_rows=fuse_rows)
    writer = Writer("test.cu")
    tile = build_tile(kernel, schedule, TARGET)
    emit_order(writer, lower_to_gpu(tile, every_vector(kernel.signature)))
    counted = split_k > 1 and fuse_rows > 0 and by_rows
    assert f"kCountTiles = {str(counted).lower()};" in writer.finish()


def two_depths() -> MoeKernel:
    """Y = sum[k] x * w + sum[j] z * v."""
    base = forward(4, 72, 136)
    x, w, y = base.signature.tensors
    tensors = (
        x,
        w,
        Tensor("z", Role.INPUT, x.dtype, ("m", "j")),
        Tensor("v", Role.INPUT, x.dtype, ("e", "n", "j")),
        y,
    )
    indices = (*base.signature.indices, Index("j", IndexKind.FIXED, 41))
    near, far, both = (Value(name, ("m", "n")) for name in ("near", "far", "both"))
    return MoeKernel(
        replace(base.signature, tensors=tensors, indices=indices),
        (
            Contract(near, "k", access("x", "m", "k"), access("w", "e", "n", "k")),
            Contract(far, "j", access("z", "m", "j"), access("v", "e", "n", "j")),
            Apply(both, Function.ADD, (near, far)),
            Store(both, access("y", "m", "n")),
        ),
    )


@pytest.mark.parametrize("split_k", [1, 2])
def test_two_pipelines_follow_each_other(split_k: int) -> None:
    kernel = two_depths()
    schedule = replace(BASE, tails=(16,), split_k=split_k)
    given = make_inputs(kernel, (70, 0, 1, 33), {"t": 130}, Mode.EXACT, 1)
    BACKEND.compile(build_tile(kernel, schedule, TARGET)).launch(given.call())
    outputs = (given.inputs, given.outputs, given.initial_outputs, given.ends)
    verdict = check_outputs(kernel, *outputs, Mode.EXACT)
    assert verdict.passed, verdict.message
