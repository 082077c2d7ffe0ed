"""``moedsl opt``: passes on a file or on IR text, and the IR between them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from moedsl.backend import all_passes, target_here
from moedsl.cli.given import named_target, read_file
from moedsl.cli.options import add_file, add_rows_hint, add_settings
from moedsl.dispatch import applicable, pick
from moedsl.ir.module import Module
from moedsl.ir.text import parse_module, print_module
from moedsl.lower.front import load_program
from moedsl.lower.pipeline import PASSES, Options, find_passes, print_after, run_passes

if TYPE_CHECKING:
    import argparse

    from moedsl.cli.console import Console
    from moedsl.lower.front import Program

IR_TEXT = re.compile(r"(\s|//[^\n]*\n)*\w+\s+module\b")
"""How IR text begins, and a .moe file never does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The input, the passes and what to print."""
    add_file(parser, "a .moe file, IR text")
    add_settings(parser)
    parser.add_argument(
        "--passes", metavar="A,B", help="passes in order (default: all that follow the input)"
    )
    parser.add_argument(
        "--print-ir-after",
        metavar="A,B",
        default="",
        help="print the IR on stderr after these passes, or after 'all'",
    )
    parser.add_argument("--target", metavar="SM", help="architecture (default: this machine's GPU)")
    add_rows_hint(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run the passes and print the IR that they leave."""
    target = named_target(arguments.target) or target_here()
    source = read_file(arguments.file)
    options = Options(
        target=target, rows=arguments.rows, report=lambda warning: console.report([warning])
    )
    # Backends bring their dialects with their passes: before IR text of theirs is read.
    passes = all_passes()
    if IR_TEXT.match(source.text):
        module = parse_module(source)
    else:
        program = load_program(source, dict(arguments.settings))
        console.report(program.diagnostics)
        module = Module("moe", program.kernels, source)
        options = _with_schedules(options, program)
    names = _names(arguments.passes, module)
    watched = [name for name in arguments.print_ir_after.split(",") if name]
    find_passes([name for name in watched if name not in ("all", "input")], passes)
    observer = print_after(watched, console.note)
    result = print_module(run_passes(module, names, options, observer, passes))
    console.result(passes=names, ir=result)
    console.write(result)
    return 0


def _with_schedules(options: Options, program: Program) -> Options:
    """``options`` with the schedule that each kernel's calls take, and the others."""
    requests, others = {}, {}
    for kernel in program.kernels:
        name = kernel.signature.name
        own = applicable([r for r in program.requests if r.kernel == name], options.target)
        if chosen := pick(own, options.rows):
            requests[name] = chosen
            others[name] = [request for request in own if request is not chosen]
    return replace(options, requests=requests, others=others)


def _names(words: str | None, module: Module) -> list[str]:
    """The passes called in ``words``; without any, all from the module's level on."""
    if words is not None:
        return [word for word in words.split(",") if word]
    names = [one.name for one in PASSES]
    first = next((n for n, one in enumerate(PASSES) if one.reads == module.level), len(names))
    return names[first:]
