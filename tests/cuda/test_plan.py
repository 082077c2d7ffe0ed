"""The device's walk over tiles and moedsl.work give the same sequence."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.backends.cuda.access import every_vector
from moedsl.backends.cuda.emission.constants import emit_order
from moedsl.backends.cuda.emission.writer import Writer
from moedsl.backends.cuda.emit import generate, prelude_text
from moedsl.backends.cuda.lower import lower_to_gpu
from moedsl.ir.schedule import (
    Along,
    Eviction,
    ExpertOrder,
    Persistence,
    Raster,
    Schedule,
    TileShape,
)
from moedsl.lower.build_tile import build_tile
from moedsl.target import TARGETS
from moedsl.work import depth_range, plan
from tests.cuda.kernels import forward, weight_gradient

if TYPE_CHECKING:
    from pathlib import Path

    from moedsl.ir.tile import TileKernel

KERNELS = 40
"""Schedules drawn; each is walked for several row counts and cluster counts."""

MAIN = """
template <class Order>
void walk(const int* offs, int rows, int columns, int depth) {
    moe::Plan<Order> plan;
    plan.build(offs, rows, columns);
    int counter[2] = {0, 0};
    std::printf("items %d\\n", plan.items);
    for (int first = 0; first < moe::the_count; first += Order::kCluster) {
        moe::the_cta = first;
        plan.build(offs, rows, columns);
        moe::Walk<Order> walk(plan, counter);
        for (;;) {
            const moe::Tile tile = walk.next();
            if (tile.expert < 0) break;
            const int whole = Order::kRowGrouped ? depth : tile.count;
            const moe::DepthRange range =
                moe::depth_range<Order::kStageDepth, Order::kSplits>(whole, tile.split);
            for (int rank = 0; rank < Order::kCluster; ++rank) {
                const moe::Tile own = moe::tile_of_rank<Order>(tile, rank);
                if (own.column >= columns) continue;
                std::printf("%d %d %d %d %d %d %d %d %d %d %d\\n", first + rank, own.once,
                            own.expert, own.row, own.height, own.rows, own.column, own.split,
                            own.number, range.first, range.last);
            }
        }
        walk.leave();
    }
    std::printf("end %d %d\\n", counter[0], counter[1]);
}

