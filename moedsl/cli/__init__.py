"""The command line, one command a file."""

from moedsl.cli.dispatch import main

__all__ = ["main"]
