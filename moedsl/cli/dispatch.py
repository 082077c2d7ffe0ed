"""From words to an exit code: finds the command, runs it, and turns every failure into one.

Exit codes: 0 all is well, 1 diagnostics or a wrong result, 2 wrong use, 3 something this machine
lacks, 70 an error in moedsl itself, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import os
import sys
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from moedsl.cli.console import Console
from moedsl.source.diagnostic import Diagnostic, DiagnosticError, Severity, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExitCode(IntEnum):
    """What ``moedsl`` tells the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    INTERNAL = 70
    INTERRUPTED = 130


_FULL = (errno.ENOSPC, errno.EDQUOT)

COMMANDS = {
    "check": "say what is wrong with a file",
    "fmt": "lay a file out in the one canonical way",
    "compile": "lower a kernel to any level, from syntax tree to machine code",
    "run": "run a kernel on irregular rows and verify it against NumPy",
    "fuzz": "hunt for inputs and schedules that give a wrong result",
    "opt": "run passes on a file or on IR text",
    "bench": "time the kernels of MoE layers against every rival that is installed",
    "doctor": "say what this machine has, what it lacks and how to get it",
    "cache": "list, prune or clear compiled kernels",
    "explain-code": "explain a diagnostic code",
}


class Command(Protocol):
    """What a module of a command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def execute(self, arguments: argparse.Namespace, console: Console) -> int:
        """Do it; the exit code. Raises DiagnosticError and UnavailableError."""


def main(words: Sequence[str] | None = None) -> int:
    """Run ``moedsl`` with ``words`` (the process's own by default); the exit code."""
    words = sys.argv[1:] if words is None else words
    _open_closed_streams()
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _discard_output()
        return ExitCode.OK
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _discard_output()
        sys.stderr.write(f"moedsl: cannot write: {error.strerror}\n")
        return ExitCode.ENVIRONMENT
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return ExitCode.INTERRUPTED
    return code


def _open_closed_streams() -> None:
    """Whoever starts us with ``>&-`` gets what /dev/null would give."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def _discard_output() -> None:
    """What is still buffered for stdout must go somewhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(words: Sequence[str]) -> int:
    common = _common_options()
    top = _top_parser(common, words)
    chosen = top.parse_args(words)
    name: str = chosen.command
    if name not in COMMANDS:
        top.error(f"there is no command '{name}'{_did_you_mean(name)}")
    module = _import_command(name)
    parser = _Parser(
        words,
        prog=f"moedsl {name}",
        description=sentence(COMMANDS[name]),
        formatter_class=_Formatter,
        parents=[common],
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    arguments = parser.parse_args(chosen.rest, namespace=chosen)
    console = Console(
        as_json=getattr(arguments, "json", False),
        diagnostic_format=getattr(arguments, "diagnostic_format", None),
        color=getattr(arguments, "color", "auto"),
    )
    code = _guard(module, arguments, console, words)
    console.close(command=name, exit_code=code)
    return code


def _import_command(name: str) -> Command:
    """The module of a command.

    What modules define stays, so looking for garbage among it would only take time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        module = import_module(f"moedsl.cli.{name.replace('-', '_')}")
    finally:
        if collecting:
            gc.enable()
    gc.freeze()
    return cast("Command", module)


def _guard(
    command: Command, arguments: argparse.Namespace, console: Console, words: Sequence[str]
) -> int:
    """Run ``command``; every exception but an interrupt becomes a report and an exit code."""
    try:
        return command.execute(arguments, console)
    except DiagnosticError as error:
        console.report(error.diagnostics)
        return exit_code(error.diagnostics)
    except UnavailableError as error:
        console.unavailable(error)
        return ExitCode.ENVIRONMENT
    except MemoryError as error:
        help = "fewer rows or smaller sizes (--rows, --set) need less"
        console.unavailable(UnavailableError(f"there is not enough memory: {error}", help))
        return ExitCode.ENVIRONMENT
    except Exception as error:  # users get a report of a defect, never a traceback
        if isinstance(error, BrokenPipeError) or getattr(error, "errno", None) in _FULL:
            raise
        from moedsl.cli.crash import write_archive

        console.crashed(error, write_archive(words, error))
        return ExitCode.INTERNAL


def exit_code(diagnostics: Iterable[Diagnostic]) -> ExitCode:
    """FAILED if an error is about a file's contents, USAGE if all are about the command line.

    Codes 06xx are about the command line, rows and files; MOE0010 is a file that is not there.
    """
    errors = [d.code for d in diagnostics if d.severity is Severity.ERROR]
    if not errors:
        return ExitCode.OK
    usage = all(code.startswith("MOE06") or code == "MOE0010" for code in errors)
    return ExitCode.USAGE if usage else ExitCode.FAILED


def sentence(text: str) -> str:
    """``text`` with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def _did_you_mean(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _top_parser(common: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    listing = "\n".join(f"  {name:<{width}}{text}" for name, text in COMMANDS.items())
    parser = _Parser(
        words,
        prog="moedsl",
        usage="moedsl [OPTIONS] COMMAND …",
        description="A schedule language and compiler for Mixture-of-Experts grouped GEMM.",
        epilog=f"commands:\n{listing}\n\n'moedsl COMMAND --help' explains a command.",
        formatter_class=_Formatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    rest = parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False
    return parser


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with ``words`` on stderr, and with ``--json`` also as the document."""

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        ends = words.index("--") if "--" in words else len(words)
        self._as_json = "--json" in words[:ends]

    def error(self, message: str) -> NoReturn:
        if self._as_json:
            console = Console(as_json=True)
            console.report([Diagnostic("MOE0600", message)])
            _, _, command = self.prog.partition(" ")
            console.close(command=command or None, exit_code=int(ExitCode.USAGE))
        super().error(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Asks for the terminal's width by itself: argparse would import half of shutil for it."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, width=min(columns, 100) - 2, max_help_position=28)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"moedsl {version('moedsl')}")
        parser.exit(ExitCode.OK)


def _common_options() -> argparse.ArgumentParser:
    """Options that may stand before or behind the command; absent ones leave no attribute."""
    parser = argparse.ArgumentParser(
        add_help=False, argument_default=argparse.SUPPRESS, formatter_class=_Formatter
    )
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    group.add_argument(
        "--diagnostic-format",
        choices=("human", "short", "json", "sarif"),
        help="how findings are printed (default: human on a terminal, else short)",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        help="when to use colour (default: auto; NO_COLOR is respected)",
    )
    return parser
