"""The legality rules of schedules: one predicate each, with the numbers it decides by.

A rule yields a :class:`Finding` for every way in which a case breaks it. The groups are tried in
order, and a group only if all before it are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.lower.rules import demand, hardware, plan, promises, waste
from moedsl.lower.rules.case import Case, Finding

if TYPE_CHECKING:
    from moedsl.lower.rules.case import Rule

__all__ = ["GROUPS", "WASTE", "Case", "Finding"]

SENSE: tuple[tuple[str, Rule], ...] = (
    ("MOE0401", plan.on_covers_target),
    ("MOE0402", plan.sizes_are_positive),
    ("MOE0424", hardware.registers_need_hardware),
    ("MOE0429", hardware.specialised_path_takes_kernel),
)
"""Without these, the others cannot be asked."""

SHAPE: tuple[tuple[str, Rule], ...] = (
    ("MOE0403", plan.tails_fall),
    ("MOE0404", plan.fuse_needs_ragged_rows),
    ("MOE0405", plan.fuse_fits_tile),
    ("MOE0406", plan.order_needs_ragged_rows),
    ("MOE0407", plan.order_can_sort),
    ("MOE0408", demand.stages_in_range),
    ("MOE0409", demand.consumers_fit_block),
    ("MOE0410", plan.splits_fit_depth),
    ("MOE0411", demand.tile_fits_instruction),
    ("MOE0412", demand.depth_fits_stage),
    ("MOE0416", plan.balanced_tiles_are_whole_units),
    ("MOE0427", hardware.once_is_for_weights_of_tiled_rows),
    ("MOE0419", hardware.eviction_needs_copy_engine),
    ("MOE0420", hardware.cluster_is_small),
    # Where there are no clusters, their shape does not matter.
    ("MOE0422", hardware.cluster_needs_hardware),
    ("MOE0423", hardware.cluster_needs_specialised_path),
    ("MOE0421", hardware.cluster_along_rows_is_a_pair),
    ("MOE0425", hardware.pingpong_needs_specialised_path),
    ("MOE0426", hardware.tma_store_needs_specialised_path),
    ("MOE0432", hardware.flat_side_lies_by_depth),
    ("MOE0430", promises.determinism_is_proved),
    ("MOE0431", promises.batch_invariance_is_proved),
)
"""About the schedule itself."""

DEMAND: tuple[tuple[str, Rule], ...] = (
    ("MOE0413", demand.warps_share_tile),
    ("MOE0417", demand.consumers_share_tile),
    ("MOE0418", demand.boxes_fit_engine),
    ("MOE0414", demand.shared_memory_fits),
    ("MOE0428", hardware.registers_fit_pool),
    ("MOE0415", demand.registers_fit),
)
"""About what the schedule takes of the target."""

GROUPS = (SENSE, SHAPE, DEMAND)

WASTE: tuple[tuple[str, Rule], ...] = (
    ("MOE0440", waste.padding_is_small),
    ("MOE0441", waste.enough_warps_are_resident),
)
"""About what a legal schedule gives away: warnings."""
