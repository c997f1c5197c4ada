"""The training rows of a worker: which they are, and where their graphs lie."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.config import TrainConfig
from emrl_ray.distributed.training.shards import TrainingRows, read_shard
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.graph_store import GraphStore
from emrl_ray.features.graphs import Graphs
from emrl_ray.io.runtime import give_back_freed_memory
from emrl_ray.model.labels import Labels
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.training.trainer import Trainer, make_network
from tests.support.crystals import random_batch

CUTOFF = 5.0
FILES, ROWS = 3, 50
IN_MEMORY, IN_A_FILE = np.inf, 0
GRAPHS_BYTES = 160 << 20


def write_graphs(folder: Path, files: int = FILES, atoms: tuple[int, int] = (2, 8)) -> Graphs:
    """Write a graphs table of `files` files, and return the graphs of one of them."""
    folder.mkdir()
    batch = Graphs.from_crystals(random_batch(ROWS, 5, atoms), CUTOFF)
    for number in range(files):
        ids = pa.table({"id": [f"{number}-{row}" for row in range(ROWS)]})
        table = batch.to_table(CUTOFF, ids)
        pq.write_table(table, folder / f"{number:04d}.parquet", row_group_size=20)
    return batch


def every_row(folder: Path, rows: np.ndarray) -> TrainingRows:
    """Return training rows with random targets."""
    none = pa.nulls(len(rows), pa.string())
    targets = np.random.default_rng(6).random(len(rows))
    return TrainingRows.of(
        str(folder), Labels(rows, none, none, targets, None, None), np.arange(len(rows))
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> TrainingRows:
    """Two thirds of the rows of a graphs table."""
    folder = tmp_path_factory.mktemp("shards") / "graphs"
    write_graphs(folder)
    chosen = np.random.default_rng(7).permutation(FILES * ROWS)[: 2 * ROWS]
    return every_row(folder, np.sort(chosen))


def trainer_on(
    rows: TrainingRows, max_bytes: float, rank: int = 0, world_size: int = 1, **options
) -> Trainer:
    settings = {"epochs": 3, "batch_size": 32, "width": 8, **options}
    config = TrainConfig(crystals="", target="y", out="", **settings)
    network = make_network(config, default_csv(), 0)
    shard = read_shard(rows, rank, world_size, config.cutoff, network.select, max_bytes)
    return Trainer(network, shard, config, SingleProcess())


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("max_bytes", [IN_MEMORY, 1 << 14, IN_A_FILE])
def test_the_shards_of_all_workers_are_the_training_rows_in_order(rows, workers, max_bytes):
    shards = [
        read_shard(rows, rank, workers, CUTOFF, lambda g: g, max_bytes) for rank in range(workers)
    ]
    direct = Graphs.from_crystals(random_batch(ROWS, seed=5), CUTOFF).take(rows.rows % ROWS)
    joiner = GraphStore(IN_MEMORY)
    for shard in shards:
        joiner.append(shard.graphs)
    for found, expected in zip(joiner.joined().arrays, direct.arrays, strict=True):
        assert np.array_equal(found, expected.astype(found.dtype))
    assert np.array_equal(np.concatenate([shard.targets for shard in shards]), rows.targets)
    assert [shard.start for shard in shards] == [
        rows.share(rank, workers)[0] for rank in range(workers)
    ]


def test_a_worker_may_have_no_rows(rows):
    few = TrainingRows(rows.partitions, rows.rows[:2], rows.targets[:2])
    for max_bytes in (IN_MEMORY, IN_A_FILE):
        shards = [read_shard(few, rank, 3, CUTOFF, lambda g: g, max_bytes) for rank in range(3)]
        assert [shard.graphs.n_crystals for shard in shards] == [0, 1, 1]


@pytest.mark.parametrize("network", ["tgnn", "cgcnn"])
def test_graphs_in_a_file_teach_what_graphs_in_memory_teach(rows, network):
    options = {"network": network, "loss": "l1"}
    states = []
    for max_bytes in (IN_MEMORY, IN_A_FILE):
        trainer = trainer_on(rows, max_bytes, **options)
        trainer.run(lambda _: None)
        states.append(trainer.trained([]).state)
    for name, value in states[0].items():
        assert np.array_equal(states[1][name], value), name


def private_memory() -> int:
    """Return the resident memory of this process that belongs to no file, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["RssAnon"].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_graphs_in_a_file_take_no_memory_of_their_own(tmp_path):
    batch = write_graphs(tmp_path / "graphs", files=1, atoms=(50, 60))
    files = GRAPHS_BYTES // sum(array.nbytes for array in batch.arrays)
    for number in range(1, files):
        (tmp_path / "graphs" / f"{number:04d}.parquet").symlink_to("0000.parquet")
    rows = every_row(tmp_path / "graphs", np.arange(files * ROWS))
    taken = []
    for max_bytes in (IN_A_FILE, IN_MEMORY):
        before = private_memory()
        trainer = trainer_on(rows, max_bytes)
        give_back_freed_memory()
        for batch_rows, _ in trainer._batches():
            trainer.shard.graphs.take(batch_rows)
        taken.append(private_memory() - before)
        del trainer
    assert taken[0] < GRAPHS_BYTES / 4
    assert GRAPHS_BYTES / 2 < taken[1] < 1.5 * GRAPHS_BYTES
