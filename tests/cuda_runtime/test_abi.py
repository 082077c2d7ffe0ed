"""Access modes, grids and workspaces, against the definitions that they must agree with."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moedsl.arrays import ArrayView, packed_strides
from moedsl.backends.cuda.abi import (
    AccessMode,
    GeneratedKernel,
    GridRule,
    WorkspacePart,
    WorkspaceRule,
)
from moedsl.backends.cuda.access import access_modes, every_vector, vector_obstacle
from moedsl.backends.cuda.driver import target_of
from moedsl.backends.cuda.launch import lay_out
from moedsl.ir.core import Compute, DType, Index, IndexKind, Role, Tensor
from moedsl.ir.moe import Signature
from moedsl.ir.schedule import Schedule
from moedsl.work import ceil_div, plan_depth, plan_rows
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
    modes = access_modes(SIGNATURE, arrays)
    assert modes == every_vector(SIGNATURE)
    assert modes["x"] is modes["w"] is modes["y"] is AccessMode.VECTOR
    assert modes["s"] is AccessMode.ELEMENT


def test_obstacles_to_vectors_are_named() -> None:
    assert "innermost stride is 5" in str(vector_obstacle(view((5, 16), (1, 5))))
    assert "address" in str(vector_obstacle(view((5, 16), pointer=(1 << 20) + 2)))
    assert "multiples of 8" in str(vector_obstacle(view((5, 17))))
    assert vector_obstacle(view((5, 16), (24, 1))) is None
    assert vector_obstacle(view((5, 16), (0, 1))) is None
    assert vector_obstacle(view((1, 16), (17, 1))) is None
    assert vector_obstacle(view((5, 1), (8, 3))) is None


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


def test_grid_bound_is_reached() -> None:
    rule = GridRule(False, True, 4, "m", "n", 128, 64)
    assert rule.blocks({"m": 4, "n": 64}, 1) == 4
    assert rule.blocks({"m": 130, "n": 65}, 1) == 2 * 4
    assert rule.blocks({"m": 2, "n": 64}, 1) == 2
    assert rule.blocks({"m": 0, "n": 64}, 1) == 0


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
