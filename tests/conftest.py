"""What all tests share: the data of development if it is there, one thread a process, and the reporting."""

from __future__ import annotations

import os

os.environ["RAY_AUTH_MODE"] = "disabled"  # before any import of ray: a test Ray needs no token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Before any import of torch: threads of several processes that wait for each other make a busy machine crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from emrl_ray.io.console import show_log
from tests.support.examples import examples
from tests.support.fixtures import (  # noqa: F401  # fixtures are found by their names here
    bucket,
    cluster,
    object_store,
    ray_session,
    reported_run,
    run_copy,
)
from tests.support.reporting import Durations, report_skips
from tests.support.warm import warm_kernels

DATA_VARIABLE = "EMRL_RAY_DATA"
NO_DATA = (
    f"needs the data sets of development: {DATA_VARIABLE} is not set "
    "(the folder that holds data/ and reference/)"
)
TIERS = ("unit", "properties", "packaging", "integration", "faults")
"""Folders of tests, quickest first."""


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


def pytest_configure(config: pytest.Config) -> None:
    show_log()  # as the command line does: tests look at what is said
    settings.register_profile("tests", examples(100))
    settings.load_profile("tests")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell that runs this aside
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations(config), "durations-as-they-come")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and session.config.getoption("dist") != "no":
        warm_kernels(session.config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by tier, then by the longest time that one of their tests may take."""
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit = float(mark.args[0]) if mark is not None else 0.0
        longest[item.path] = max(limit, longest.get(item.path, 0.0))
    # Files of one tier and limit stay as they are.
    items.sort(key=lambda item: (_tier(item.path), longest[item.path]))


def _tier(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return TIERS.index(folder) if folder in TIERS else len(TIERS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    report_skips(terminalreporter)
