"""Specialised warps: the scheduler, and the kernel that gives warps their roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.backends.cuda.emission.arguments import build_plan
from moedsl.backends.cuda.emission.fills import GROUP_WARPS, PRODUCERS
from moedsl.backends.cuda.gpu import Role, RoleName
from moedsl.ir.schedule import Cooperation, Persistence
from moedsl.lower.resources.specialised import GROUP, consumers_of_tile

if TYPE_CHECKING:
    from moedsl.backends.cuda.emission.writer import Writer
    from moedsl.backends.cuda.gpu import GpuKernel


def emit_scheduler(writer: Writer, kernel: GpuKernel) -> None:
    """``schedule_tiles``: one thread walks the plan for all roles."""
    dynamic = kernel.schedule.persistent is Persistence.DYNAMIC
    counter = "arguments.counter" if dynamic else "nullptr"
    writer.line("// Publishes the tiles of this CTA, then one that says there are no more.")
    with writer.block(
        "MOE_DEVICE void schedule_tiles(const Arguments& arguments, const moe::Plan<Order>& plan)"
    ):
        writer.lines(
            f"moe::Walk<Order> walk(plan, {counter});",
            "moe::Ring<kRingSlots> tiles;",
            "MOE_ROLL",
        )
        with writer.block("for (bool open = true; open;)"):
            writer.lines(
                "tiles.wait_empty(kTileEmpty);",
                "const moe::Tile tile = walk.next();",
                "open = tile.expert >= 0;",
                "moe::publish_tile<Order>(tiles, tile, kRing, kTileFull);",
            )
        writer.line("walk.leave();")
    writer.line()


def emit_entry(writer: Writer, kernel: GpuKernel, entry: str) -> None:
    """The kernel itself: barriers, plan, roles."""
    schedule = kernel.schedule
    clustered = schedule.cluster > 1
    takers = sum(kernel.role(name).warps for name in (*PRODUCERS, RoleName.CONSUMER))
    takers *= schedule.cluster
    with writer.block(f"MOE_KERNEL(kThreads, kBlocks) {entry}(MOE_ARGUMENTS Arguments arguments)"):
        with writer.block("if (moe::thread_index() == 0)"):
            writer.lines(
                "moe::init_ring<kStageSlots>("
                f"kFull, {fillers(kernel)}, kEmpty, {emptiers(kernel)});",
                f"moe::init_ring<kRingSlots>(kTileFull, 1, kTileEmpty, {takers});",
                *_init_turns(kernel),
                "moe::fence_barrier_init();",
            )
        writer.lines(
            *build_plan(kernel),
            "moe::sync_cluster();" if clustered else "moe::sync_cta();",
        )
        groups = kernel.resources.threads // GROUP - schedule.consumers
        with writer.block(f"if (moe::warp_index() < {GROUP_WARPS * groups})", "} else {"):
            writer.line(f"moe::lower_registers<{schedule.producer_registers}>();")
            first = 0
            for role in kernel.loop.body:
                assert isinstance(role, Role)
                if role.name is not RoleName.CONSUMER:
                    # Those who copy by themselves have a warpgroup of their own.
                    first = GROUP_WARPS if role.gathers else first
                    _emit_role(writer, role, first, clustered)
                    first += role.warps
        with writer.otherwise():
            writer.lines(
                f"moe::raise_registers<{schedule.consumer_registers}>();",
                f"const int group = moe::uniform(moe::group_index() - {groups});",
                'moe::role("consumer", group);',
                "consume(arguments, group);",
            )
        if clustered:
            writer.lines(
                "// Others may still arrive at this CTA's barriers, or write to its stages.",
                "moe::sync_warp();",
                "moe::sync_cluster();",
            )


def _init_turns(kernel: GpuKernel) -> list[str]:
    if kernel.schedule.cooperation is not Cooperation.PINGPONG:
        return []
    consumers = range(kernel.schedule.consumers)
    return [f"moe::barrier_init(kTurn + {8 * consumer}, {GROUP_WARPS});" for consumer in consumers]


def _emit_role(writer: Writer, role: Role, first: int, clustered: bool) -> None:
    leader = "moe::cluster_rank() == 0 && " if clustered else ""
    warps = f"moe::warp_index() == {first}"
    if role.warps > 1:
        warps = f"moe::warp_index() >= {first} && moe::warp_index() < {first + role.warps}"
    with writer.block(f"if ({warps})"):
        if role.name is RoleName.SCHEDULER:
            writer.lines(
                f'moe::role("{role.name}");',
                f"if ({leader}moe::lane_index() == 0) schedule_tiles(arguments, plan);",
            )
        else:
            writer.line(f'moe::role("producer of {role.name}");')
            lines = (
                f"produce_{role.name}(arguments);",
                "// Nothing more to fetch here: the next launch's CTAs may come.",
                "moe::allow_next_launch();",
            )
            if role.gathers:
                writer.lines(*lines)
            else:
                with writer.block("if (moe::elect())"):
                    writer.lines(*lines)


def fillers(kernel: GpuKernel) -> int:
    """Arrivals that fill a stage: one for each producer that the copy engine works for, and one
    for each thread that copies by itself.
    """
    roles = [kernel.role(name) for name in PRODUCERS]
    return sum(32 * role.warps if role.gathers else 1 for role in roles)


def emptiers(kernel: GpuKernel) -> int:
    """Arrivals that free a stage: one for each warp that multiplies what is in it."""
    return GROUP_WARPS * consumers_of_tile(kernel.schedule) * kernel.schedule.cluster
