"""``moedsl run``: run a kernel on irregular rows, verify what it computed, say how fast it was."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

from moedsl.backend import backends
from moedsl.cli.given import named_target
from moedsl.cli.options import add_file, add_kernel, add_schedule, seed, size
from moedsl.cli.program import choose
from moedsl.cli.run_data import make_data, write_arrays
from moedsl.cli.run_report import Setting, document, show
from moedsl.cli.tally import flops, least_bytes, tally
from moedsl.cli.trial import try_kernel
from moedsl.kernel import HOST_BACKEND, find_backend
from moedsl.lower.print_schedule import schedule_directives
from moedsl.source.diagnostic import UnavailableError
from moedsl.target import DEFAULT_TARGET

if TYPE_CHECKING:
    from moedsl.backend import Backend
    from moedsl.cli.console import Console

FULL_CHECK_FLOPS = 2e10
"""What the reference computes in about a second; more is checked on a sample of rows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kernel, on which rows and data, where, and how well it is verified."""
    add_file(parser)
    add_kernel(parser)
    add_schedule(parser)
    parser.add_argument(
        "--rows",
        metavar="ROWS",
        help="rows per expert: 12,0,7 or even:N, uniform:N, zipf:N:S, onehot:N, FILE, FILE#case "
        "(default: the file's '# rows:' line, else some, unevenly spread)",
    )
    parser.add_argument(
        "--size",
        dest="sizes",
        metavar="INDEX=N",
        type=size,
        action="append",
        default=[],
        help="extent of a dynamic index (default: the number of rows)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of rows and data (default: 0)")
    parser.add_argument(
        "--backend", metavar="NAME", default="auto", help="interp, cuda, … or auto (default)"
    )
    parser.add_argument("--inputs", metavar="NPZ", help="tensors and offs, instead of drawn ones")
    parser.add_argument("--save", metavar="NPZ", help="write the outputs")
    parser.add_argument(
        "--check",
        choices=("full", "sample", "none"),
        help="verify every element, some rows of each tile, or nothing "
        "(default: full where that is quick, else sample)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run, verify and time it; 1 if a result is wrong."""
    backend, why = choose_backend(arguments.backend)
    target = named_target(arguments.target) or backend.availability().target or DEFAULT_TARGET
    choice = choose(arguments, console, target)
    data = make_data(arguments, choice.kernel)
    tile = choice.lower(sum(data.rows), lambda warning: console.report([warning]))
    amount = flops(choice.kernel, data.rows, data.sizes)
    check = arguments.check or ("full" if amount <= FULL_CHECK_FLOPS else "sample")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial = try_kernel(choice.kernel, tile, backend.compile(tile), data, check, console.step)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        console.note(f"warning: {text}")
    setting = Setting(
        file=arguments.file,
        tile=tile,
        sizes=data.sizes,
        schedule="; ".join(schedule_directives(tile)),
        backend=why,
        check=check,
        tally=tally(tile, data.rows, data.sizes),
        flops=amount,
        bytes=least_bytes(choice.kernel, data.rows, data.sizes),
    )
    if arguments.save:
        write_arrays(arguments.save, trial.outputs)
    console.result(**document(setting, trial))
    show(console, setting, trial)
    return 0 if trial.good else 1


def choose_backend(name: str) -> tuple[Backend, str]:
    """The backend called ``name`` and what it runs on; ``auto`` takes a GPU if there is one.

    Raises UnavailableError if a named one cannot run here.
    """
    if name != "auto":
        backend = find_backend(name)
        here = backend.availability()
        if not here.usable:
            raise UnavailableError(f"backend {name}: {here.detail}", here.help)
        return backend, f"{name}: {here.detail}"
    found = {each: backend.availability() for each, backend in backends().items()}
    best = next((n for n, here in found.items() if here.usable and here.target), HOST_BACKEND)
    missing = [f"{each}: {here.detail}" for each, here in found.items() if not here.usable]
    taken = f"{best}: {found[best].detail}"
    return find_backend(best), f"{taken} (not {'; '.join(missing)})" if missing else taken
