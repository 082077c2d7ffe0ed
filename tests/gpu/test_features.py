"""Each feature of emitted kernels by name, on a GPU: the cases of the emulator's own tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from moedsl.backends.cuda.access import access_modes
from moedsl.backends.cuda.executable import CudaExecutable
from moedsl.cli.fuzz import choose_runners
from moedsl.fuzz.trial import Runner
from moedsl.lower.build_tile import build_tile
from moedsl.lower.check_schedule import check_schedule
from moedsl.target import TARGETS
from tests.emulator.features import CASES, ROWS, arguments_of, assert_right

pytestmark = [
    pytest.mark.gpu,
    # Some are about the slow ways.
    pytest.mark.filterwarnings("ignore::moedsl.PerformanceWarning"),
]

TARGET = TARGETS["sm_90a"]


@pytest.fixture(scope="module")
def runner() -> Runner:
    (chosen,), _ = choose_runners("cuda")
    return chosen


@pytest.fixture(scope="module")
def kernels() -> dict[str, CudaExecutable]:
    """All of them, compiled beside each other."""

    def compile_case(name: str) -> CudaExecutable:
        kernel, schedule = CASES[name]
        executable = CudaExecutable(build_tile(kernel, schedule, TARGET))
        arrays = arguments_of(name, ROWS).call().arrays
        executable.variant(access_modes(kernel.signature, arrays, schedule))
        return executable

    with ThreadPoolExecutor() as pool:
        return dict(zip(CASES, pool.map(compile_case, CASES), strict=True))


@pytest.mark.parametrize("rows", [ROWS, (517, 0, 1300, 64), (0, 0, 0, 3)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_feature(
    name: str, rows: tuple[int, ...], runner: Runner, kernels: dict[str, CudaExecutable]
) -> None:
    assert not check_schedule(*CASES[name], None, TARGET)
    given = arguments_of(name, rows)
    for _ in range(2):
        given.reset()
        call = runner.place.put(given)
        kernels[name].launch(call)
        runner.place.fetch(given)
        assert_right(name, given)
