"""Launches that start before the one before them has ended. Values are exact integers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from moedsl.kernel import CompiledKernel
from tests.api.kernels import forward, schedule

pytestmark = pytest.mark.gpu

EXPERTS, SIZE, STEPS = 4, 512, 24
ROUTINGS = ((700, 3, 0, 321), (0, 1024, 0, 0), (255, 257, 256, 256))


class Chain:
    """Calls each of which reads what the one before wrote, and writes what that one read.

    Weights are signed permutations, so that every step is exact. Between steps the routing changes
    on the device, at times by work that is no kernel of moedsl.
    """

    def __init__(self, torch: Any, *, specialised: bool) -> None:
        kernel = forward(EXPERTS, SIZE, SIZE)
        chosen = None if specialised else schedule()
        self._torch, self._random = torch, np.random.default_rng(7)
        self._call = CompiledKernel(kernel, (), schedule=chosen)
        turns = [self._random.permutation(SIZE) for _ in range(EXPERTS)]
        self._weights = np.stack([np.eye(SIZE, dtype=np.int8)[turn] for turn in turns])
        self._weights *= self._random.choice(np.array([-1, 1], np.int8), (EXPERTS, SIZE, 1))
        self._x = self._random.integers(-100, 101, (sum(ROUTINGS[1]), SIZE))
        self._w = self._put(self._weights)
        self._ends = [torch.tensor(np.cumsum(r), device="cuda").int() for r in ROUTINGS]
        self._offs = self._ends[0].clone()
        self._buffers = [self._put(self._x), self._put(self._x)]

    def _put(self, values: Any) -> Any:
        return self._torch.tensor(values, device="cuda").bfloat16()

    def start(self) -> None:
        """Before the first run, and again after any."""
        self._buffers[0].copy_(self._put(self._x))
        self._buffers[1].fill_(self._torch.nan)
        self._torch.cuda.synchronize()

    def run(self) -> None:
        """Submit all steps to the current stream."""
        for step in range(STEPS):
            if step % 4 == 0:
                self._offs.copy_(self._ends[step // 4 % len(ROUTINGS)])
            read, written = self._buffers[step % 2], self._buffers[1 - step % 2]
            self._call(x=read, w=self._w, offs=self._offs, out=written)
            if step % 6 == 5:
                written.neg_()

    def expected(self) -> Any:
        """What the last step writes."""
        x = self._x
        for step in range(STEPS):
            ends = np.cumsum(ROUTINGS[step // 4 % len(ROUTINGS)])
            starts = [0, *ends[:-1]]
            parts = [
                x[a:b] @ self._weights[e].T
                for e, (a, b) in enumerate(zip(starts, ends, strict=True))
            ]
            x = np.concatenate(parts) * (-1 if step % 6 == 5 else 1)
        return self._put(x)

    def result(self) -> Any:
        """What stands there once the device has come to rest."""
        self._torch.cuda.synchronize()
        return self._buffers[STEPS % 2]


@pytest.fixture
def torch() -> Any:
    import torch

    return torch


@pytest.mark.parametrize("specialised", [True, False])
@pytest.mark.parametrize("side", [False, True])
def test_each_call_sees_what_came_before_it(torch: Any, specialised: bool, side: bool) -> None:
    chain = Chain(torch, specialised=specialised)
    expected = chain.expected()
    for _ in range(10):
        chain.start()
        with torch.cuda.stream(torch.cuda.Stream()) if side else nullcontext():
            chain.run()
        assert torch.equal(chain.result(), expected)


@pytest.mark.parametrize("specialised", [True, False])
def test_so_it_does_in_a_graph_with_branches(torch: Any, specialised: bool) -> None:
    chain = Chain(torch, specialised=specialised)
    expected = chain.expected()
    chain.run()
    torch.cuda.synchronize()
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    other = torch.zeros(1 << 20, device="cuda")
    with torch.cuda.graph(graph):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            other.add_(1)
        torch.cuda.current_stream().wait_stream(side)
        chain.run()
    for replay in range(1, 11):
        chain.start()
        graph.replay()
        assert torch.equal(chain.result(), expected)
        assert int(other.max()) == int(other.min()) == replay
