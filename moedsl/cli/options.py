"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import re

_SETTING = re.compile(r"([^\W\d]\w*)=(-?)(\d+|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)", re.ASCII)


def add_file(parser: argparse.ArgumentParser, what: str = "a .moe file") -> None:
    """The positional ``file``."""
    parser.add_argument("file", metavar="FILE", help=f"{what}, or - for standard input")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """``--set``: other values for params."""
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=NUMBER",
        type=setting,
        action="append",
        default=[],
        help="give a param another value; may be repeated",
    )


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """``--kernel`` and ``--set``: which kernel of the file, with which parameters."""
    parser.add_argument("--kernel", metavar="NAME", help="only this kernel (default: all)")
    add_settings(parser)


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """``--schedule`` and ``--target``: how the kernel is compiled."""
    parser.add_argument(
        "--schedule", metavar="NAME", help="a schedule of the file (default: the one that fits)"
    )
    parser.add_argument(
        "--target", metavar="SM", help="architecture, as in sm_90a (default: this machine's GPU)"
    )


def add_rows_hint(parser: argparse.ArgumentParser) -> None:
    """``--rows``: the number of rows in all that is typical of a call."""
    parser.add_argument(
        "--rows",
        metavar="N",
        type=count,
        help="rows of a typical call in all, which choose the schedule (default: any number)",
    )


def count(text: str) -> int:
    """A number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of rows")
    return int(text)


def setting(text: str) -> tuple[str, int | float]:
    """``name=value`` as a pair; the value is a number as the language writes it."""
    match = _SETTING.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=NUMBER")
    sign, number = match[2], match[3]
    return match[1], int(sign + number) if number.isdecimal() else float(sign + number)


def seed(text: str) -> int:
    """What random numbers start from: a whole number, at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number, 0 or more")
    return int(text)


def size(text: str) -> tuple[str, int]:
    """``index=extent`` as a pair."""
    name, equal, number = text.partition("=")
    if not (name and equal and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form INDEX=N")
    return name, int(number)


def rounds(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return number
