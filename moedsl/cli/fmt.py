"""``moedsl fmt``: files in the one canonical layout."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.cli.given import read_file, wrong
from moedsl.source.format import format_source

if TYPE_CHECKING:
    import argparse

    from moedsl.cli.console import Console
    from moedsl.source.span import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, and whether to write them."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a .moe file, or - for standard input to standard output",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file would change"
    )
    parser.add_argument("--diff", action="store_true", help="write nothing; print the changes")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Format every file; 1 if ``--check`` finds one that would change."""
    changed: list[str] = []
    dry = arguments.check or arguments.diff
    for file in arguments.files:
        source = read_file(file)
        text = format_source(source)
        if text != source.text:
            changed.append(source.name)
            if arguments.diff:
                console.write(_diff(source, text))
            elif arguments.check:
                console.write(source.name)
        if file == "-" and not dry:
            console.result(text=text)
            console.write(text)
        elif text != source.text and not dry:
            _replace(file, text)
            console.note(f"formatted {file}")
    console.result(changed=changed)
    return int(arguments.check and bool(changed))


def _diff(source: Source, text: str) -> str:
    lines = unified_diff(
        source.text.splitlines(keepends=True),
        text.splitlines(keepends=True),
        source.name,
        f"{source.name} (formatted)",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _replace(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise wrong("MOE0609", f"cannot write '{file}': {error.strerror}") from error
