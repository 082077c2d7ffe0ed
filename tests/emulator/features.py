"""Each feature of emitted kernels by name: a kernel, a schedule, what both are called with."""

from __future__ import annotations

from dataclasses import replace

from moedsl.inputs import Arguments, Layout, make_inputs
from moedsl.ir.core import Compute, DType, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Function, Load, Store
from moedsl.ir.moe import MoeKernel
from moedsl.ir.schedule import (
    Along,
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.meaning import Mode
from moedsl.reference import check_outputs
from tests.cuda.kernels import (
    PAIRED,
    SHARED,
    STORED,
    SWAPPED,
    TALL_STORED,
    THREE,
    TURNS,
    access,
    forward,
    gate_up,
    opened,
    two_depths,
    weight_gradient,
)
from tests.emulator.found import FOUND
from tests.emulator.harness import poison_gaps, poison_maps

ROWS = (70, 0, 1, 33)
SIZES = {"t": 130, "n": 72, "k": 136}
BASE = Schedule(TileShape(64, 64, 64), stages=3)
NARROW = replace(BASE, tile=TileShape(64, 64, 32))


def with_columns_through_a_map(kernel: MoeKernel) -> MoeKernel:
    """Y[m, n] = sum + bias[e, at[n]]."""
    signature, (contract, store) = kernel.signature, kernel.body
    assert isinstance(store, Store)
    bias, both = (Value(name, store.operand.dims) for name in ("bias", "both"))
    more = (
        Tensor("b", Role.INPUT, DType.BF16, ("e", "n")),
        Tensor("at", Role.INPUT, DType.I32, ("n",)),
    )
    body = (
        contract,
        Load(bias, access("b", "e", "at[n]")),
        Apply(both, Function.ADD, (store.operand, bias)),
        replace(store, operand=both),
    )
    return MoeKernel(replace(signature, tensors=(*more, *signature.tensors)), body)


def with_double_in_bf16(kernel: MoeKernel) -> MoeKernel:
    """``kernel``, and Z[m, n] = 2 * Y[m, n]."""
    signature, (contract, store) = kernel.signature, kernel.body
    assert isinstance(store, Store)
    double = Value("double", store.operand.dims)
    (output,) = signature.outputs
    body = (
        contract,
        store,
        Apply(double, Function.ADD, (store.operand, store.operand)),
        Store(double, access("z", *output.dims)),
    )
    tensors = (*signature.tensors, replace(output, name="z", dtype=DType.BF16))
    return MoeKernel(replace(signature, tensors=tensors), body)


CASES: dict[str, tuple[MoeKernel, Schedule]] = {
    "bf16": (forward(4, 72, 136), BASE),
    "f16": (forward(4, 72, 136, compute=Compute.F16), replace(BASE, stages=2)),
    "tf32": (forward(4, 72, 136, compute=Compute.TF32), NARROW),
    "f32": (forward(4, 72, 136, compute=Compute.F32), NARROW),
    "f32 swapped": (forward(4, 72, 136, compute=Compute.F32), replace(NARROW, swap_ab=True)),
    "odd": (forward(4, 67, 41, weights="ekn"), BASE),
    "tails and swap": (
        forward(4, 72, 136, weights="ekn"),
        replace(BASE, swap_ab=True, tails=(32, 16, 8)),
    ),
    "dynamic": (
        forward(4, 72, 136),
        replace(BASE, persistent=Persistence.DYNAMIC, raster=Raster(Along.COLUMNS, 3, True)),
    ),
    "longest": (
        forward(4, 72, 136),
        replace(BASE, order=ExpertOrder.LONGEST, persistent=Persistence.OFF),
    ),
    "fused split": (
        forward(4, 72, 320),
        replace(BASE, fuse_rows=33, split_k=2, persistent=Persistence.DYNAMIC),
    ),
    "gathered": (forward(4, 72, 136, gather=True), BASE),
    "odd gathered": (forward(4, 67, 41, gather=True), BASE),
    "scattered": (
        forward(4, 72, 136, scatter=True, accumulate=True, output=DType.F32),
        BASE,
    ),
    "accumulated": (forward(4, 72, 136, accumulate=True), BASE),
    "single elements": (forward(4, 67, 41, accumulate=True), BASE),
    "columns through a map": (with_columns_through_a_map(forward(4, 72, 136)), BASE),
    "weight gradient": (weight_gradient(experts=4, n=72, k=40), BASE),
    "gate and up": (gate_up(experts=4, n=72, k=72), replace(BASE, tails=(32, 16))),
    "gate and up into f32": (gate_up(experts=4, n=72, k=72, output=DType.F32), BASE),
}


INDEXED_PAIRS = replace(PAIRED, order=ExpertOrder.INDEX)
KEPT = replace(SWAPPED, epilogue_store=EpilogueStore.TMA, tails=(48, 16))
SPECIALISED: dict[str, tuple[MoeKernel, Schedule]] = {
    "shared": (forward(4, 72, 136), replace(SHARED, tile=TileShape(128, 64, 64))),
    "shared swapped": (forward(4, 72, 136, weights="ekn"), SWAPPED),
    "turns": (forward(4, 72, 136), TURNS),
    "turns of a depth that the call says": (opened(forward(4, 72, 136), "k"), TURNS),
    "turns of three": (
        forward(4, 72, 136, compute=Compute.F16),
        replace(THREE, persistent=Persistence.DYNAMIC, order=ExpertOrder.INTERLEAVED),
    ),
    "stored by the engine": (
        forward(4, 264, 136),
        replace(STORED, balanced=True, tails=(48, 32, 16), persistent=Persistence.DYNAMIC),
    ),
    "stored f32": (weight_gradient(experts=4, n=72, k=136), STORED),
    "cluster of four": (
        forward(4, 328, 136),
        replace(
            SWAPPED,
            cluster_columns=4,
            row_eviction=Eviction.LAST,
            column_eviction=Eviction.FIRST,
            persistent=Persistence.OFF,
        ),
    ),
    # Three column tiles: pairs of row tiles share two of them.
    "pairs": (forward(4, 328, 136), replace(PAIRED, epilogue_store=EpilogueStore.TMA)),
    "pairs of rows along columns": (
        forward(4, 264, 136, weights="ekn"),
        replace(PAIRED, swap_ab=False, tile=TileShape(128, 64, 64), tails=(64,), split_k=2),
    ),
    "pairs of gathered rows": (
        forward(4, 264, 136, gather=True),
        replace(PAIRED, consumer_registers=208),
    ),
    "pairs that share a depth": (weight_gradient(experts=4, n=136, k=264), INDEXED_PAIRS),
    "gate and up in pairs": (
        gate_up(experts=4, n=136, k=72),
        replace(PAIRED, tile=TileShape(64, 64, 64), fuse_rows=16),
    ),
    "split": (forward(4, 72, 264), replace(SWAPPED, split_k=3, fuse_rows=33)),
    "split in turns": (forward(4, 264, 264), replace(STORED, split_k=2, fuse_rows=33)),
    # Too many for the next part to be on its way while one leaves.
    "gate and up in many splits": (
        gate_up(experts=4, n=72, k=384),
        replace(TURNS, stages=2, split_k=6),
    ),
    "gate and up in many splits by the engine": (
        gate_up(experts=4, n=72, k=384),
        replace(STORED, stages=2, split_k=5, tails=(48, 16)),
    ),
    "gate and up in turns": (gate_up(experts=4, n=72, k=72), replace(TURNS, stages=2)),
    "gate and up stored by the engine": (
        gate_up(experts=4, n=72, k=72),
        replace(STORED, stages=2, tails=(48, 16)),
    ),
    "two outputs stored by the engine": (
        with_double_in_bf16(forward(4, 264, 136, output=DType.F32)),
        replace(STORED, stages=2),
    ),
    # Columns on the flat side: whole parts of 32, less in a line's last one, several consumers.
    "stored by the engine as rows lie": (
        forward(4, 264, 136),
        replace(TALL_STORED, tails=(64,), balanced=True, persistent=Persistence.DYNAMIC),
    ),
    "stored f32 as rows lie": (
        weight_gradient(experts=4, n=72, k=136),
        replace(TALL_STORED, tile=TileShape(64, 80, 64), tails=()),
    ),
    "consumers of 40 columns, stored by the engine": (
        forward(4, 72, 136),
        replace(
            SHARED,
            tile=TileShape(128, 80, 64),
            tails=(64,),
            split_k=2,
            epilogue_store=EpilogueStore.TMA,
        ),
    ),
    "gate and up, stored as rows lie": (
        gate_up(experts=4, n=72, k=72),
        replace(TALL_STORED, tile=TileShape(128, 48, 64), stages=2, tails=()),
    ),
    "two outputs, stored as rows lie": (
        with_double_in_bf16(forward(4, 264, 136, output=DType.F32)),
        replace(TALL_STORED, tile=TileShape(64, 72, 64), tails=()),
    ),
    **dict.fromkeys(
        ("columns that the call says", "columns that end within 16 bytes"),
        (opened(forward(4, 72, 136), "n"), STORED),
    ),
    **dict.fromkeys(
        ("columns as rows lie that the call says", "columns as rows lie that end within 16 bytes"),
        (opened(weight_gradient(4, 72, 136), "k"), TALL_STORED),
    ),
    "gathered to scattered": (
        forward(4, 72, 136, gather=True, scatter=True, accumulate=True, output=DType.F32),
        replace(TURNS, tile=TileShape(64, 64, 128), consumer_registers=208),
    ),
    # What is in flight must land before another tile is waited for.
    "gathered from little depth": (
        forward(4, 520, 64, gather=True),
        replace(TURNS, stages=5, consumer_registers=208),
    ),
    "shared, gathered from little depth": (
        forward(4, 264, 64, gather=True),
        replace(SWAPPED, stages=5, consumer_registers=208),
    ),
    # Blocks of depth are there or not, and the last stage has one of either.
    "gathered from whole blocks": (
        forward(4, 72, 192, gather=True),
        replace(TURNS, tile=TileShape(64, 64, 128), tails=(40, 24), consumer_registers=208),
    ),
    "gathered from less than a block": (
        forward(4, 72, 40, gather=True),
        replace(TURNS, consumer_registers=208),
    ),
    # Of the 16 bytes that end a row, half are there.
    "gathered from a depth of 140": (
        forward(4, 72, 140, gather=True),
        replace(TURNS, tails=(40, 24), consumer_registers=208),
    ),
    "shared, gathered into wide tiles": (
        forward(4, 264, 136, gather=True),
        replace(
            SWAPPED,
            tile=TileShape(144, 256, 64),
            tails=(40, 24),
            producer_registers=56,
            consumer_registers=200,
            epilogue_store=EpilogueStore.TMA,
        ),
    ),
    # Outputs wait in a tile's last stage, which may be its only one, and short.
    "kept": (forward(4, 328, 136), replace(KEPT, cluster_columns=2)),
    "kept, a stage a tile": (
        forward(4, 520, 40),
        replace(KEPT, stages=2, persistent=Persistence.DYNAMIC),
    ),
    "kept, wide": (
        forward(4, 520, 200, weights="ekn"),
        replace(KEPT, tile=TileShape(64, 256, 64), tails=(48, 8)),
    ),
    "kept, wide, two sums": (
        gate_up(experts=4, n=520, k=136),
        replace(KEPT, tile=TileShape(64, 256, 64), stages=2),
    ),
    "kept, wide, f32": (
        forward(4, 520, 136, output=DType.F32),
        replace(KEPT, tile=TileShape(96, 256, 64), tails=(56, 8)),
    ),
    "kept, gathered in pairs": (
        forward(4, 520, 72, gather=True),
        replace(
            PAIRED,
            cooperation=Cooperation.COOPERATIVE,
            epilogue_store=EpilogueStore.TMA,
            consumer_registers=208,
        ),
    ),
    "kept, two depths": (two_depths(), replace(KEPT, stages=4)),
    "gate and up, kept": (
        gate_up(experts=4, n=264, k=264),
        replace(KEPT, tile=TileShape(64, 128, 128), stages=2, persistent=Persistence.DYNAMIC),
    ),
    # A consumer's share of the rows, or columns, is no multiple of what it stages.
    "consumers of 40 rows": (
        forward(4, 72, 136),
        replace(SWAPPED, tile=TileShape(80, 64, 64)),
    ),
    "consumers of 40 rows, stored by the engine": (
        forward(4, 72, 136),
        replace(SWAPPED, tile=TileShape(80, 64, 64), epilogue_store=EpilogueStore.TMA),
    ),
    "consumers of 24 columns": (
        forward(4, 72, 136),
        replace(SHARED, tile=TileShape(64, 48, 64)),
    ),
    # More flat positions than a product has, in each of two consumers.
    "consumers of 320 rows": (
        forward(4, 264, 72),
        replace(SWAPPED, tile=TileShape(640, 64, 64), stages=2, cluster_columns=4),
    ),
    # A panel of 64 columns holds 48; a stage has two.
    "panels": (
        weight_gradient(experts=4, n=72, k=136),
        replace(SHARED, tile=TileShape(128, 48, 128)),
    ),
    # Tiles without depth pass the turn at once, on the heels of the tile before.
    "turns without depth": (
        weight_gradient(experts=4, n=72, k=40),
        replace(THREE, tails=(), split_k=3, cluster_columns=2),
    ),
    "two on an SM": (
        forward(4, 72, 136),
        replace(SWAPPED, tile=TileShape(16, 64, 64), consumers=1, producer_registers=24),
    ),
}
WORDS = replace(TURNS, tile=TileShape(64, 128, 32))
SPECIALISED |= {
    "tf32 shared into bf16": (
        forward(4, 72, 136, compute=Compute.TF32, output=DType.BF16),
        replace(SHARED, tile=TileShape(128, 64, 64), tails=(64,)),
    ),
    "tf32 in turns": (opened(forward(4, 72, 136, compute=Compute.TF32), "k"), WORDS),
    "tf32 stored by the engine": (
        forward(4, 264, 136, compute=Compute.TF32),
        replace(STORED, tile=TileShape(64, 64, 128), stages=2, balanced=True, tails=(48, 32, 16)),
    ),
    "tf32 split and scattered": (
        forward(4, 72, 136, compute=Compute.TF32, scatter=True, accumulate=True),
        replace(WORDS, split_k=3, fuse_rows=33, persistent=Persistence.DYNAMIC),
    ),
    "tf32 of shared weights": (
        forward(4, 328, 76, compute=Compute.TF32, weights="nk", accumulate=True),
        replace(SWAPPED, tile=TileShape(64, 128, 32), cluster_columns=4),
    ),
}
FRAGMENTS = {
    "tf32 across": (
        forward(4, 72, 136, compute=Compute.TF32, weights="ekn"),
        replace(SWAPPED, tile=TileShape(64, 128, 64), tails=(48, 8)),
    ),
    "tf32 across in turns": (
        opened(forward(4, 264, 136, compute=Compute.TF32, weights="ekn"), "k"),
        replace(STORED, tile=TileShape(64, 128, 32), stages=4),
    ),
    "tf32 across, two panels for each": (
        forward(4, 328, 140, compute=Compute.TF32, weights="kn", output=DType.BF16),
        replace(SWAPPED, tile=TileShape(32, 256, 64), stages=2, split_k=2, tails=()),
    ),
    "gate and up of tf32": (
        gate_up(experts=4, n=72, k=136, compute=Compute.TF32, output=DType.F32),
        replace(PAIRED, tile=TileShape(64, 64, 32)),
    ),
    "tf32 gathered": (
        forward(4, 72, 136, compute=Compute.TF32, gather=True),
        replace(SHARED, tile=TileShape(128, 72, 64), consumer_registers=200),
    ),
    "tf32 gathered in turns": (
        forward(4, 72, 76, compute=Compute.TF32, gather=True, scatter=True, accumulate=True),
        replace(
            TURNS,
            swap_ab=False,
            tile=TileShape(128, 64, 32),
            tails=(64,),
            consumer_registers=200,
            cluster_rows=2,
            balanced=True,
        ),
    ),
}
"""Tall operands that come to registers."""
CASES |= SPECIALISED | FRAGMENTS | FOUND


def sizes_of(name: str, kernel: MoeKernel) -> dict[str, int]:
    """Extents that the call of a case says."""
    less = 3 if name.endswith("end within 16 bytes") else 0
    return {index.name: SIZES[index.name] - less for index in kernel.signature.dynamic}


def layout_of(name: str, kernel: MoeKernel, tensor: Tensor, schedule: Schedule) -> Layout:
    """Gaps between elements, or behind rows; for specialised warps rows start at multiples of 16
    bytes.
    """
    if tensor.dtype is DType.I32 or name == "single elements":
        return Layout(gap=2)
    last = tensor.dims[-1] if tensor.dims else ""
    fixed = {i.name: i.extent for i in kernel.signature.indices if i.extent is not None}
    extent = (sizes_of(name, kernel) | fixed).get(last, 0)
    return Layout(padding=8 + (-extent % 8 if schedule.specialised else 0))


def mode_of(name: str) -> Mode:
    """What is asked of the result; functions of a library are rounded as it likes."""
    return Mode.BOUND if name.startswith("gate and up") else Mode.EXACT


def arguments_of(name: str, rows: tuple[int, ...]) -> Arguments:
    """What a case is called with."""
    kernel, schedule = CASES[name]
    padding = {
        tensor.name: layout_of(name, kernel, tensor, schedule)
        for tensor in kernel.signature.tensors
    }
    sizes = sizes_of(name, kernel)
    given = make_inputs(kernel, rows, sizes, mode_of(name), 1, padding, spare_rows=3)
    poison_maps(given)
    poison_gaps(given)
    return given


def assert_right(name: str, given: Arguments) -> None:
    """The outputs are what the case asks for, and nothing else was written."""
    kernel, _ = CASES[name]
    outputs = given.inputs, given.outputs, given.initial_outputs, given.ends
    verdict = check_outputs(kernel, *outputs, mode_of(name))
    assert verdict.passed, verdict.message
    assert not given.trespass()
