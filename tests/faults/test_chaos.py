"""Whatever is killed, and whenever, a screen ends with the bytes of an undisturbed one.

`make chaos` kills a driver, workers and nodes in twenty runs of a minute; a short run of two kills is a
test of test_screen_faults.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.chaos import after, survive
from tests.support.clusters import cluster_of
from tests.support.models import broken, make_model, random_crystals
from tests.support.processes import ScreenCall, assert_same, noted

pytestmark = pytest.mark.slow

ROWS = 5_000
"""Crystals of the library; partitions have four."""
KILLS = 3
"""At most, in a run."""
BETWEEN = (10.0, 25.0)
"""Seconds before each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model and a library."""
    place = tmp_path_factory.mktemp("chaos")
    make_model(place / "model")
    write_parquet(broken(random_crystals(ROWS, 5)), resolve(place / "library.parquet"))
    return place


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A cluster of a head without work and two nodes of a CPU each."""
    with cluster_of(1, 1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(place: Path, two_nodes: Any) -> Path:
    """A run to which nothing happened."""
    ScreenCall(options(place, two_nodes, "undisturbed")).wait()
    return place / "undisturbed"


def options(place: Path, cluster: Any, out: str) -> dict[str, Any]:
    return {
        "model": place / "model",
        "crystals": place / "library.parquet",
        "out": place / out,
        "target_window": "10:16",
        "top": 20,
        "block_rows": 4,
        "address": cluster.address,
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_a_screen_survives_whatever_the_seed_kills(place, two_nodes, undisturbed, seed):
    chosen = options(place, two_nodes, f"survivor-{seed}")
    draws = random.Random(seed)
    moments = [after(draws.uniform(*BETWEEN)) for _ in range(KILLS)]
    survived = survive(two_nodes, chosen, draws, moments)
    assert survived.kills
    assert_same(chosen["out"], undisturbed, str(place / "library.parquet"))
    noted({"chaos": seed, **survived._asdict()})
