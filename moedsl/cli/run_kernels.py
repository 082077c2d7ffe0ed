"""The work of ``moedsl run``: every kernel on its data, one after the other."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from moedsl.cli.given import named_backend, named_target
from moedsl.cli.program import choose
from moedsl.cli.run_data import make_data, write_arrays
from moedsl.cli.run_report import Setting, document, show
from moedsl.cli.tally import flops, least_bytes, tally
from moedsl.cli.trial import try_kernel
from moedsl.lower.print_schedule import schedule_directives
from moedsl.target import DEFAULT_TARGET

if TYPE_CHECKING:
    import argparse

    from moedsl.backend import Backend
    from moedsl.cli.console import Console
    from moedsl.cli.program import Choice
    from moedsl.cli.run_data import Data
    from moedsl.cli.trial import Trial
    from moedsl.ir.tile import TileKernel
    from moedsl.subscript import Array

FULL_CHECK_FLOPS = 2e10
"""What the reference computes in about a second; more is checked on a sample of rows."""


def run_kernels(arguments: argparse.Namespace, console: Console) -> int:
    """Run, verify and time every chosen kernel; 1 if a result is wrong.

    Everything that can be wrong with the command or a schedule is found before anything runs.
    """
    backend, why = named_backend(arguments.backend)
    target = named_target(arguments.target) or backend.availability().target or DEFAULT_TARGET
    choices = choose(arguments, console, target)
    data = make_data(arguments, [choice.kernel for choice in choices])
    tiles = [
        choice.lower(sum(given.rows), lambda warning: console.report([warning]))
        for choice, given in zip(choices, data, strict=True)
    ]
    outputs: dict[str, Array] = {}
    documents: list[dict[str, object]] = []
    good = True
    try:
        for choice, given, tile in zip(choices, data, tiles, strict=True):
            check = arguments.check or _affordable_check(choice, given)
            trial = _try(choice, given, tile, backend, check, console)
            prefix = f"{tile.signature.name}." if len(choices) > 1 else ""
            outputs |= {prefix + name: array for name, array in trial.outputs.items()}
            good = good and trial.good
            setting = _setting(arguments.file, choice, given, tile, why, check)
            if documents:
                console.write("")
            show(console, setting, trial)
            documents.append(document(setting, trial))
    finally:
        # Also where nobody reads the report, or somebody loses patience.
        if arguments.save and outputs:
            write_arrays(arguments.save, outputs)
    console.result(file=arguments.file, target=target.sm, backend=why, good=good, kernels=documents)
    return 0 if good else 1


def _affordable_check(choice: Choice, data: Data) -> str:
    amount = flops(choice.kernel, data.rows, data.sizes)
    return "full" if amount <= FULL_CHECK_FLOPS else "sample"


def _try(
    choice: Choice, data: Data, tile: TileKernel, backend: Backend, check: str, console: Console
) -> Trial:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial = try_kernel(choice.kernel, tile, backend.compile(tile), data, check, console.step)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        console.note(f"warning: {text}")
    return trial


def _setting(
    file: str, choice: Choice, data: Data, tile: TileKernel, backend: str, check: str
) -> Setting:
    return Setting(
        file=file,
        tile=tile,
        sizes=data.sizes,
        schedule="; ".join(schedule_directives(tile)),
        backend=backend,
        check=check,
        tally=tally(tile, data.rows, data.sizes),
        flops=flops(choice.kernel, data.rows, data.sizes),
        bytes=least_bytes(choice.kernel, data.rows, data.sizes),
    )
