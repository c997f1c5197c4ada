"""Fixtures that several tiers share: Ray, clusters and the object store; a reported run.

The quick tiers use none that starts something. One Ray serves all tests of a process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.servers.s3 import reserve_endpoint

if TYPE_CHECKING:
    from tests.support.servers.s3 import Bucket

ENDPOINT = reserve_endpoint()  # before any Ray starts: its workers inherit the environment


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray of 4 CPUs for the whole session of tests."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=400_000_000,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without work and a node of two CPUs, for a module that kills parts of it."""
    from tests.support.clusters import cluster_of

    with cluster_of(2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The S3 server that ``s3://`` means in all tests; its address."""
    from tests.support.servers.s3 import serving

    with serving(ENDPOINT) as address:
        yield address


@pytest.fixture(scope="module")
def bucket(object_store: str, request: pytest.FixtureRequest) -> Bucket:
    """A bucket for the tests of a module."""
    from tests.support.servers.s3 import Bucket

    return Bucket(request.module.__name__.rpartition(".")[2].replace("_", "-"))


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A screening run with all that a run may hold, and its report; tests change copies of it."""
    from tests.support.run_directory import run_with_report

    return run_with_report(tmp_path_factory.mktemp("reported"))


@pytest.fixture
def run_copy(reported_run: str, tmp_path: Path) -> Path:
    """A copy of `reported_run` to change; its model stays where it is."""
    return Path(shutil.copytree(reported_run, tmp_path / "run"))