int main() {
    int kernel, ctas, experts, rows, columns, depth;
    const char* const six = "%d %d %d %d %d %d";
    while (std::scanf(six, &kernel, &ctas, &experts, &rows, &columns, &depth) == 6) {
        std::vector<int> offs(experts);
        for (int& end : offs) {
            if (std::scanf("%d", &end) != 1) return 1;
        }
        moe::the_count = ctas;
        CASES
    }
}
"""


def draw_kernel(rng: random.Random) -> TileKernel:
    grouped = rng.random() < 0.8
    experts = rng.choice([1, 2, 7, 33, 50, 100])
    rows = rng.choice([16, 32, 64, 128])
    tails = tuple(t for t in (96, 64, 32, 16) if t < rows and rng.random() < 0.6)
    schedule = Schedule(
        tile=TileShape(rows, rng.choice([64, 128]), 64),
        tails=tails,
        balanced=rows % min(tails, default=rows) == 0 and rng.random() < 0.5,
        persistent=rng.choice(list(Persistence)),
        order=rng.choice([*ExpertOrder, ExpertOrder.INTERLEAVED]),
        raster=Raster(rng.choice(list(Along)), rng.choice([1, 2, 3, 8, 2**31]), rng.random() < 0.5),
        fuse_rows=rng.choice([0, 0, 1, 8, 16, rows]),
        split_k=rng.choice([1, 1, 2, 3]),
    )
    if rng.random() < 0.5:
        schedule = specialised(schedule, rng.choice([(1, 1), (1, 2), (1, 4), (2, 1), (2, 1)]))
        if grouped and rng.random() < 0.7:
            schedule = replace(schedule, column_eviction=Eviction.ONCE)
    n, k = rng.choice([1, 100, 700, 1000]), rng.choice([1, 64, 333])
    kernel = forward(experts, n, k) if grouped else weight_gradient(experts, n, k)
    return build_tile(kernel, schedule, TARGETS["sm_90a"])


def specialised(schedule: Schedule, cluster: tuple[int, int]) -> Schedule:
    """One thread of a cluster walks for all of it."""
    rows, columns = cluster
    if rows > 1 and not schedule.balanced:
        schedule = replace(schedule, tails=())
    return replace(
        schedule,
        tile=replace(schedule.tile, columns=128),
        swap_ab=True,
        consumers=2,
        producer_registers=40,
        consumer_registers=232,
        cluster_rows=rows,
        cluster_columns=columns,
    )


def draw_rows(rng: random.Random, experts: int) -> list[int]:
    mosts = [rng.choice([1, 5, 10, 20, 42, 64, 300]) for _ in range(rng.randint(1, 3))]
    empty = rng.choice([0, 0.3])
    return [
        0 if rng.random() < empty else rng.randint(0, rng.choice(mosts)) for _ in range(experts)
    ]


def order_struct(kernel: TileKernel, number: int) -> str:
    writer = Writer("plan")
    lowered = lower_to_gpu(kernel, every_vector(kernel.signature))
    assert lowered.schedule == kernel.schedule
    emit_order(writer, lowered)
    text = writer.finish().replace("struct Order {", f"struct Order{number} {{", 1)
    text = text.replace(
        "static constexpr int kExperts",
        f"static constexpr int kStageDepth = {kernel.schedule.tile.depth};\n"
        "    static constexpr int kExperts",
    )
    return text.replace(f"kThreads = {lowered.resources.threads};", "kThreads = 1;")


@pytest.fixture(scope="module")
def kernels() -> list[TileKernel]:
    rng = random.Random(7)
    return [draw_kernel(rng) for _ in range(KERNELS)]


@pytest.fixture(scope="module")
def program(kernels: list[TileKernel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    cases = "\n".join(
        f"if (kernel == {i}) walk<Order{i}>(offs.data(), rows, columns, depth);"
        for i in range(len(kernels))
    )
    structs = [order_struct(kernel, number) for number, kernel in enumerate(kernels)]
    shim = (__file__).replace("test_plan.py", "plan_shim.h")
    parts = [prelude_text(name) for name in ("plan", "walk")]
    text = [f'#include "{shim}"', *parts, *structs, MAIN.replace("CASES", cases)]
    source = folder / "plan.cpp"
    source.write_text("\n".join(text))
    command = ["g++", "-std=c++20", "-O1", "-o", str(folder / "plan"), str(source)]
    subprocess.run(command, check=True)
    return folder / "plan"


def expected(kernel: TileKernel, rows: list[int], ctas: int) -> list[list[tuple[int, ...]]]:
    """For each CTA its tiles, without their numbers."""
    signature, schedule = kernel.signature, kernel.schedule
    cluster = schedule.cluster
    workers = ctas // cluster
    n, k = signature.index("n").extent, signature.index("k").extent
    assert n is not None
    assert k is not None
    items = list(plan(kernel, rows, {"n": n, "k": k}))
    taken: list[list[tuple[int, ...]]] = [[] for _ in range(ctas)]
    for number, item in enumerate(items):
        match schedule.persistent:
            case Persistence.STATIC:
                worker = number % workers
            case Persistence.DYNAMIC:
                worker = number if 0 < number < workers else 0
            case Persistence.OFF:
                worker = number
        if worker >= workers:
            continue
        ranks: Counter[int] = Counter()
        for tile in item.tiles:
            rank = ranks[tile.expert]
            ranks[tile.expert] += 1
            depth = k if signature.row_grouped else rows[tile.expert]
            first, last = depth_range(schedule, depth, tile.split)
            taken[worker * cluster + rank].append(
                (
                    tile.expert,
                    tile.row,
                    tile.height,
                    tile.rows,
                    tile.column,
                    tile.split,
                    first,
                    last,
                )
            )
    return taken


def test_device_walks_the_plan(kernels: list[TileKernel], program: Path) -> None:
    rng = random.Random(11)
    questions: list[tuple[TileKernel, list[int], int]] = []
    lines = []
    for number, kernel in enumerate(kernels):
        n, k = (kernel.signature.index(name).extent for name in "nk")
        for workers in (1, 1, 3, 50, 400):
            ctas = workers * kernel.schedule.cluster
            rows = draw_rows(rng, kernel.signature.expert_count)
            if workers == 3 and number % 5 == 0:
                rows = [0] * len(rows)
            ends = [sum(rows[: e + 1]) for e in range(len(rows))]
            columns = n if kernel.signature.row_grouped else k
            lines.append(
                f"{number} {ctas} {len(rows)} {n} {columns} {k} {' '.join(map(str, ends))}"
            )
            questions.append((kernel, rows, ctas))
    answer = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    blocks = answer.stdout.split("items ")[1:]
    assert len(blocks) == len(questions)
    for (kernel, rows, ctas), block in zip(questions, blocks, strict=True):
        check_walk(kernel, rows, ctas, block.splitlines())


def check_walk(kernel: TileKernel, rows: list[int], ctas: int, lines: list[str]) -> None:
    assert lines[-1] == "end 0 0"
    walked: list[list[tuple[int, ...]]] = [[] for _ in range(ctas)]
    numbers: dict[int, tuple[int, ...]] = {}
    for line in lines[1:-1]:
        cta, once, expert, row, height, live, column, split, number, *depth = map(int, line.split())
        assert once == read_once(kernel, rows, expert, column)
        walked[cta].append((expert, row, height, live, column, split, *depth))
        assert numbers.setdefault(number, (expert, row, column)) == (expert, row, column) or (
            kernel.schedule.split_k == 1
        )
    assert walked == expected(kernel, rows, ctas)
    if kernel.schedule.split_k > 1:
        tiles = {(tile[0], tile[1], tile[4]) for taken in walked for tile in taken}
        assert len(numbers) == len(tiles), "output tiles share a number"
        assert all(0 <= number < most_tiles(kernel, sum(rows)) for number in numbers)


def read_once(kernel: TileKernel, rows: list[int], expert: int, column: int) -> bool:
    """Whether one tile, or pair, has all of the expert's rows, and not so for every expert. In the
    last of an odd number of column tiles there are no pairs.
    """
    schedule = kernel.schedule
    if schedule.column_eviction is not Eviction.ONCE:
        return False
    n = kernel.signature.index("n").extent
    assert n is not None
    tile = schedule.tile
    column_tile = column // tile.columns
    column_tiles = -(-n // tile.columns)
    in_pairs = schedule.cluster_rows > 1 and (column_tile | 1) < column_tiles
    together = tile.rows * (2 if in_pairs else 1)
    return rows[expert] <= together and max(rows) > tile.rows * schedule.cluster_rows


def most_tiles(kernel: TileKernel, rows: int) -> int:
    """The bound by which semaphores and partial sums are allocated."""
    sizes = {index.name: index.extent or rows for index in kernel.signature.indices}
    return generate(kernel, every_vector(kernel.signature)).grid.most_tiles(sizes)
