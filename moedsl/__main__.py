"""``python -m moedsl``: the command line."""

from moedsl.cli import main

raise SystemExit(main())
