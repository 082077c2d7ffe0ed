"""What one streaming multiprocessor offers, by compute capability.

Figures are from the CUDA C++ Programming Guide, table "Technical Specifications per Compute
Capability" (CUDA 13).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU architecture. Sizes are bytes or 32-bit registers; ``sm`` is its name for NVRTC."""

    sm: str
    capability: int
    shared_per_block: int
    shared_per_sm: int
    registers_per_sm: int = 65536
    registers_per_thread: int = 255
    threads_per_block: int = 1024
    warp_specialised: bool = False
    """TMA, mbarriers, wgmma and setmaxnreg may be used (sm_90a)."""

    @property
    def clusters(self) -> bool:
        """Thread block clusters exist."""
        return self.capability >= 90

    @property
    def overlapping_launches(self) -> bool:
        """A launch may start while the one before it ends (programmatic dependent launch)."""
        return self.capability >= 90

    def schedule_covers(self, on: str) -> bool:
        """Whether a schedule written ``on`` an architecture may be used here.

        An ``a`` target (sm_90a) asks for exactly that one; a plain one for it and newer ones.
        """
        match = re.fullmatch(r"sm_(\d+)(a?)", on)
        if match is None:
            return False
        if match[2]:
            return self.sm == on
        return self.capability >= int(match[1])


def _target(sm: str, shared_kib: int, **more: bool) -> Target:
    capability = int(re.sub(r"\D", "", sm))
    # One KiB of each block's shared memory belongs to the system.
    return Target(
        sm=sm,
        capability=capability,
        shared_per_block=(shared_kib - 1) * 1024,
        shared_per_sm=shared_kib * 1024,
        **more,
    )


TARGETS = {
    target.sm: target
    for target in (
        _target("sm_80", 164),
        _target("sm_86", 100),
        _target("sm_87", 164),
        _target("sm_89", 100),
        _target("sm_90", 228),
        _target("sm_90a", 228, warp_specialised=True),
        _target("sm_100", 228),
        _target("sm_103", 228),
        _target("sm_110", 228),
        _target("sm_120", 100),
        _target("sm_121", 100),
    )
}
"""Supported architectures, oldest first."""

DEFAULT_TARGET = TARGETS["sm_90a"]
"""What is compiled for where there is no GPU and none is named."""
