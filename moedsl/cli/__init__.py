"""The command line, one command a file."""

from moedsl.cli.main import main

__all__ = ["main"]
