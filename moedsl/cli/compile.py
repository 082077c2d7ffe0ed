"""``moedsl compile``: a kernel at any level, from syntax tree to machine code."""

from __future__ import annotations

import json
import sys
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
    from collections.abc import Mapping

    from moedsl.cli.console import Console
    from moedsl.ir.tile import TileKernel

FRONT = {"ast": ".ast.json", "moe": ".moe.mir", "tile": ".tile.mir"}
"""What is made before any backend, and the ends of the files' names."""

LEVELS = (*FRONT, "gpu", "cuda", "ptx", "cubin", "sass")
MANIFEST = "manifest.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kernel, with which schedule, what to emit and where to."""
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
    """Print or write the artefacts."""
    target = named_target(arguments.target) or target_here()
    choice = choose(arguments, console, target)
    tile = choice.lower(arguments.rows, lambda warning: console.report([warning]))
    schedule = print_schedule(tile)
    console.result(kernel=tile.signature.name, target=tile.target, schedule=schedule)
    if arguments.print_schedule:
        console.write(schedule)
        if not arguments.emit:
            return 0
    made = {level: _emit(choice, tile, level) for level in arguments.emit or ["cuda"]}
    if arguments.output:
        _write(arguments.output, made, tile, schedule, console)
    elif console.as_json:
        console.result(artefacts={level: _plain(data) for level, data in made.items()})
    else:
        _print(made)
    return 0


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


def _print(made: Mapping[str, str | bytes]) -> None:
    if len(made) > 1:
        raise wrong("MOE0610", "several artefacts need a folder", help="name one with -o")
    (data,) = made.values()
    if isinstance(data, str):
        sys.stdout.write(data if data.endswith("\n") else data + "\n")
    elif sys.stdout.isatty():
        message = "machine code is not printed on a terminal"
        raise wrong("MOE0610", message, help="write it with -o")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def _write(
    output: str,
    made: Mapping[str, str | bytes],
    tile: TileKernel,
    schedule: str,
    console: Console,
) -> None:
    path = Path(output)
    folder = path if path.is_dir() or output.endswith("/") or len(made) > 1 else path.parent
    files: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for level, data in made.items():
            suffix = FRONT.get(level) or _emitter(level).artefacts[level]
            file = folder / (tile.signature.name + suffix) if folder == path else path
            file.write_bytes(data.encode() if isinstance(data, str) else data)
            files[level] = str(file)
        manifest = {**_manifest(made, tile), "schedule": schedule, "artefacts": files}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str) + "\n")
    except OSError as error:
        message = f"cannot write '{error.filename or output}': {error.strerror}"
        raise wrong("MOE0609", message) from error
    for file_name in (*files.values(), str(folder / MANIFEST)):
        console.write(file_name)
    console.result(files=files, manifest=manifest)


def _manifest(made: Mapping[str, str | bytes], tile: TileKernel) -> Mapping[str, object]:
    """What the backend says of the kernel, if anything of it was made."""
    for level in made:
        if level not in FRONT:
            return _emitter(level).manifest(tile)
    return {"kernel": tile.signature.name, "arch": tile.target}
