"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SETTING = re.compile(r"([^\W\d]\w*)=(.+)")


def add_file(parser: argparse.ArgumentParser, what: str = "a .moe file") -> None:
    """The positional ``file``."""
    parser.add_argument("file", metavar="FILE", help=f"{what}, or - for standard input")


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """``--kernel`` and ``--set``: which kernel of the file, with which parameters."""
    parser.add_argument("--kernel", metavar="NAME", help="the kernel (default: the only one)")
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        type=setting,
        action="append",
        default=[],
        help="give a param another value; may be repeated",
    )


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """``--schedule`` and ``--target``: how the kernel is compiled."""
    parser.add_argument(
        "--schedule", metavar="NAME", help="a schedule of the file (default: the one that fits)"
    )
    parser.add_argument(
        "--target", metavar="SM", help="architecture, as in sm_90a (default: this machine's GPU)"
    )


def setting(text: str) -> tuple[str, int | float]:
    """``name=value`` as a pair; the value is a number."""
    match = _SETTING.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    try:
        return match[1], int(match[2])
    except ValueError:
        pass
    try:
        return match[1], float(match[2])
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{match[2]}' in '{text}' is no number") from None


def settings(pairs: Sequence[tuple[str, int | float]]) -> dict[str, int | float]:
    """The pairs of ``--set`` as a mapping; the last of a name counts."""
    return dict(pairs)


def size(text: str) -> tuple[str, int]:
    """``index=extent`` as a pair."""
    name, equal, number = text.partition("=")
    if not (name and equal and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form INDEX=N")
    return name, int(number)
