"""Whatever happens to a screen, its partitions are those of an undisturbed run, byte by byte."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emrl_ray.commands.screen.command import screen
from emrl_ray.config import ScreenConfig
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.chaos import at_slices, survive
from tests.support.clusters import add_node, slice_workers
from tests.support.models import broken, make_model, random_crystals
from tests.support.paths import SUPPORT
from tests.support.preload import preloaded
from tests.support.processes import Fault, ScreenCall, assert_same, slices_of

pytestmark = pytest.mark.timeout(600)

ROWS = 1500
SLICES = 150
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model and a library."""
    place = tmp_path_factory.mktemp("faults")
    make_model(place / "model")
    write_parquet(broken(random_crystals(ROWS, 3)), resolve(place / "library.parquet"))
    return place


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run to which nothing happened, in this process."""
    screen(ScreenConfig(**options(place, "undisturbed"), engine="local"))
    return place / "undisturbed"


def options(place: Path, out: str, address: str | None = None) -> dict[str, Any]:
    """Return the options of a screen."""
    chosen = {"model": str(place / "model"), "crystals": str(place / "library.parquet")}
    chosen |= {"out": str(place / out), "target_window": "10:16", "top": 20, "block_rows": 10}
    return chosen | ({} if address is None else {"address": address})


@pytest.mark.slow
def test_nothing_happens_to_a_screen(place, cluster, undisturbed):
    nothing = Fault("none, a screen")
    call = ScreenCall(options(place, "nothing", cluster.address))
    nothing.survived(call)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


def test_a_killed_worker_costs_what_it_was_computing(place, cluster, undisturbed):
    call = ScreenCall(options(place, "worker", cluster.address))
    call.until(10)
    fault = Fault("worker killed")
    workers = slice_workers(*cluster.worker_nodes)
    assert workers
    for worker in workers:
        worker.kill()
    assert len(slices_of(call.out)) < SLICES
    fault.survived(call)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


@pytest.mark.slow
def test_a_node_that_goes_takes_nothing_with_it(place, cluster, undisturbed):
    lost = add_node(cluster)
    call = ScreenCall(options(place, "node", cluster.address))
    call.until(10)
    assert slice_workers(lost)
    fault = Fault("node removed")
    cluster.remove_node(lost, allow_graceful=False)
    assert len(slices_of(call.out)) < SLICES
    fault.survived(call)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


def test_a_screen_survives_two_kills(place, cluster, undisturbed):
    chosen = options(place, "survivor", cluster.address)
    survived = survive(cluster, chosen, random.Random(3), [at_slices(15), at_slices(60)])
    assert len(survived.kills) == 2
    assert_same(place / "survivor", undisturbed, str(place / "library.parquet"))


def test_a_driver_killed_before_its_manifest_and_in_a_commit(place, cluster, undisturbed):
    call = ScreenCall(options(place, "driver", cluster.address))
    call.until(SLICES)
    call.kill()
    fault = Fault("driver killed")
    assert not (call.out / "manifest.json").exists()
    torn = next((call.out / "rejects").iterdir()).name  # its rejects are there, its rows not yet
    rows = call.out / "predictions" / torn
    rows.rename(rows.with_name(f".{torn}.0a1b2c3d"))
    said = fault.survived(ScreenCall(options(place, "driver", cluster.address)))
    assert f"{SLICES - 1} of them done by an earlier call" in said
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


def test_of_two_calls_at_once_one_is_refused(place, cluster, undisturbed):
    calls = [ScreenCall(options(place, "twice", cluster.address)) for _ in range(2)]
    (first, said), (second, refusal) = sorted(call.end() for call in calls)
    assert (first, second) == (0, 2), f"{said}\n{refusal}"
    assert "/twice is in use: screen (process" in refusal
    assert_same(place / "twice", undisturbed, str(place / "library.parquet"))


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_with_more_room(
    place, cluster, undisturbed, small_disk
):
    chosen = options(place, "disk", cluster.address) | {"out": small_disk / "run"}
    status, said = ScreenCall(chosen).end()
    assert status == 2, said
    (complaint,) = (line for line in said.splitlines() if line.startswith("emrl-ray screen: "))
    assert "No space left on device" in complaint
    assert 0 < len(slices_of(small_disk / "run")) < SLICES
    fault = Fault("disk full")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    fault.survived(ScreenCall(chosen))
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


def test_a_store_that_fails_one_write_in_twenty_is_written_to_again(place, undisturbed, tmp_path):
    log = place / "failures"
    fault = Fault("one write in twenty fails")
    call = ScreenCall(
        options(place, "store") | {"engine": "ray"},
        {
            **preloaded("failing_writes", tmp_path),
            "FAILING_UNDER": str(place / "store"),
            "FAILING_SHARE": "0.05",
            "FAILING_LOG": str(log),
        },
    )
    fault.survived(call)
    assert log.stat().st_size >= 5
    assert_same(call.out, undisturbed, str(place / "library.parquet"))


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_replaced(place, undisturbed):
    memory = psutil.virtual_memory()
    meal = place / "meal"
    call = ScreenCall(
        options(place, "memory") | {"engine": "ray"},
        {
            "PYTHONPATH": os.pathsep.join(
                [str(SUPPORT / "hungry"), os.environ.get("PYTHONPATH", "")]
            ),
            "HUNGRY_MEAL": str(meal),
            "RAY_memory_usage_threshold": str(1 - (memory.available - 2 * GIGABYTE) / memory.total),
            "RAY_memory_monitor_refresh_ms": "50",
        },
    )
    call.until(10)
    fault = Fault("out of memory")
    meal.with_name("meal-served").write_text(str(6 * GIGABYTE))
    meal.with_name("meal-served").rename(meal)
    eater = meal.with_name("meal-eaten")
    call.until_reached(lambda: eater.exists() and not psutil.pid_exists(int(eater.read_text())))
    fault.survived(call)
    assert_same(call.out, undisturbed, str(place / "library.parquet"))
