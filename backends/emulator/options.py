"""How launches are scheduled and what is looked for, also as the text of ``MOEDSL_EMULATOR``."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import StrEnum
from zlib import crc32

VARIABLE = "MOEDSL_EMULATOR"


class Order(StrEnum):
    """Which thread runs next: the one that waited longest, the last one made ready, any."""

    FIFO = "fifo"
    LIFO = "lifo"
    RANDOM = "random"


class Arrival(StrEnum):
    """When asynchronous data lands: when it is issued, when it is waited for, either."""

    EARLIEST = "earliest"
    LATEST = "latest"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a launch is scheduled. The same policy and seed repeat a launch exactly."""

    order: Order = Order.FIFO
    arrival: Arrival = Arrival.LATEST
    seed: int = 1


_IN_STEP = Policy()

STANDARD_POLICIES = (
    _IN_STEP,
    Policy(Order.LIFO, Arrival.EARLIEST),
    Policy(Order.RANDOM, Arrival.LATEST),
)
"""Threads in step, one thread as far as it goes, and any; copies late, early, late."""


@dataclass(frozen=True, slots=True)
class Options:
    """``races`` looks for unordered accesses; ``timeout`` is how many seconds may pass without any
    result; ``multiprocessors`` says how many SMs there are for CTAs to be resident on.
    """

    policy: Policy = _IN_STEP
    races: bool = True
    timeout: float = 30.0
    multiprocessors: int = 4

    def __str__(self) -> str:
        policy, races = self.policy, "races" if self.races else "functional"
        return f"{policy.order},{policy.arrival},{policy.seed},{races},{self.multiprocessors}"


def parse_options(text: str) -> Options:
    """Options from ``order,arrival,seed,races|functional,multiprocessors``, as they print.

    Raises ValueError for anything else.
    """
    try:
        order, arrival, seed, checks, multiprocessors = text.split(",")
        policy = Policy(Order(order), Arrival(arrival), int(seed))
        races = {"races": True, "functional": False}[checks]
        return Options(policy, races=races, multiprocessors=int(multiprocessors))
    except (ValueError, KeyError):
        raise ValueError(
            f"{VARIABLE} is {text!r}, not like 'fifo,latest,1,races,4': one of "
            f"{'/'.join(Order)}, one of {'/'.join(Arrival)}, a seed, races/functional, SMs"
        ) from None


def current_options(case: bytes) -> Options:
    """What ``MOEDSL_EMULATOR`` asks for; without it, one of the standard policies.

    Which one, and its seed, follow from ``case``: many cases see all policies, and a case that is
    repeated sees the same one again.
    """
    if text := os.environ.get(VARIABLE):
        return parse_options(text)
    seed, choice = divmod(crc32(case), len(STANDARD_POLICIES))
    return Options(replace(STANDARD_POLICIES[choice], seed=seed))
