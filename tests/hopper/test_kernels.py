"""Hand-written Hopper kernels on the emulator: right results, no findings, seeded bugs found."""

from __future__ import annotations

import numpy as np
import pytest

from moedsl.backends.cuda.nvrtc import compile_cubin
from moedsl.backends.emulator.options import STANDARD_POLICIES, Options, Policy
from moedsl.backends.emulator.report import EmulationError
from tests.conformance.model import run_model
from tests.hopper.kernels import SIZES, Sizes, expected, gemm_case

KERNELS = ("gemm", "gemm_cluster")
SMALL = Sizes(130, 136, 136)


def _check(kernel: str, sizes: Sizes, options: Options) -> None:
    case = gemm_case(kernel, sizes)
    want = expected(case, sizes, 0)
    (data,) = run_model(case, 0, options)
    np.testing.assert_array_equal(np.frombuffer(data, np.uint16).reshape(want.shape), want)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("policy", STANDARD_POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("kernel", KERNELS)
def test_results_are_exact(kernel: str, policy: Policy, sizes: Sizes) -> None:
    _check(kernel, sizes, Options(policy, races=False))


@pytest.mark.parametrize("policy", STANDARD_POLICIES, ids=lambda p: p.order)
@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_found(kernel: str, policy: Policy) -> None:
    _check(kernel, SMALL, Options(policy, races=True))


@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_without_spills_or_serialised_products(kernel: str) -> None:
    notes = compile_cubin(gemm_case(kernel, SIZES[1]).unit.emitted, kernel, "sm_90a").notes
    assert not notes.spills
    assert notes.messages == ()
    assert notes.registers == 65536 // 384 // 8 * 8


BUGS = [
    ("barrier_wait(full + ring.stage * 8, ring.parity);", ""),
    ("group_fence();", ""),
    ("group_commit();", ""),
    ("group_wait<0>(sum);", ""),
    ("fence_async();", ""),
    ("named_sync(1 + group, 128);\n    if (leads) {", "if (leads) {"),
    ("if (leads) bulk_wait_read<0>();", ""),
    ("if (thread_index() % 128 == 0) bulk_wait<0>();", ""),
    ("raise_registers<232>();", "raise_registers<240>();"),
    ("barrier_arrive_expect(done, stage_bytes);", "barrier_arrive_expect(done, stage_bytes / 2);"),
    ("barrier_arrive_expect(done, stage_bytes);", "barrier_arrive_expect(done, stage_bytes + 16);"),
    ("ring.parity ^ 1);", "ring.parity);"),
    ("barrier_init(full + i * 8, 1);", "barrier_init(full + i * 8, 2);"),
    ("fence_barrier_init();", ""),
]
START = "fence_barrier_init();\n    }\n    "
END = """\
    // The other CTA may still arrive at barriers of this one.
    sync_warp();
    sync_cluster();
"""
CLUSTER_BUGS = [
    ("peer_address(empty + stage * 8, lane_index())", "peer_address(empty + stage * 8, 0)"),
    ("u16 both = 3", "u16 both = 1"),
    (END, ""),
    (START + "sync_cluster();", START + "sync_cta();"),
]


def _is_caught(kernel: str, bug: tuple[str, str]) -> bool:
    sizes = Sizes(300, 264, 392) if kernel == "gemm_cluster" else Sizes(300, 136, 328)
    case = gemm_case(kernel, sizes, bug)
    assert case.body != gemm_case(kernel, sizes).body
    want = expected(case, sizes, 0).tobytes()
    for policy in STANDARD_POLICIES:
        try:
            (data,) = run_model(case, 0, Options(policy, races=True, timeout=20))
        except EmulationError:
            return True
        if data != want:
            return True
    return False


@pytest.mark.parametrize("bug", BUGS, ids=lambda b: b[0][:40])
def test_bugs_are_caught(bug: tuple[str, str]) -> None:
    assert _is_caught("gemm", bug)


def _report(bug: tuple[str, str]) -> str:
    case = gemm_case("gemm", Sizes(130, 136, 328), bug)
    with pytest.raises(EmulationError) as caught:
        run_model(case, 0, Options(races=True, timeout=20))
    return str(caught.value)


def test_deadlock_names_the_roles_that_wait() -> None:
    report = _report(("if (lane_index() == 0) barrier_arrive(empty + before * 8);", ""))
    assert "32 threads of block 0 (producer; the first is 0) wait in" in report
    for group in (0, 1):
        first = 128 * (group + 1)
        assert f"128 threads of block 0 (consumer {group}; the first is {first}) wait" in report


def test_race_names_both_roles() -> None:
    report = _report(("group_wait<1>();", "group_wait<2>();"))
    assert "by producer, thread 0 of block 0 (warp 0, lane 0)" in report
    assert "wgmma of consumer " in report


@pytest.mark.parametrize("bug", CLUSTER_BUGS, ids=lambda b: b[0][:40])
def test_bugs_of_clusters_are_caught(bug: tuple[str, str]) -> None:
    assert _is_caught("gemm_cluster", bug)
