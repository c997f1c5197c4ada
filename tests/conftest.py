"""What tests share: the data of development, if it is there, and one small local Ray."""

from __future__ import annotations

import os

os.environ["RAY_AUTH_MODE"] = "disabled"  # before any import of ray: a test Ray needs no token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from tests.support.servers.s3 import reserve_endpoint

PLACE_OF_STORE = reserve_endpoint()  # before any Ray starts: its workers inherit the environment

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.servers.mp import MPServer
    from tests.support.servers.s3 import Bucket

DATA_VARIABLE = "EMRL_RAY_DATA"
NO_DATA = f"needs the data sets of development: {DATA_VARIABLE} is not set"


def _shared_folder(name: str) -> Path:
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        pytest.skip(NO_DATA)
    folder = Path(root).expanduser().resolve() / name
    if not folder.is_dir():
        pytest.fail(f"{DATA_VARIABLE}={root}: has no folder {name}/", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder `data/` of EMRL_RAY_DATA (hoip.parquet, mps.parquet, ...); skips without it."""
    return _shared_folder("data")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Folder `reference/` of EMRL_RAY_DATA (published weights, ...); skips without it."""
    return _shared_folder("reference")


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

    with serving(PLACE_OF_STORE) as address:
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


@pytest.fixture
def mp_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the Materials Project, and none in the settings of whoever runs the tests."""
    from pymatgen.core import SETTINGS

    from tests.support.servers.mp import KEY

    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.delitem(SETTINGS, "PMG_MAPI_KEY", raising=False)


@pytest.fixture
def mp_server() -> Iterator[MPServer]:
    """A server with 60 materials."""
    from tests.support.servers.mp import MPServer

    with MPServer(60) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files whose tests may take longest first: of two processes none is left with one of them."""
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit = float(mark.args[0]) if mark is not None else 0.0
        longest[item.path] = max(limit, longest.get(item.path, 0.0))
    items.sort(key=lambda item: -longest[item.path])  # files of one limit stay as they are


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run for want of data, and why."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_DATA in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_sep("-", "tests without data")
        terminalreporter.write_line(
            f"{len(skipped)} tests were skipped: {NO_DATA} "
            "(the folder that holds data/ and reference/)"
        )
