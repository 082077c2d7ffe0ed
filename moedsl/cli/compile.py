"""``moedsl compile``: kernels at any level, from syntax tree to machine code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moedsl.backend import Emitter, backends, target_here
from moedsl.cli.given import named_target, wrong
from moedsl.cli.options import add_file, add_kernel, add_rows_hint, add_schedule
from moedsl.cli.program import Choice, choose
from moedsl.ir.module import Module
from moedsl.ir.text import print_module
from moedsl.lower.print_schedule import print_schedule
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from moedsl.cli.console import Console
    from moedsl.ir.tile import TileKernel

FRONT = {"ast": ".ast.json", "moe": ".moe.mir", "tile": ".tile.mir"}
"""What is made before any backend, and the ends of the files' names."""

LEVELS = (*FRONT, "gpu", "cuda", "ptx", "cubin", "sass")
MANIFEST = "manifest.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kernels, with which schedule, what to emit and where to."""
    add_file(parser)
    add_kernel(parser)
    add_schedule(parser)
    add_rows_hint(parser)
    parser.add_argument(
        "--emit",
        metavar="LEVEL",
        choices=LEVELS,
        action="append",
        default=[],
        help=f"{', '.join(LEVELS)} (default: cuda); may be repeated with -o",
    )
    parser.add_argument(
        "-o",
        dest="output",
        metavar="PATH",
        help="a folder, or the file for a single artefact; manifest.json is written beside",
    )
    parser.add_argument(
        "--print-schedule",
        action="store_true",
        help="print the completed schedule as text that can be pasted into the file",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print or write the artefacts of every chosen kernel."""
    target = named_target(arguments.target) or target_here()
    choices = choose(arguments, console, target)
    levels = list(dict.fromkeys(arguments.emit))
    if not levels and not arguments.print_schedule:
        levels = ["cuda"]
    made = []
    for choice in choices:
        tile = choice.lower(arguments.rows, lambda warning: console.report([warning]))
        artefacts = {level: _emit(choice, tile, level) for level in levels}
        made.append(Made(tile, print_schedule(tile), artefacts))
    if arguments.print_schedule:
        for one in made:
            console.write(one.schedule)
    documents = [one.document for one in made]
    if levels and arguments.output:
        documents = _write(arguments.output, made, console)
    elif levels and console.as_json:
        for document, one in zip(documents, made, strict=True):
            document["artefacts"] = {name: _plain(data) for name, data in one.artefacts.items()}
    elif levels:
        _print(made)
    console.result(target=target.sm, kernels=documents)
    return 0


@dataclass(frozen=True)
class Made:
    """What was made of one kernel: ``artefacts`` by level."""

    tile: TileKernel
    schedule: str
    artefacts: Mapping[str, str | bytes]

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self.tile.signature.name

    @property
    def document(self) -> dict[str, object]:
        """Its entry for ``--json``."""
        return {"kernel": self.name, "schedule": self.schedule}


def _emit(choice: Choice, tile: TileKernel, level: str) -> str | bytes:
    match level:
        case "ast":
            from moedsl.cli.tree import as_json

            assert choice.kernel.source is not None
            return as_json(choice.kernel.source)
        case "moe":
            return print_module(Module("moe", (choice.kernel,), choice.kernel.source))
        case "tile":
            return print_module(Module("tile", (tile,), tile.source))
        case _:
            return _emitter(level).emit(tile, level)


def _emitter(level: str) -> Emitter:
    for backend in backends().values():
        if isinstance(backend, Emitter) and level in backend.artefacts:
            return backend
    raise UnavailableError(f"no installed backend makes '{level}'")


def _plain(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.hex()


def _print(made: Sequence[Made]) -> None:
    # The syntax tree is the file's, whatever the kernel.
    artefacts = list(dict.fromkeys(data for one in made for data in one.artefacts.values()))
    if len(artefacts) > 1:
        several = len(made) > 1
        help = "name one with -o" + (", or choose a kernel with --kernel" if several else "")
        raise wrong("MOE0610", "several artefacts need a folder", help=help)
    (data,) = artefacts
    if isinstance(data, str):
        sys.stdout.write(data if data.endswith("\n") else data + "\n")
    elif sys.stdout.isatty():
        message = "machine code is not printed on a terminal"
        raise wrong("MOE0610", message, help="write it with -o")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def _write(output: str, made: Sequence[Made], console: Console) -> list[dict[str, object]]:
    """Write the artefacts and the manifest; each kernel's document."""
    path = Path(output)
    several = sum(len(one.artefacts) for one in made) > 1
    folder = path if path.is_dir() or output.endswith("/") or several else path.parent
    manifest = folder / MANIFEST
    documents: list[dict[str, object]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in made:
            files: dict[str, str] = {}
            for level, data in one.artefacts.items():
                suffix = FRONT.get(level) or _emitter(level).artefacts[level]
                file = folder / (one.name + suffix) if folder == path else path
                file.write_bytes(data.encode() if isinstance(data, str) else data)
                files[level] = str(file)
                console.write(str(file))
            documents.append({**_manifest(one), "schedule": one.schedule, "artefacts": files})
        text = json.dumps({"kernels": documents}, indent=2, default=str)
        manifest.write_text(text + "\n")
    except OSError as error:
        message = f"cannot write '{error.filename or output}': {error.strerror}"
        raise wrong("MOE0609", message) from error
    console.write(str(manifest))
    console.result(manifest=str(manifest))
    return documents


def _manifest(one: Made) -> Mapping[str, object]:
    """What the backend says of the kernel, if anything of it was made."""
    for level in one.artefacts:
        if level not in FRONT:
            return _emitter(level).manifest(one.tile)
    return {"kernel": one.name, "arch": one.tile.target}
