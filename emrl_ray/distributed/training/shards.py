"""The rows to train on, and the run of them that one worker holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.features.graph_store import GraphStore
from emrl_ray.features.graphs import GRAPH_COLUMNS, Graphs
from emrl_ray.io.parquet import ROW_GROUP_ROWS, ROWS_AT_ONCE, rows_within
from emrl_ray.model.labels import Labels
from emrl_ray.runs.partitions import RowPartition, iter_partition, plan_rows
from emrl_ray.training.trainer import Shard


class TrainingRows(NamedTuple):
    """Rows of a graphs table with their targets."""

    partitions: list[RowPartition]
    """The whole table."""
    rows: NDArray[np.int64]
    """(n,) their positions in the table, ascending."""
    targets: NDArray[np.float64]
    """(n,) their targets."""

    @classmethod
    def of(cls, graphs: str, labels: Labels, train: NDArray[np.int64]) -> TrainingRows:
        """Return the labels at positions `train` of a graphs table."""
        return cls(plan_rows(graphs, ROW_GROUP_ROWS), labels.rows[train], labels.targets[train])

    def share(self, rank: int, world_size: int) -> tuple[int, int]:
        """Return (first, last) of the run of worker `rank`: by rows and workers alone."""
        return len(self.rows) * rank // world_size, len(self.rows) * (rank + 1) // world_size


def read_shard(
    training: TrainingRows,
    rank: int,
    world_size: int,
    cutoff: float,
    select: Callable[[Graphs], Graphs],
    max_bytes: float,
) -> Shard:
    """Return the run of worker `rank`, its pairs up to `cutoff` (Å) as `select` leaves them.

    Graphs of more than `max_bytes` are not held in memory but read from a file (`GraphStore`).
    """
    first, last = training.share(rank, world_size)
    rows = training.rows[first:last]
    graphs = GraphStore(max_bytes)
    for partition in training.partitions:
        if not len(rows_within(rows, partition.first_row, partition.stop - partition.start)):
            continue
        for start, table in iter_partition(partition, GRAPH_COLUMNS, ROWS_AT_ONCE):
            chosen = table.take(rows_within(rows, start, table.num_rows))
            graphs.append(select(Graphs.from_table(chosen, cutoff)))
    return Shard(graphs.joined(), training.targets[first:last], first)
