"""A contestant: one way to compute one kernel, by moedsl or by a library that may not be here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moedsl.bench.operands import Operands


def _as_it_is(result: Any) -> Any:
    return result


@dataclass(frozen=True)
class Launch:
    """What is timed: ``run`` starts the work on torch's current stream.

    ``unpack`` turns what it returns into the kernel's output; that is not timed.
    """

    run: Callable[[], Any]
    unpack: Callable[[Any], Any] = _as_it_is


@dataclass(frozen=True)
class Contestant:
    """A way to compute a kernel.

    ``bind`` prepares all that is not timed. ``module`` is what must be importable, and ``install``
    what pip gets it from. ``computes`` is False where the result is another one than the kernel's;
    ``stores`` is True where intermediate results are stored in bf16.
    """

    name: str
    bind: Callable[[Operands], Launch]
    module: str
    install: str
    computes: bool = True
    stores: bool = False

    def available(self) -> bool:
        """Whether its library can be imported here."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def is_moedsl(self) -> bool:
        """Whether moedsl computes it: then it must not fail."""
        return self.module == "moedsl"
