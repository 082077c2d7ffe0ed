"""Launches on a GPU: streams, graphs, threads, libraries, host time. Values are exact integers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import moedsl
from moedsl import PerformanceWarning
from moedsl.ir.core import DType
from moedsl.ir.schedule import Persistence, Schedule, TileShape
from moedsl.kernel import CompiledKernel
from moedsl.source.diagnostic import DiagnosticError, UnavailableError
from tests.api.kernels import forward, schedule

pytestmark = pytest.mark.gpu

EXPERTS, COLUMNS, DEPTH = 8, 192, 96
ROWS = ((5, 0, 130, 64, 1, 0, 33, 7), (0,) * 8, (1,) * 8, (0, 0, 0, 500, 0, 0, 0, 0))
SCHEDULES = [
    schedule(persistent=persistent, split_k=split_k)
    for persistent in Persistence
    for split_k in (1, 3)
]


@pytest.fixture
def torch() -> Any:
    import torch

    return torch


def kernel(
    chosen: Schedule | None = None, dtype: DType = DType.BF16, *, debug: bool = False
) -> CompiledKernel:
    made = forward(EXPERTS, COLUMNS, DEPTH, dtype)
    return CompiledKernel(made, (), schedule=chosen or schedule(), debug=debug)


def case(torch: Any, rows: tuple[int, ...], seed: int = 0, dtype: str = "bfloat16") -> Any:
    """Arguments with entries -1, 0, 1 and the exact result."""
    random = np.random.default_rng(seed)
    x = random.integers(-1, 2, (sum(rows), DEPTH))
    w = random.integers(-1, 2, (EXPERTS, COLUMNS, DEPTH))
    ends = np.cumsum(rows)
    starts = ends - rows
    parts = [x[a:b] @ w[e].T for e, (a, b) in enumerate(zip(starts, ends, strict=True))]

    def put(values: Any, kind: str) -> Any:
        return torch.tensor(values, device="cuda").to(getattr(torch, kind))

    named = {"x": put(x, dtype), "w": put(w, dtype), "offs": put(ends, "int32")}
    return named, put(np.concatenate(parts), dtype)


@pytest.mark.parametrize("chosen", SCHEDULES)
@pytest.mark.parametrize("rows", ROWS)
def test_exact(torch: Any, chosen: Schedule, rows: tuple[int, ...]) -> None:
    named, expected = case(torch, rows)
    call = kernel(chosen)
    for _ in range(3):
        result = call(**named)
        assert result.shape == expected.shape and torch.equal(result, expected)


def test_more_shared_memory_than_the_default(torch: Any) -> None:
    large = Schedule(TileShape(128, 128, 64), stages=4, consumers=1)
    named, expected = case(torch, ROWS[0])
    assert torch.equal(kernel(large)(**named), expected)


def test_out_and_stream(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    call, side = kernel(), torch.cuda.Stream()
    out = torch.empty_like(expected)
    torch.cuda.synchronize()
    for stream in (side, side.cuda_stream):
        out.fill_(99)
        torch.cuda.synchronize()
        assert call(**named, out=out, stream=stream) is out
        side.synchronize()
        assert torch.equal(out, expected)
    with torch.cuda.stream(side):
        result = call(**named)
        assert torch.equal(result, expected)
    for default in (0, 1, 2):
        out.fill_(99)
        torch.cuda.synchronize()
        call(**named, out=out, stream=default)
        torch.cuda.synchronize()
        assert torch.equal(out, expected)


def test_launch_follows_work_on_the_current_stream(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    call, side = kernel(), torch.cuda.Stream()
    call(**named)
    values = named["x"].clone()
    named["x"].zero_()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        named["x"].copy_(values)
        result = call(**named)
        assert torch.equal(result, expected)


@pytest.mark.parametrize("chosen", SCHEDULES)
def test_graph_is_captured_after_warmup(torch: Any, chosen: Schedule) -> None:
    named, expected = case(torch, ROWS[0])
    other, other_expected = case(torch, ROWS[0][::-1], seed=1)
    call, out = kernel(chosen), torch.empty_like(expected)
    call.warmup(**named, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(**named, out=out)
        second = call(**named)
    out.fill_(99)
    graph.replay()
    assert torch.equal(out, expected) and torch.equal(second, expected)
    for name, array in other.items():
        named[name].copy_(array)
    for _ in range(3):
        graph.replay()
    assert torch.equal(out, other_expected) and torch.equal(second, other_expected)
    assert torch.equal(call(**named), other_expected)


@pytest.mark.parametrize("chosen", SCHEDULES)
def test_graphs_replay_beside_each_other_and_calls(torch: Any, chosen: Schedule) -> None:
    call, rows = kernel(chosen), tuple(40 * r for r in ROWS[0])
    cases = [case(torch, rows, seed) for seed in range(4)]
    call.warmup(**cases[0][0])
    graphs = []
    for named, expected in cases:
        graph, out = torch.cuda.CUDAGraph(), torch.empty_like(expected)
        with torch.cuda.graph(graph):
            call(**named, out=out)
        graphs.append((graph, out, torch.cuda.Stream()))
    torch.cuda.synchronize()
    direct = []
    for _ in range(20):
        for graph, _, stream in graphs:
            with torch.cuda.stream(stream):
                graph.replay()
        direct.append(call(**cases[1][0]))
    torch.cuda.synchronize()
    for (_, out, _), (_, expected) in zip(graphs, cases, strict=True):
        assert torch.equal(out, expected)
    assert all(torch.equal(result, cases[1][1]) for result in direct)


def test_cold_capture_is_refused_clearly(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    call = kernel(schedule(rows=32))
    graph, caught = torch.cuda.CUDAGraph(), None
    with torch.cuda.graph(graph):
        named["x"].clone()
        try:
            call(**named)
        except UnavailableError as error:
            caught = error
    assert caught is not None and "warmup" in caught.help
    assert torch.equal(call(**named), expected)


@pytest.mark.parametrize("chosen", SCHEDULES)
def test_streams_beside_each_other(torch: Any, chosen: Schedule) -> None:
    call, rows = kernel(chosen), tuple(40 * r for r in ROWS[0])
    cases = [case(torch, rows, seed) for seed in range(8)]
    streams = [torch.cuda.Stream() for _ in cases]
    torch.cuda.synchronize()
    results: list[Any] = []
    for _ in range(10):
        results.clear()
        for stream, (named, _) in zip(streams, cases, strict=True):
            with torch.cuda.stream(stream):
                results.append(call(**named))
    torch.cuda.synchronize()
    for result, (_, expected) in zip(results, cases, strict=True):
        assert torch.equal(result, expected)


def test_threads_with_streams_of_their_own(torch: Any) -> None:
    call = kernel(schedule(persistent=Persistence.DYNAMIC, split_k=3))

    def work(seed: int) -> bool:
        stream: Any = 2 if seed % 2 else torch.cuda.Stream()
        named, expected = case(torch, tuple((seed + 1) * r for r in ROWS[0]), seed)
        out = torch.empty_like(expected)
        torch.cuda.synchronize()
        for _ in range(20):
            call(**named, out=out, stream=stream)
        torch.cuda.synchronize()
        return bool(torch.equal(out, expected))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_thread_without_a_context(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    for chosen in SCHEDULES[:4]:
        call, out = kernel(chosen), torch.empty_like(expected)
        call(**named, out=out)
        for stream in (0, 1, 2):
            out.fill_(99)
            torch.cuda.synchronize()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(call, **named, out=out, stream=stream).result()
            torch.cuda.synchronize()
            assert torch.equal(out, expected)


def test_slow_path_warns_once_and_is_right(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    call = kernel()
    wide = torch.zeros(named["x"].shape[0], DEPTH + 1, dtype=torch.bfloat16, device="cuda")
    wide[:, 1:] = named["x"]
    named["x"] = wide[:, 1:]
    with pytest.warns(PerformanceWarning, match="'x' is accessed one element at a time") as seen:
        assert torch.equal(call(**named), expected)
    assert len(seen) == 1
    assert torch.equal(call(**named), expected)


def test_debug_mode_reads_what_lies_on_the_device(torch: Any) -> None:
    named, expected = case(torch, ROWS[0])
    call = kernel(debug=True)
    assert torch.equal(call(**named), expected)
    named["offs"][3] = 0
    with pytest.raises(DiagnosticError, match="'offs' falls"):
        call(**named)


def test_cupy(torch: Any) -> None:
    import cupy

    named, expected = case(torch, ROWS[0], dtype="float16")
    arrays = {name: cupy.from_dlpack(array) for name, array in named.items()}
    call = kernel(dtype=DType.F16)
    for stream in (cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream.null):
        torch.cuda.synchronize()
        with stream:
            result = call(**arrays)
        stream.synchronize()
        assert isinstance(result, cupy.ndarray)
        assert torch.equal(torch.from_dlpack(result), expected)


def test_other_libraries_through_dlpack_and_cuda_array_interface(torch: Any) -> None:
    class DlpackKind:
        def __init__(self, array: Any) -> None:
            self._array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self._array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    class CaiKind:
        def __init__(self, array: Any) -> None:
            self._array = array

        @property
        def __cuda_array_interface__(self) -> Any:
            return {**self._array.__cuda_array_interface__, "version": 3}

    for kind, dtype in ((DlpackKind, DType.BF16), (DlpackKind, DType.F16), (CaiKind, DType.F16)):
        name = {"bf16": "bfloat16", "f16": "float16"}[dtype]
        named, expected = case(torch, ROWS[0], dtype=name)
        out = torch.empty_like(expected)
        torch.cuda.synchronize()
        call = kernel(dtype=dtype)
        for _ in range(2):
            call(**{n: kind(array) for n, array in named.items()}, out=out)
        torch.cuda.synchronize()
        assert torch.equal(out, expected)
        with pytest.raises(DiagnosticError, match="cannot be made"):
            call(**{n: kind(array) for n, array in named.items()})


def test_jax(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax.numpy

    named, expected = case(torch, ROWS[0])
    arrays = {name: jax.numpy.from_dlpack(array) + 0 for name, array in named.items()}
    out = torch.empty_like(expected)
    torch.cuda.synchronize()
    kernel()(**arrays, out=out)
    torch.cuda.synchronize()
    assert torch.equal(out, expected)
    with pytest.raises(DiagnosticError, match="'y' is read-only"):
        kernel()(**arrays, out=jax.numpy.from_dlpack(out) + 0)


SCALED = f"""
kernel scaled {{
    index e = {EXPERTS}
    index m = ragged(e)
    index n = {COLUMNS}
    index k = {DEPTH}
    input  scale : f32
    input  x : bf16[m, k]
    input  w : bf16[e, n, k]
    output y : f32[m, n]
    y[m, n] = scale * (sum[k] x[m, k] * w[e, n, k])
}}
"""


def test_numbers_for_scalars(torch: Any) -> None:
    """Eagerly, on a side stream and in a graph that outlives them."""
    named, expected = case(torch, ROWS[0])
    expected = expected.float()
    call = moedsl.load(SCALED).kernel().compile()
    for scale in (2, -0.5, 2):
        assert torch.equal(call(**named, scale=scale), scale * expected)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        sided = call(**named, scale=4)
    torch.cuda.synchronize()
    assert torch.equal(sided, 4 * expected)
    out = torch.empty_like(expected)
    call.warmup(**named, scale=1, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(**named, scale=8, out=out)
    for _ in range(2):
        out.zero_()
        call(**named, scale=16)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, 8 * expected)


def host_time(torch: Any, act: Any) -> float:
    """Median over batches of the seconds that ``act`` keeps the host, the device never behind."""
    times = []
    for _ in range(200):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            act()
        times.append((time.perf_counter() - start) / 10)
    return sorted(times)[len(times) // 2]


def test_host_time_of_a_call(torch: Any) -> None:
    named, expected = case(torch, (1,) * 8)
    slowest = 0.0
    for chosen in (schedule(), schedule(persistent=Persistence.DYNAMIC, split_k=3)):
        call, out = kernel(chosen), torch.empty_like(expected)
        call(**named)
        call(**named, out=out)
        given = host_time(torch, lambda call=call, out=out: call(**named, out=out))
        fresh = host_time(torch, lambda call=call: call(**named))
        (plan, *_) = call._plans.values()
        addresses = tuple(array.data_ptr() for array in (*named.values(), out))
        bare = host_time(torch, lambda plan=plan, at=addresses: plan.launch(at, 0))
        print(chosen.persistent, chosen.split_k, f"{given:.2e} {fresh:.2e} {bare:.2e}")
        slowest = max(slowest, given, fresh)
    assert slowest < 15e-6


def test_schedule_for_another_architecture_is_refused(torch: Any) -> None:
    from moedsl.target import TARGETS

    named, _ = case(torch, ROWS[0])
    here = torch.cuda.get_device_capability()
    other = next(t for t in TARGETS.values() if t.capability // 10 != here[0])
    call = CompiledKernel(
        forward(EXPERTS, COLUMNS, DEPTH), (), schedule=replace(schedule(), stages=2), target=other
    )
    with pytest.raises(UnavailableError, match="does not run on"):
        call(**named)
