"""How ``moedsl run`` shows what it did: to people, and as a document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from moedsl.cli.console import Column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moedsl.cli.console import Console
    from moedsl.cli.tally import Share, Tally
    from moedsl.cli.trial import Trial
    from moedsl.ir.tile import TileKernel

FIRST, LAST = 12, 3
"""Experts shown from either end where there are too many for a screen."""


@dataclass(frozen=True)
class Setting:
    """What was run and what that amounts to. ``backend`` says which one and why."""

    file: str
    tile: TileKernel
    sizes: Mapping[str, int]
    schedule: str
    backend: str
    check: str
    tally: Tally
    flops: int
    bytes: int

    @property
    def rows(self) -> list[int]:
        """Rows per expert."""
        return [share.rows for share in self.tally.shares]


def show(console: Console, setting: Setting, trial: Trial) -> None:
    """Configuration, a table of experts, totals, verdict."""
    console.facts(_configuration(setting))
    console.write("")
    console.table(_columns(setting), list(_rows(setting)))
    console.write("")
    console.facts(_totals(setting, trial))
    console.write("")
    console.facts((verdict.mode, verdict.message) for verdict in trial.verdicts)
    for trespass in trial.trespasses:
        console.verdict(False, trespass)
    if setting.check == "none":
        console.write("not verified")
    else:
        what = "every element" if setting.check == "full" else "every sampled element"
        good = f"ok: {what} matches the reference"
        console.verdict(trial.good, good if trial.good else "WRONG: the reference says otherwise")


def document(setting: Setting, trial: Trial) -> dict[str, object]:
    """One kernel's entry for ``--json``; times in seconds."""
    signature = setting.tile.signature
    return {
        "kernel": signature.name,
        "sizes": {**setting.sizes, signature.ragged: sum(setting.rows)},
        "schedule": setting.schedule,
        "experts": [asdict(share) for share in setting.tally.shares],
        "tiles": setting.tally.tiles,
        "items": setting.tally.items,
        "waste": setting.tally.waste,
        "flops": setting.flops,
        "bytes": setting.bytes,
        "seconds": trial.seconds,
        "tflops": _rate(setting.flops, trial.seconds, 1e12),
        "gigabytes_per_second": _rate(setting.bytes, trial.seconds, 1e9),
        "check": setting.check,
        "good": trial.good,
        "verdicts": [
            {
                "mode": verdict.mode,
                "passed": verdict.passed,
                "checked_elements": verdict.checked_elements,
                "wrong_elements": verdict.wrong_elements,
                "worst": verdict.worst,
                "message": verdict.message,
            }
            for verdict in trial.verdicts
        ],
        "trespasses": list(trial.trespasses),
    }


def _configuration(setting: Setting) -> Iterator[tuple[str, str]]:
    signature = setting.tile.signature
    extents = {**setting.sizes, signature.ragged: sum(setting.rows)}
    types = dict.fromkeys(str(t.dtype) for t in signature.inputs if t.dtype != "i32")
    results = dict.fromkeys(str(t.dtype) for t in signature.outputs)
    yield "kernel", f"{signature.name} ({setting.file})"
    sizes = "  ".join(f"{index.name}={extents[index.name]}" for index in signature.indices)
    yield "sizes", f"{sizes}  {' '.join(types)} → {' '.join(results)}"
    yield "backend", setting.backend
    yield "target", setting.tile.target
    yield "schedule", setting.schedule


def _columns(setting: Setting) -> Sequence[Column]:
    tiles = "row tiles" if setting.tile.signature.row_grouped else "tiles"
    return Column("expert"), Column("rows"), Column(tiles), Column("heights"), Column("padding")


def _rows(setting: Setting) -> Iterator[tuple[str, ...]]:
    shares = setting.tally.shares
    if len(shares) <= FIRST + LAST + 1:
        yield from map(_row, shares)
        return
    yield from map(_row, shares[:FIRST])
    hidden = shares[FIRST:-LAST]
    yield (
        "…",
        str(sum(share.rows for share in hidden)),
        str(sum(share.tiles for share in hidden)),
        f"{len(hidden)} more",
        str(sum(share.padding for share in hidden)),
    )
    yield from map(_row, shares[-LAST:])


def _row(share: Share) -> tuple[str, ...]:
    heights = " + ".join(f"{count}×{height}" for height, count in share.heights)
    numbers = (str(share.expert), str(share.rows), str(share.tiles))
    return (*numbers, heights or "-", str(share.padding))


def _totals(setting: Setting, trial: Trial) -> Iterator[tuple[str, str]]:
    rows, tally = setting.rows, setting.tally
    total, live = sum(rows), sum(count > 0 for count in rows)
    spread = f"{total}, {min(rows)} to {max(rows)} an expert"
    if live < len(rows):
        spread += f", {len(rows) - live} of {len(rows)} experts idle"
    if total:
        spread += f", the busiest {max(rows) * len(rows) / total:.2f} × the mean"
    yield "rows", spread
    yield "tiles", f"{tally.tiles} in {tally.items} work items"
    yield "padding", f"{100 * tally.waste:.1f} % of all multiplications"
    amount = f"{setting.flops / 1e9:.3g} GFLOP, at least {setting.bytes / 1e6:.3g} MB"
    yield "work", amount
    rates = (
        f"{_rate(setting.flops, trial.seconds, 1e12):.3g} TFLOP/s",
        f"{_rate(setting.bytes, trial.seconds, 1e9):.3g} GB/s",
    )
    yield "time", f"{_duration(trial.seconds)}, {', '.join(rates)}"


def _rate(amount: int, seconds: float, unit: float) -> float:
    return amount / seconds / unit if seconds else 0.0


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
