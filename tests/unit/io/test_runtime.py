"""What a process says of itself, and how it holds its threads."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_info

from emrl_ray.io.runtime import (
    available_cpus,
    hardware_info,
    limited_threads,
    package_versions,
    peak_memory,
)


def test_threads_are_limited_within_the_context_and_as_before_after_it():
    before = pa.cpu_count(), os.environ.get("OMP_NUM_THREADS")
    with limited_threads(1):
        assert pa.cpu_count() == 1
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}
    assert (pa.cpu_count(), os.environ.get("OMP_NUM_THREADS")) == before


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory()
    held = np.ones(25_000_000)
    assert peak_memory() > held.nbytes * 0.9
    assert peak_memory() >= before


def test_versions_and_machine_are_told():
    assert package_versions()["numpy"] == np.__version__
    assert hardware_info()["cpus"] == available_cpus() >= 1
