"""Whatever is killed, and whenever, a screen ends with the bytes of an undisturbed one.

`make chaos` kills a driver, workers and nodes in twenty runs of a minute; one short run is a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrl_ray.crystals.storage import locate, write_parquet
from tests.chaos import CPUS_A_NODE, survive
from tests.screen_calls import Call, assert_same, noted
from tests.tiny_model import broken, make_model, random_crystals

ROWS = {"short": 1000, "long": 20_000}
"""Crystals of a library; slices have four."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model and libraries."""
    place = tmp_path_factory.mktemp("chaos")
    make_model(place / "model")
    for name, rows in ROWS.items():
        write_parquet(broken(random_crystals(rows, 5)), locate(place / f"{name}.parquet"))
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without work and two nodes of a CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=CPUS_A_NODE, object_store_memory=100_000_000)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(place: Path, cluster: Any, request: pytest.FixtureRequest) -> Path:
    """A run of the library that the parameter names to which nothing happened."""
    out = place / f"{request.param}-undisturbed"
    Call(options(place, cluster, request.param, out)).wait()
    return out


def options(place: Path, cluster: Any, library: str, out: Path) -> dict[str, Any]:
    return {
        "model": place / "model",
        "crystals": place / f"{library}.parquet",
        "out": out,
        "target_window": "10:16",
        "top": 20,
        "block_rows": 4,
        "address": cluster.address,
    }


@pytest.mark.parametrize("undisturbed", ["short"], indirect=True)
def test_a_screen_survives_two_kills(place, cluster, undisturbed):
    chosen = options(place, cluster, "short", place / "survivor")
    survived = survive(cluster, chosen, seed=3, kills=2, between=(3.0, 4.0))
    assert survived.kills
    assert_same(place / "survivor", undisturbed, str(place / "short.parquet"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("undisturbed", ["long"], indirect=True)
@pytest.mark.parametrize("seed", range(20))
def test_a_screen_survives_whatever_the_seed_kills(place, cluster, undisturbed, seed):
    out = place / f"survivor-{seed}"
    survived = survive(cluster, options(place, cluster, "long", out), seed)
    assert_same(out, undisturbed, str(place / "long.parquet"))
    noted({"chaos": seed, **survived._asdict()})
