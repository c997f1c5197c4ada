"""Whatever happens to a screen, its slices are those of an undisturbed run, byte by byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emrl_ray.crystals.storage import locate, write_parquet
from tests.screen_calls import (
    Call,
    assert_same,
    recovered,
    slices_of,
    workers_below,
)
from tests.tiny_model import broken, make_model, random_crystals

HERE = Path(__file__).parent
ROWS = 1500
SLICES = 150
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model and a library."""
    place = tmp_path_factory.mktemp("faults")
    make_model(place / "model")
    write_parquet(broken(random_crystals(ROWS, 3)), locate(place / "library.parquet"))
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without work and a node of two CPUs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=2, object_store_memory=100_000_000)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(place: Path, cluster: Any) -> Path:
    """A run to which nothing happened."""
    Call(options(place, "undisturbed", cluster.address)).wait()
    return place / "undisturbed"


def options(place: Path, out: str, address: str | None = None) -> dict[str, Any]:
    """Return the options of a screen; without an address it starts a Ray of its own."""
    chosen = {"model": place / "model", "crystals": place / "library.parquet"}
    chosen |= {"out": place / out, "target_window": "10:16", "top": 20, "block_rows": 10}
    return chosen | ({} if address is None else {"address": address})


def test_a_killed_worker_costs_what_it_was_computing(place, cluster, undisturbed):
    call = Call(options(place, "worker", cluster.address))
    call.until(10)
    began = time.monotonic()
    for worker in workers_below(os.getpid()):
        worker.kill()
    assert len(slices_of(call.out)) < SLICES
    call.wait()
    recovered("worker killed", began)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


@pytest.mark.slow
def test_a_node_that_goes_takes_nothing_with_it(place, cluster, undisturbed):
    lost = cluster.add_node(num_cpus=2, object_store_memory=100_000_000)
    call = Call(options(place, "node", cluster.address))
    call.until(10)
    assert workers_below(lost.all_processes["raylet"][0].process.pid)
    began = time.monotonic()
    cluster.remove_node(lost, allow_graceful=False)
    assert len(slices_of(call.out)) < SLICES
    call.wait()
    recovered("node removed", began)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


def test_a_driver_killed_before_its_manifest_and_in_a_commit(place, cluster, undisturbed):
    call = Call(options(place, "driver", cluster.address))
    call.until(SLICES)
    call.kill()
    began = time.monotonic()
    assert not (call.out / "manifest.json").exists()
    torn = next((call.out / "rejects").iterdir()).name  # its rejects are there, its rows not yet
    rows = call.out / "predictions" / torn
    rows.rename(rows.with_name(f".{torn}.0a1b2c3d"))
    said = Call(options(place, "driver", cluster.address)).wait()
    recovered("driver killed", began)
    assert f"{SLICES - 1} of them done by an earlier call" in said
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


def test_of_two_calls_at_once_one_is_refused(place, cluster, undisturbed):
    calls = [Call(options(place, "twice", cluster.address)) for _ in range(2)]
    (first, said), (second, refusal) = sorted(call.end() for call in calls)
    assert (first, second) == (0, 2), f"{said}\n{refusal}"
    assert "/twice is in use: screen (process" in refusal
    assert_same(place / "twice", undisturbed, str(place / "library.parquet"))


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_with_more_room(
    place, cluster, undisturbed, small_disk
):
    chosen = options(place, "disk", cluster.address) | {"out": small_disk / "run"}
    status, said = Call(chosen).end()
    assert status == 2, said
    (complaint,) = (line for line in said.splitlines() if line.startswith("emrl-ray screen: "))
    assert "No space left on device" in complaint
    assert 0 < len(slices_of(small_disk / "run")) < SLICES
    began = time.monotonic()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    Call(chosen).wait()
    recovered("disk full", began)
    assert_same(small_disk / "run", undisturbed, str(place / "library.parquet"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a part of the run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_store_that_fails_one_write_in_twenty_is_written_to_again(place, undisturbed, preloaded):
    log = place / "failures"
    call = Call(
        options(place, "store"),
        {
            "LD_PRELOAD": str(preloaded),
            "FAILING_UNDER": str(place / "store"),
            "FAILING_SHARE": "0.05",
            "FAILING_LOG": str(log),
        },
    )
    call.wait()
    assert log.stat().st_size >= 5
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


@pytest.fixture
def preloaded(tmp_path: Path) -> Path:
    """A library that lets writes fail in the processes that it is loaded into."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = tmp_path / "failing_writes.so"
    source = HERE / "failing_writes.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_replaced(place, undisturbed):
    memory = psutil.virtual_memory()
    meal = place / "meal"
    call = Call(
        options(place, "memory"),
        {
            "PYTHONPATH": os.pathsep.join([str(HERE / "hungry"), os.environ.get("PYTHONPATH", "")]),
            "HUNGRY_MEAL": str(meal),
            "RAY_memory_usage_threshold": str(1 - (memory.available - 2 * GIGABYTE) / memory.total),
            "RAY_memory_monitor_refresh_ms": "50",
        },
    )
    call.until(10)
    began = time.monotonic()
    meal.with_name("meal-served").write_text(str(6 * GIGABYTE))
    meal.with_name("meal-served").rename(meal)
    call.wait()
    recovered("out of memory", began)
    (eaten,) = place.glob("meal-*")
    assert not psutil.pid_exists(int(eaten.name.split("-")[1]))
    assert_same(call.out, undisturbed, str(place / "library.parquet"))
