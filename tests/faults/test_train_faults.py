"""Whatever happens to a training, its model is that of an undisturbed one, byte by byte."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.commands.featurize import FeaturizeWorker
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import read_state
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import plan_rows
from tests.support.clusters import add_node, train_workers
from tests.support.crystals import random_batch
from tests.support.processes import Fault, TrainCall, contents

pytestmark = pytest.mark.timeout(900)

ROWS, CUTOFF = 160, 4.5
EPOCHS = 10
NEVER = 10**6
PREEMPTION = 2
"""DRAIN_NODE_REASON_PREEMPTION of Ray's autoscaler.proto."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with crystals, of so many atoms that an epoch takes a while, and their graphs."""
    place = tmp_path_factory.mktemp("train-faults")
    batch = random_batch(ROWS, seed=3, atoms=(30, 40), elements=12)
    heft = np.add.reduceat(batch.atomic_numbers.astype(float), batch.offsets[:-1]) / batch.n_atoms
    ids = [f"c{row}" for row in range(ROWS)]
    table = crystals_table(batch, ids, ids, {"heft": pa.array(heft)}, {})
    crystals = str(place / "crystals.parquet")
    write_parquet(table, resolve(crystals))
    (whole,) = plan_rows(crystals, ROWS)
    output = PartitionedOutput(str(place / "graphs"), str(place / "graphs" / "_rejects"))
    FeaturizeWorker(ValidationLimits(100, 10**6, CUTOFF, 0.0), output, table_fingerprint(crystals))(
        whole
    )
    return place


@pytest.fixture(scope="module")
def undisturbed(place: Path, cluster: Any) -> Path:
    """A training to which nothing happened."""
    nothing = Fault("none, a training")
    nothing.survived(TrainCall(options(place, "undisturbed", cluster.address)))
    return place / "undisturbed"


def options(place: Path, out: str, address: str, **changes: Any) -> dict[str, Any]:
    return {
        "crystals": place / "crystals.parquet",
        "graphs": place / "graphs",
        "target": "heft",
        "out": place / out,
        "cutoff": CUTOFF,
        "epochs": EPOCHS,
        "batch_size": 80,
        "width": 16,
        "heads": "linear",
        "checkpoint_every": 2,
        "min_distance": 0.0,
        "workers": 2,
        "address": address,
        **changes,
    }


def busy_node(cluster: Any) -> Any:
    """Return the node that the training runs on."""
    (node,) = (node for node in cluster.worker_nodes if train_workers(node))
    return node


def assert_same(one: Path, other: Path) -> None:
    """Check that two models have the same files, byte by byte, but for the record of their options."""
    files = [contents(folder) for folder in (one, other)]
    for each in files:
        del each["_run.json"]
    assert files[0] == files[1]
    assert not (one / "_training").exists()


def test_a_killed_training_worker_changes_nothing(place, cluster, undisturbed):
    call = TrainCall(options(place, "worker", cluster.address))
    call.until_checkpoint()
    fault = Fault("training worker killed")
    train_workers(*cluster.worker_nodes)[0].kill()
    assert "goes on after epoch" in fault.survived(call)
    assert_same(call.out, undisturbed)


def test_a_killed_driver_called_again_changes_nothing(place, cluster, undisturbed):
    chosen = options(place, "driver", cluster.address)
    call = TrainCall(chosen)
    call.until_checkpoint()
    call.kill()
    fault = Fault("training driver killed")
    assert "goes on after epoch" in fault.survived(TrainCall(chosen))
    assert_same(call.out, undisturbed)


@pytest.mark.slow
def test_a_node_that_goes_changes_nothing_where_another_takes_its_workers(
    place, cluster, undisturbed
):
    add_node(cluster)
    call = TrainCall(options(place, "node", cluster.address))
    call.until_checkpoint()
    fault = Fault("node of training removed")
    cluster.remove_node(busy_node(cluster), allow_graceful=False)
    assert "goes on after epoch" in fault.survived(call)
    assert_same(call.out, undisturbed)


@pytest.mark.slow
def test_a_node_that_is_announced_to_go_leaves_a_checkpoint(place, cluster, undisturbed):
    from ray._raylet import GcsClient

    add_node(cluster)
    call = TrainCall(
        options(place, "announced", cluster.address, checkpoint_every=NEVER),
        {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"},
    )
    call.until_reached(lambda: "train: epoch" in call.said)
    node = busy_node(cluster)
    deadline = int(1000 * (time.time() + 300))
    accepted, _ = GcsClient(address=cluster.address).drain_node(
        node.node_id, PREEMPTION, "a test", deadline
    )
    assert accepted
    call.until_checkpoint()
    fault = Fault("announced node of training removed")
    cluster.remove_node(node, allow_graceful=False)
    said = fault.survived(call)
    assert "train: a node is about to be taken away, checkpoint after epoch" in said
    assert "goes on after epoch" in said
    assert_same(call.out, undisturbed)


@pytest.mark.slow
def test_training_goes_on_with_the_workers_that_there_is_room_for(place, cluster):
    exact = {"precision": "float64"}  # sums in another order differ in the last bits alone
    whole = TrainCall(options(place, "exact", cluster.address, **exact))
    whole.wait()
    (last,) = cluster.worker_nodes
    kept, lost = add_node(cluster, cpus=1), add_node(cluster, cpus=1)
    cluster.remove_node(last)
    call = TrainCall(
        options(place, "elastic", cluster.address, min_workers=1, **exact),
        {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5"},
    )
    call.until_checkpoint()
    assert len(train_workers(kept)) == len(train_workers(lost)) == 1
    fault = Fault("one of two nodes of training removed")
    cluster.remove_node(lost, allow_graceful=False)
    said = fault.survived(call)
    assert ", 1 worker\n" in said
    state = read_state(str(whole.out))
    for name, value in read_state(str(call.out)).items():  # in another order of summation
        assert np.allclose(value, state[name], atol=1e-5), name
