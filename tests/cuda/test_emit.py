"""What emitted CUDA C looks like, and that NVRTC takes it without spilling."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.backends.cuda.abi import AccessModes, ArgumentField, TensorMapOf
from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emission.writer import Writer
from moedsl.backends.cuda.emit import emit_kernel, entry_name, generate, prelude_parts
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.backends.cuda.nvrtc import EmissionError, compile_cubin
from moedsl.ir.core import Compute, DType, Value
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.schedule import (
    Cooperation,
    EpilogueStore,
    Eviction,
    ExpertOrder,
    Persistence,
    Schedule,
    TileShape,
)
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.lower.choose_schedule import choose_schedule
from moedsl.lower.propose_specialised import registers_for
from moedsl.lower.resources import resources
from moedsl.lower.resources.specialised import kernel_obstacle, most_flat
from moedsl.target import TARGETS
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
    weight_gradient,
)

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import GeneratedKernel
    from moedsl.ir.tile import TileKernel

BASE = Schedule(TileShape(64, 64, 64), stages=3)
WORDS = replace(BASE, tile=TileShape(64, 64, 32))


W = access("w", "e", "n", "k")


def lowered(kernel: MoeKernel, schedule: Schedule = BASE, target: str = "sm_90a") -> TileKernel:
    return build_tile(kernel, schedule, TARGETS[target])


def vector(kernel: MoeKernel) -> AccessModes:
    return every_vector(kernel.signature)


def own_text(kernel: TileKernel, access_modes: AccessModes) -> str:
    """The unit without the prelude."""
    writer = Writer("test.cu")
    emit_kernel(writer, lower_to_gpu(kernel, access_modes))
    return writer.finish()


FORMS = {
    "bf16": (forward(), replace(BASE, tails=(32, 16), persistent=Persistence.DYNAMIC)),
    "f16 kn": (forward(compute=Compute.F16, weights="ekn"), BASE),
    "tf32": (forward(compute=Compute.TF32), WORDS),
    "tf32 kn": (forward(compute=Compute.TF32, weights="ekn"), replace(WORDS, swap_ab=True)),
    "f32": (forward(compute=Compute.F32), WORDS),
    "f32 kn": (forward(compute=Compute.F32, weights="ekn"), WORDS),
    "swap": (forward(), replace(BASE, swap_ab=True, tails=(24, 8))),
    "split": (forward(k=640), replace(BASE, split_k=3, fuse_rows=16)),
    "longest": (forward(experts=300), replace(BASE, order=ExpertOrder.LONGEST)),
    "gather": (forward(gather=True), BASE),
    "scatter": (forward(scatter=True, accumulate=True, output=DType.F32), BASE),
    "rows along depth": (forward(rows="km"), BASE),
    "gate and up": (gate_up(), replace(BASE, tails=(32,))),
    "gradient": (weight_gradient(), BASE),
    "gradient gathered": (weight_gradient(gather=True), BASE),
    "one element": (forward(n=1, k=1), replace(BASE, persistent=Persistence.OFF)),
}

SPECIALISED = {
    "shared": (forward(), replace(SHARED, tile=TileShape(128, 128, 64))),
    "shared, rows along columns": (forward(weights="ekn"), replace(SWAPPED, tails=(24, 8))),
    "turns of three": (forward(compute=Compute.F16), replace(THREE, order=ExpertOrder.INTERLEAVED)),
    "stored": (forward(), replace(STORED, persistent=Persistence.DYNAMIC)),
    "stored f32": (weight_gradient(), STORED),
    "stored as rows lie": (forward(), TALL_STORED),
    "stored as rows lie, f32": (
        weight_gradient(),
        replace(TALL_STORED, tile=TileShape(64, 72, 64), tails=()),
    ),
    "gate and up, stored as rows lie": (
        gate_up(),
        replace(TALL_STORED, tile=TileShape(64, 128, 64), tails=()),
    ),
    "stored, dynamic columns": (opened(forward(), "n"), STORED),
    "stored as rows lie, dynamic columns": (opened(weight_gradient(), "k"), TALL_STORED),
    "pairs": (forward(), replace(PAIRED, epilogue_store=EpilogueStore.TMA)),
    "gathered in pairs": (forward(gather=True), replace(PAIRED, consumer_registers=208)),
    "split in turns": (forward(k=640), replace(STORED, split_k=3, fuse_rows=16)),
    # Two parts of its sums together are more than a thread has registers.
    "split in high turns": (
        forward(k=640),
        replace(STORED, tile=TileShape(128, 128, 64), tails=(96, 64, 32), split_k=2),
    ),
    "gathered to scattered": (
        forward(gather=True, scatter=True, accumulate=True, output=DType.F32),
        replace(TURNS, tile=TileShape(96, 128, 128), tails=(32,), consumer_registers=216),
    ),
    "gate and up in turns": (gate_up(), replace(TURNS, tile=TileShape(128, 64, 64), tails=())),
    "tf32 shared": (
        forward(compute=Compute.TF32, output=DType.BF16),
        replace(SHARED, tile=TileShape(128, 128, 64)),
    ),
    "tf32 across": (
        forward(compute=Compute.TF32, weights="ekn"),
        replace(STORED, tile=TileShape(64, 128, 64), tails=(16,), stages=3),
    ),
    "tf32 across in turns": (
        forward(n=1024, compute=Compute.TF32, weights="ekn"),
        replace(TURNS, tile=TileShape(176, 128, 32), tails=tuple(range(160, 0, -16))),
    ),
    "tf32 gate and up": (
        gate_up(compute=Compute.TF32),
        replace(TURNS, tile=TileShape(128, 64, 32), tails=(96, 64, 32)),
    ),
    "tf32 gathered": (
        forward(compute=Compute.TF32, gather=True),
        replace(SHARED, tile=TileShape(128, 128, 32), tails=(), consumer_registers=200),
    ),
    "tf32 gathered in turns": (
        forward(compute=Compute.TF32, gather=True, output=DType.F32),
        replace(
            TURNS,
            tile=TileShape(128, 128, 32),
            tails=(64,),
            swap_ab=False,
            consumer_registers=200,
        ),
    ),
    "tf32 stored": (
        forward(compute=Compute.TF32),
        replace(STORED, tile=TileShape(64, 128, 32), split_k=2, fuse_rows=16),
    ),
}


@pytest.mark.parametrize("aligned", [True, False], ids=["vector", "element"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_compiles_without_spills(form: str, aligned: bool) -> None:
    kernel, schedule = FORMS[form]
    modes = vector(kernel) if aligned else AccessModes(frozenset())
    unit = generate(lowered(kernel, schedule, "sm_80"), modes)
    notes = compile_cubin(unit.source, unit.entry, "sm_80").notes
    assert not notes.spills
    assert notes.stack == 0


@pytest.mark.parametrize("form", SPECIALISED)
def test_specialised_forms_compile_without_spills(form: str) -> None:
    kernel, schedule = SPECIALISED[form]
    tile = lowered(kernel, schedule)
    assert lower_to_gpu(tile, vector(kernel)).schedule == schedule
    unit = generate(tile, vector(kernel))
    notes = compile_cubin(unit.source, unit.entry, "sm_90a").notes
    assert not notes.spills
    assert not notes.serialized
    assert notes.stack == 0


@pytest.mark.parametrize("rows", [8, 2400, None])
@pytest.mark.parametrize(
    "kernel",
    [
        forward(n=4096, k=4096, compute=Compute.TF32, weights="ekn"),
        forward(n=4096, k=4096, compute=Compute.TF32, gather=True),
        gate_up(n=4096, k=4096, compute=Compute.TF32),
    ],
    ids=["across", "gathered", "gate and up"],
)
def test_defaults_that_bring_operands_to_registers_have_room(
    kernel: MoeKernel, rows: int | None
) -> None:
    schedule = choose_schedule(kernel, TARGETS["sm_90a"], None, rows)
    tile = lowered(kernel, schedule)
    assert resources(tile, TARGETS["sm_90a"]).fragments > 0
    unit = generate(tile, vector(kernel))
    notes = compile_cubin(unit.source, unit.entry, "sm_90a").notes
    assert not notes.spills
    assert not notes.serialized


@pytest.mark.parametrize("form", SPECIALISED)
def test_roles_have_their_names_before_they_begin(form: str) -> None:
    kernel, schedule = SPECIALISED[form]
    text = own_text(lowered(kernel, schedule), vector(kernel))
    begun = {
        "scheduler": "schedule_tiles(arguments, plan);",
        "producer of rows": "produce_rows(arguments);",
        "producer of columns": "produce_columns(arguments);",
    }
    for name, begin in begun.items():
        assert text.index(f'moe::role("{name}");') < text.index(begin)


@pytest.mark.parametrize("form", SPECIALISED)
def test_only_clusters_take_what_clusters_need(form: str) -> None:
    kernel, schedule = SPECIALISED[form]
    text = own_text(lowered(kernel, schedule), vector(kernel))
    assert ("cluster" in text) is (schedule.cluster > 1)


def test_rows_come_through_a_map_in_all_sums_or_in_none() -> None:
    mapped, plain = forward(gather=True), forward()
    kernel = replace(
        mapped,
        signature=replace(
            mapped.signature,
            tensors=(*mapped.signature.tensors, replace(plain.signature.tensor("x"), name="x2")),
        ),
        body=(
            Contract(Value("more", ("m", "n")), "k", access("x2", "m", "k"), W),
            *mapped.body,
        ),
    )
    assert kernel_obstacle(mapped) == kernel_obstacle(plain) == ""
    assert kernel_obstacle(kernel) == "x is read through a map, and x2 is not"


def test_emission_is_deterministic() -> None:
    kernel = lowered(gate_up())
    assert generate(kernel, vector(gate_up())) == generate(kernel, vector(gate_up()))


@pytest.mark.parametrize("form", [*FORMS, *SPECIALISED])
def test_only_the_prelude_touches_the_machine(form: str) -> None:
    kernel, schedule = (FORMS | SPECIALISED)[form]
    text = own_text(lowered(kernel, schedule), vector(kernel))
    for word in ("asm", "__shared__", "volatile", "threadIdx", "blockIdx", "__sync", "while"):
        assert word not in text
    assert not re.search(r"^static|goto|#include", text, re.MULTILINE)
    assert all(len(line) <= 100 for line in text.splitlines())


def test_prelude_holds_only_what_is_needed() -> None:
    simt = prelude_parts(lower_to_gpu(lowered(*FORMS["f32"]), AccessModes(frozenset())))
    tensor = prelude_parts(lower_to_gpu(lowered(*FORMS["bf16"]), AccessModes(frozenset())))
    assert "mma" not in simt
    assert "simt" not in tensor
    assert "split" not in simt + tensor


@pytest.mark.parametrize("form", ["bf16", "f32", "stored", "gathered to scattered"])
def test_launches_overlap_where_the_target_can(form: str) -> None:
    kernel, schedule = (FORMS | SPECIALISED)[form]
    unit = generate(lowered(kernel, schedule), vector(kernel))
    entry = unit.source[unit.source.index(f"{unit.entry}(") :]
    wait, allow = entry.index("wait_for_previous_launch"), entry.index("allow_next_launch")
    assert unit.overlaps and wait < entry.index("plan.build") < allow
    if not schedule.specialised:
        old = generate(lowered(kernel, schedule, "sm_89"), vector(kernel))
        assert not old.overlaps and "griddepcontrol" not in old.source


@pytest.mark.parametrize(
    ("form", "target"),
    [
        *((form, "sm_80") for form in ("bf16", "split", "gate and up", "gather")),
        *((form, "sm_90a") for form in ("stored", "gathered to scattered")),
    ],
)
def test_argument_fields_lie_where_the_struct_has_them(form: str, target: str) -> None:
    kernel, schedule = (FORMS | SPECIALISED)[form]
    schedule = replace(schedule, persistent=Persistence.DYNAMIC)
    unit = generate(lowered(kernel, schedule, target), vector(kernel))
    checks = [f"static_assert(sizeof(Arguments) == {unit.argument_bytes});"]
    checks += [
        f"static_assert(__builtin_offsetof(Arguments, {member(field)}) == {field.offset});"
        for field in unit.arguments
    ]
    compile_cubin(unit.source + "\n".join(checks), unit.entry, target)


def member(field: ArgumentField) -> str:
    """Maps are members of an array, fields one by one."""
    mapped = isinstance(field.source, TensorMapOf)
    return re.sub(r"(\d+)$", r"[\1]", field.name) if mapped else field.name


@pytest.mark.parametrize(
    ("form", "few"),
    [("pairs", True), ("gathered in pairs", False), ("stored", False), ("low", True)],
)
def test_maps_tell_of_few_rows(form: str, few: bool) -> None:
    low = forward(), replace(STORED, tile=TileShape(32, 128, 64), tails=())
    kernel, schedule = low if form == "low" else SPECIALISED[form]
    fields = generate(lowered(kernel, schedule), vector(kernel)).arguments
    maps = [field.source for field in fields if isinstance(field.source, TensorMapOf)]
    inputs = [source for source in maps if source.tensor != "y"]
    assert inputs and {source.few_rows for source in inputs} == {few}


def test_workspace_follows_the_schedule() -> None:
    def parts(schedule: Schedule) -> set[str]:
        return {rule.part.value for rule in unit_of(schedule).workspace}

    assert parts(BASE) == set()
    assert parts(replace(BASE, persistent=Persistence.DYNAMIC)) == {"counter"}
    assert parts(replace(BASE, split_k=2)) == {"semaphores", "partials"}


def unit_of(schedule: Schedule) -> GeneratedKernel:
    return generate(lowered(forward(), schedule), vector(forward()))


@pytest.mark.parametrize(
    ("cluster", "evictions", "hints"),
    [
        (1, (Eviction.LAST, Eviction.FIRST), ("full, moe::keep_long", "full, moe::keep_briefly")),
        (
            2,
            (Eviction.FIRST, Eviction.LAST),
            ("full, 3, moe::keep_briefly", "full, moe::keep_long"),
        ),
        (2, (Eviction.LAST, Eviction.NORMAL), ("full, 3, moe::keep_long", "full")),
        (
            1,
            (Eviction.NORMAL, Eviction.ONCE),
            ("full", "full, tile.once ? moe::keep_briefly : moe::keep_normal"),
        ),
        (1, (Eviction.NORMAL, Eviction.NORMAL), ("full", "full")),
    ],
)
def test_copies_carry_the_hints_of_their_side(
    cluster: int, evictions: tuple[Eviction, Eviction], hints: tuple[str, str]
) -> None:
    schedule = replace(
        BASE,
        consumers=1,
        producer_registers=40,
        consumer_registers=216,
        cluster_columns=cluster,
        row_eviction=evictions[0],
        column_eviction=evictions[1],
    )
    kernel = lowered(forward(), schedule)
    text = " ".join(own_text(kernel, vector(forward())).split())
    copies = re.findall(r"tensor_load\w*\(.*?, (\w+?)\d\w*_map, moe::Box.*?\}, (full.*?)\);", text)
    assert dict(copies) == {"rows": hints[0], "columns": hints[1]}
    unit = generate(kernel, vector(forward()))
    assert compile_cubin(unit.source, unit.entry, "sm_90a").cubin


@pytest.mark.parametrize(("consumers", "start"), [(3, 128), (4, 96), (5, 80)])
def test_ptxas_has_the_limit_of_products_that_the_rules_have(consumers: int, start: int) -> None:
    producer, consumer = registers_for(consumers, copying=False)
    flat = most_flat(start, fragments=0) // 8 * 8
    for height, legal in ((flat, True), (flat + 8, False)):
        schedule = Schedule(
            TileShape(height, 64, 64),
            swap_ab=True,
            consumers=consumers,
            cooperation=Cooperation.PINGPONG,
            producer_registers=producer,
            consumer_registers=consumer,
        )
        kernel = lowered(forward(), schedule)
        found = check_schedule(forward(), schedule, None, TARGETS["sm_90a"])
        assert (found == []) is legal
        unit = generate(kernel, vector(forward()))
        if legal:
            assert not compile_cubin(unit.source, unit.entry, "sm_90a").notes.spills
        else:
            with pytest.raises(EmissionError, match="Insufficient registers"):
                compile_cubin(unit.source, unit.entry, "sm_90a")


def test_entry_is_what_the_unit_defines() -> None:
    unit = unit_of(BASE)
    assert unit.entry == entry_name(lower_to_gpu(lowered(forward()), vector(forward())))
    assert f" {unit.entry}(MOE_ARGUMENTS" in unit.source
