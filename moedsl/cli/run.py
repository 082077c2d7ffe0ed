"""``moedsl run``: run kernels on irregular rows, verify what they computed, say how fast it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.cli.options import add_file, add_kernel, add_schedule, seed, size

if TYPE_CHECKING:
    import argparse

    from moedsl.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kernels, on which rows and data, where, and how well it is verified."""
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
    parser.add_argument(
        "--save",
        metavar="NPZ",
        help="write the outputs, named KERNEL.OUTPUT if there are several kernels",
    )
    parser.add_argument(
        "--check",
        choices=("full", "sample", "none"),
        help="verify every element, some rows of each tile, or nothing "
        "(default: full where that is quick, else sample)",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run, verify and time each kernel; 1 if a result is wrong."""
    from moedsl.cli.run_kernels import run_kernels

    return run_kernels(arguments, console)
