"""Access modes, grids and workspaces, against the definitions that they must agree with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backends.cuda.abi import (
    AccessMode,
    AccessModes,
    ArgumentField,
    GeneratedKernel,
    GridRule,
    OffsetsPointer,
    TensorMapOf,
    WorkspacePart,
    WorkspaceRule,
)
from moedsl.backends.cuda.access import access_modes, every_vector, vector_obstacle
from moedsl.backends.cuda.driver import target_of
from moedsl.backends.cuda.executable import Variant
from moedsl.backends.cuda.launch import lay_out
from moedsl.backends.cuda.manifest import manifest
from moedsl.backends.cuda.notes import Notes
from moedsl.backends.cuda.nvrtc import Binary
from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle, map_of
from moedsl.ir.core import Compute, DType, Index, IndexKind, Role, Tensor
from moedsl.ir.moe import Signature
from moedsl.ir.schedule import EpilogueStore, Requirement, Schedule
from moedsl.lower.build_tile import build_tile
from moedsl.target import TARGETS
from moedsl.work import ceil_div, plan_depth, plan_rows
from tests.api.kernels import forward
from tests.api.kernels import schedule as a_schedule
from tests.strategies import schedules

SIGNATURE = Signature(
    name="up",
    indices=(
        Index("e", IndexKind.FIXED, 2),
        Index("m", IndexKind.RAGGED, over="e"),
        Index("n", IndexKind.FIXED, 8),
        Index("k", IndexKind.FIXED, 16),
    ),
    tensors=(
        Tensor("x", Role.INPUT, DType.BF16, ("m", "k")),
        Tensor("w", Role.INPUT, DType.BF16, ("e", "n", "k")),
        Tensor("s", Role.INPUT, DType.F32, ("m",)),
        Tensor("y", Role.OUTPUT, DType.BF16, ("m", "n")),
    ),
    compute=Compute.BF16,
    experts="e",
    ragged="m",
    rows="m",
    columns="n",
)


def view(
    shape: tuple[int, ...], strides: tuple[int, ...] | None = None, pointer: int = 1 << 20
) -> ArrayView:
    return ArrayView(pointer, shape, strides or packed_strides(shape), DType.BF16, 0, None)


def test_contiguous_arrays_allow_vectors() -> None:
    arrays = {"x": view((5, 16)), "w": view((2, 8, 16)), "s": view((5,)), "y": view((5, 8))}
    modes = access_modes(SIGNATURE, arrays, a_schedule())
    assert modes == every_vector(SIGNATURE)
    assert modes["x"] is modes["w"] is modes["y"] is AccessMode.VECTOR
    assert modes["s"] is AccessMode.ELEMENT


def test_obstacles_to_vectors_are_named() -> None:
    assert "innermost stride is 5" in str(vector_obstacle(view((5, 16), (1, 5))))
    assert "address" in str(vector_obstacle(view((5, 16), pointer=(1 << 20) + 2)))
    assert "multiples of 8" in str(vector_obstacle(view((5, 17))))
    assert vector_obstacle(view((5, 16), (24, 1))) is None
    assert vector_obstacle(view((1, 16), (17, 1))) is None
    assert vector_obstacle(view((5, 1), (8, 3))) is None
    assert vector_obstacle(view((0, 17), pointer=(1 << 20) + 2)) is None


def test_batch_invariance_asks_for_the_same_of_one_row_as_of_many() -> None:
    arrays = {"x": view((1, 16), (17, 1)), "w": view((2, 8, 16)), "s": view((1,))}
    arrays["y"] = view((1, 8))
    schedule = a_schedule()
    assert access_modes(SIGNATURE, arrays, schedule) == every_vector(SIGNATURE)
    invariant = replace(schedule, require=(Requirement.BATCH_INVARIANT,))
    modes = access_modes(SIGNATURE, arrays, invariant)
    assert modes["x"] is AccessMode.ELEMENT
    assert modes["y"] is AccessMode.VECTOR


@pytest.mark.parametrize("columns", [0, 1, 8, 12, 16])
def test_rows_must_be_whole_where_the_copy_engine_stores_them(columns: int) -> None:
    arrays = {"x": view((5, 12), (16, 1)), "w": view((2, columns, 12), (256, 16, 1))}
    arrays |= {"s": view((5,)), "y": view((5, columns), (16, 1))}
    stored = replace(a_schedule(), epilogue_store=EpilogueStore.TMA)
    every = every_vector(SIGNATURE)
    assert access_modes(SIGNATURE, arrays, a_schedule()) == every
    assert access_modes(SIGNATURE, arrays, stored) == replace(every, whole=columns % 8 == 0)
    # Where it does not, how rows end makes no other kernel.
    assert access_modes(SIGNATURE, arrays | {"y": view((5, columns), (17, 1))}, stored).whole


def test_vectors_are_what_tensor_maps_take() -> None:
    for stride in (-16, 0, 2**33):
        assert "positive and below" in str(vector_obstacle(view((5, 16), (stride, 1))))
    assert "2^30" in str(vector_obstacle(view((2**30 + 1, 16))))
    assert vector_obstacle(view((1, 16), (-16, 1))) is None
    largest = view((2, 2**30, 16), (2**33 - 8, 2**33 - 8, 1))
    assert vector_obstacle(largest) is None
    for clip in (None, 0, 1):
        assert map_of(TensorMapOf("w", (1, 8, 8), clip), largest).obstacle(largest.pointer) is None


def test_maps_have_the_dimensions_of_their_tensor() -> None:
    weights = view((3, 8, 16), (256, 24, 1))
    assert map_of(TensorMapOf("w", (1, 8, 64)), weights) == TensorMap(
        DType.BF16, (16, 8, 3), (48, 512), (64, 8, 1), swizzle=TensorSwizzle.B128
    )
    words = replace(view((8, 16), (24, 1)), dtype=DType.F32)
    for tf32 in (False, True):
        assert map_of(TensorMapOf("x", (8, 32), tf32=tf32), words).tf32 == tf32
    # Strides that are never used, of one row and of none, may be anything.
    for shape in ((1, 20), (0, 20)):
        for stride in (-3, 0, 2**50):
            one = map_of(TensorMapOf("x", (8, 64)), view(shape, (stride, 1)))
            assert one.obstacle() is None and one.shape[1] == 1


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_clipped_maps_address_their_rows_modulo_2_64(rows: int) -> None:
    rows_map = map_of(TensorMapOf("x", (8, 64), clip=0), view((rows, 16), (24, 1)))
    weights_map = map_of(TensorMapOf("w", (1, 8, 64), clip=1), view((2, rows, 16), (800, 24, 1)))
    assert rows_map.obstacle() is None and weights_map.obstacle() is None
    assert rows_map.box == (64, 8, 1, 1) and weights_map.box == (64, 8, 1, 1, 1)
    for row, end, expert in ((3, 4, 0), (0, 1, 1), (2, 900, 1)):
        first = (0, 2**30 - end + row)
        for one, at in (
            (rows_map, (*first, end, 2**30)),
            (weights_map, (*first, expert, end, 2**30)),
        ):
            inner, *outer = one.shape
            assert inner == (16 if rows else 1)
            assert outer[0] == 2**30 and (row < end) == (at[1] < outer[0])
            assert outer[-2:] == [0x7FFF0000] * 2
            address = sum(i * stride for i, stride in zip(at[1:], one.strides, strict=True))
            elsewhere = expert * one.strides[1] if one is weights_map else 0
            assert address % 2**64 == row * one.strides[0] + elsewhere
    if rows > 1:
        assert rows_map.strides[0] == 48 and weights_map.strides[1] == 1600


def test_maps_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="'x': rows of 256 bytes in the box"):
        map_of(TensorMapOf("x", (8, 128)), view((5, 128)))
    with pytest.raises(ValueError, match="'w': 6 dimensions"):
        map_of(TensorMapOf("w", (1, 1, 8, 8), clip=0), view((2, 2, 8, 8)))


def test_fields_lie_as_c_lays_them() -> None:
    tensor_map, offsets = TensorMapOf("x", (64, 64)), OffsetsPointer()
    assert ArgumentField("x", tensor_map, 192, bytes=128).offset == 192
    for field in ((tensor_map, 32, 128), (tensor_map, 64, 8), (offsets, 4, 8), (offsets, 0, 128)):
        with pytest.raises(ValueError, match="field 'x'"):
            ArgumentField("x", *field)


def test_maps_and_clusters_are_in_the_manifest() -> None:
    kernel = build_tile(forward(), a_schedule(), TARGETS["sm_90a"])
    field = ArgumentField("tile", TensorMapOf("x", (64, 32), clip=0), 64, bytes=128)
    grid = GridRule(True, True, 4, "m", "n", 64, 64, cluster=2)
    stored = TensorMapOf("y", (64, 32), clip=0, swizzle=TensorSwizzle.B64)
    fields = field, ArgumentField("stored", stored, 192, bytes=128)
    generated = GeneratedKernel("", "f", 128, 0, 1, fields, 320, grid, cluster=2)
    binary = Binary(b"", Notes(), "key", cached=False)
    written: Any = manifest(kernel, Variant(AccessModes(frozenset("x")), generated, binary))
    assert written["arguments"][1]["swizzle"] == 64
    assert written["arguments"][:1] == [
        {
            "name": "tile",
            "offset": 64,
            "bytes": 128,
            "is": "tensor_map",
            "of": "x",
            "box": [64, 32],
            "clip": 0,
            "swizzle": 128,
            "tf32": False,
            "few_rows": False,
        }
    ]
    assert written["cluster"] == 2
    whole = {tensor["name"]: tensor["whole_rows"] for tensor in written["tensors"]}
    assert whole == {"x": False, "w": False, "y": True}


@given(
    schedules(),
    st.lists(st.integers(0, 200), min_size=1, max_size=12),
    st.integers(1, 300),
    st.booleans(),
)
def test_grid_covers_every_plan(
    schedule: Schedule, rows: list[int], columns: int, grouped: bool
) -> None:
    rule = GridRule(
        persistent=False,
        row_grouped=grouped,
        experts=len(rows),
        rows="m",
        columns="n",
        tile_rows=schedule.tile.rows,
        tile_columns=schedule.tile.columns,
        split_k=schedule.split_k,
    )
    height = sum(rows) if grouped else rows[0] + 1
    sizes = {"m": height, "n": columns}
    if grouped:
        items = list(plan_rows(schedule, rows, columns))
    else:
        # What is known only on the device does not matter here: experts share rows and columns.
        items = list(plan_depth(replace(schedule, fuse_rows=0), len(rows), height, columns))
    tiles = {(t.expert, t.row, t.column) for item in items for t in item.tiles}
    assert len(tiles) <= rule.most_tiles(sizes)
    assert len(items) <= rule.blocks(sizes, resident=1)
    assert replace(rule, persistent=True).blocks(sizes, resident=7) <= 7
    if not grouped:
        assert len(items) == rule.blocks(sizes, resident=1)
    for cluster in (2, 3):
        clustered = replace(rule, cluster=cluster)
        spare = clustered.most_tiles(sizes) - rule.most_tiles(sizes)
        rows_of_tiles = rule.most_tiles(sizes) // ceil_div(columns, schedule.tile.columns)
        assert 0 <= spare < max(cluster * rows_of_tiles, 1)
        for one in (clustered, replace(clustered, persistent=True)):
            assert one.blocks(sizes, resident=2 * cluster) % cluster == 0


def test_grid_bound_is_reached() -> None:
    rule = GridRule(False, True, 4, "m", "n", 128, 64)
    assert rule.blocks({"m": 4, "n": 64}, 1) == 4
    assert rule.blocks({"m": 130, "n": 65}, 1) == 2 * 4
    assert rule.blocks({"m": 2, "n": 64}, 1) == 2
    assert rule.blocks({"m": 0, "n": 64}, 1) == 0
    assert replace(rule, cluster=4).blocks({"m": 130, "n": 4 * 64 + 1}, 1) == 8 * 4


def test_a_kernel_has_its_grid_s_clusters() -> None:
    grid = GridRule(True, True, 1, "m", "n", 8, 8, cluster=2)
    with pytest.raises(ValueError, match="clusters of 1 on a grid of 2"):
        GeneratedKernel("", "f", 128, 0, 1, (), 8, grid)


@given(st.integers(0, 50), st.integers(1, 50))
def test_workspace_parts_do_not_meet(tiles: int, blocks: int) -> None:
    rules = (
        WorkspaceRule(WorkspacePart.COUNTER, fixed=8),
        WorkspaceRule(WorkspacePart.SEMAPHORES, per_tile=4),
        WorkspaceRule(WorkspacePart.PARTIALS, per_tile=100, per_block=4),
    )
    generated = GeneratedKernel(
        "", "f", 128, 0, 1, (), 8, GridRule(True, True, 1, "m", "n", 8, 8), rules
    )
    layout = lay_out(generated, tiles, blocks)
    assert layout.offsets[WorkspacePart.COUNTER] == 0
    assert layout.offsets[WorkspacePart.SEMAPHORES] == 256
    assert layout.zeroed_bytes == 256 + ceil_div(4 * tiles, 256) * 256
    assert layout.free_bytes >= 100 * tiles + 4 * blocks
    assert all(offset % 256 == 0 for offset in layout.offsets.values())


def test_targets_of_devices() -> None:
    names = {
        (7, 5): None,
        (8, 0): "sm_80",
        (8, 6): "sm_86",
        (8, 9): "sm_89",
        (9, 0): "sm_90a",
        (10, 0): "sm_100",
        (10, 3): "sm_103",
        (12, 0): "sm_120",
        (12, 1): "sm_121",
    }
    for (major, minor), name in names.items():
        target = target_of(major, minor)
        assert (target.sm if target else None) == name
