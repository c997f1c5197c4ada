"""A worker whose slices take a set time and no CPU: what is left of a run is the cost of handing out work."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.crystals.counts import RowCounts
from emrl_ray.runs.partitioned_output import PartitionedOutput


class Wait(NamedTuple):
    """A slice that takes `seconds`."""

    name: str
    rows: int
    seconds: float


class WaitingWorker:
    """Waits, and commits a row for the slice."""

    def __init__(self, output: PartitionedOutput) -> None:
        self.output = output

    def __call__(self, partition: Wait) -> RowCounts:
        """Wait out the seconds of the slice; the commit is a part of them."""
        began = time.monotonic()
        rows = pa.table({"rows": [partition.rows]})
        self.output.commit(partition.name, rows, [], rows.num_rows)
        time.sleep(max(0.0, partition.seconds - (time.monotonic() - began)))
        return RowCounts(partition.rows, partition.rows, Counter())
