"""``moedsl explain-code``: what a diagnostic code means and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moedsl.cli.console import Column
from moedsl.cli.given import guess, wrong
from moedsl.source.codes import CODES

if TYPE_CHECKING:
    import argparse

    from moedsl.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The code."""
    parser.add_argument(
        "code", metavar="CODE", nargs="?", help="as in MOE0123; without one, all are listed"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the explanation, or the list of codes."""
    if arguments.code is None:
        console.result(codes={code.code: code.title for code in CODES.values()})
        console.table(
            [Column("code", words=True), Column("meaning", words=True)],
            [(code.code, code.title) for code in CODES.values()],
        )
        return 0
    name = arguments.code.upper()
    if name not in CODES:
        raise wrong(
            "MOE0601",
            f"there is no code '{arguments.code}'{guess(name, CODES)}",
            help="moedsl explain-code lists all",
        )
    code = CODES[name]
    console.result(code=code.code, title=code.title, explanation=code.explanation)
    console.write(f"{code.code}: {code.title}\n\n{code.explanation}")
    return 0
