"""What every test shares: which GPU tests can run, a cache of the test run's own."""

from __future__ import annotations

import os
import tempfile
from functools import cache

import pytest
from hypothesis import settings

settings.register_profile("moedsl", deadline=None)
settings.load_profile("moedsl")


def pytest_configure(config: pytest.Config) -> None:
    """Compiled kernels of the run go to one folder, which pytest-xdist's workers inherit.

    BLAS gets one thread: two that wait for each other on a busy machine take ten times as long.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "MOEDSL_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="moedsl-cache-")
        os.environ["MOEDSL_CACHE_DIR"] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``gpu`` skip where there is no device, and nowhere else."""
    if item.get_closest_marker("gpu") and device_count() == 0:
        pytest.skip("no CUDA device")


@cache
def device_count() -> int:
    """Number of CUDA devices; 0 without a driver."""
    from cuda.bindings import driver

    try:
        (status,) = driver.cuInit(0)
    except RuntimeError:
        return 0
    if status != driver.CUresult.CUDA_SUCCESS:
        return 0
    _, count = driver.cuDeviceGetCount()
    return int(count)
