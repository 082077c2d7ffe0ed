"""2,000 checked launches of random correct kernels, in silence; what a finding looks like."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moedsl.backends.emulator.executable import EmulatorExecutable, Variant
from moedsl.ir.core import Compute
from tests.emulator import campaign
from tests.emulator.campaign import PART, draw_programs, run_part

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import AccessModes

SEED = 2


@pytest.mark.parametrize("number", range(2000 // PART))
def test_part_of_the_campaign_is_silent(number: int) -> None:
    tally = run_part(SEED, number)
    assert not tally.findings, tally.findings[0]
    assert tally.launches == PART


def test_the_parts_show_every_feature() -> None:
    shown = {
        feature
        for number in range(16000 // PART)
        for program in draw_programs(number=number, seed=SEED)
        for feature in program.features()
    }
    both = {
        *("gather", "scatter", "accumulate", "several contractions"),
        *("split_k", "fuse", "tails", "balanced", "swap_ab", "single elements"),
        *("persistent static", "persistent dynamic", "persistent off"),
        *("order index", "order longest", "order interleaved"),
    }
    specialised = both | {
        *("cooperative", "pingpong", "consumers 1", "consumers 2", "consumers 3"),
        *(f"cache {side}={word}" for side in "mn" for word in ("normal", "first", "last")),
        *("cache n=once", "stages of several lengths", "operands in registers"),
        *("cluster 1 x 1", "cluster 1 x 2", "cluster 1 x 4", "cluster 2 x 1"),
        *("store staged", "store staged with swap_ab", "store tma", "store tma with swap_ab"),
        *("store tma, dynamic columns", "outputs in the last stage"),
    }
    kinds = {*Compute, "m-grouped", "k-grouped"}
    assert shown == kinds | both | {f"specialised {word}" for word in specialised}


class _Hasty(EmulatorExecutable):
    """A kernel that waits for one copy fewer than it must."""

    def variant(self, modes: AccessModes) -> Variant:
        variant = super().variant(modes)
        text = variant.unit.emitted.replace("copy_wait<kStages - 2>", "copy_wait<kStages - 1>")
        return Variant(variant.generated, replace(variant.unit, emitted=text))


def test_finding_says_what_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "EmulatorExecutable", _Hasty)
    first, again = (run_part(0, 0, launches=4, each=2) for _ in range(2))
    assert first.findings
    assert "part 0 of seed 0, kernel " in first.findings[0]
    assert "copy_wait" in first.findings[0] or "shared" in first.findings[0]
    assert first == again
