"""Partitions on Ray: the units of work of a long command, each computed whole or not at all.

A partition is a run of rows of one row group, or a run of files. It has a name that depends on the
input alone. Its worker writes its rejects, then its rows, each under another name and moved in
place; the rows come last and are the mark that the partition is done. A job that was killed and is
called again lists the marks and computes what is missing, so nothing is held in memory and nothing
is done twice.
"""

from __future__ import annotations

import json
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import ray
import ray.data

from emrl_ray.config.errors import one_line
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.io.runtime import peak_memory
from emrl_ray.runs.local_runner import (
    Observe,
    PartitionReport,
    PartitionWorker,
    Progress,
    complete,
    storage_error,
)
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput

ATTEMPTS = 4
"""Workers that may die on a partition before the others are done first."""


class _Apply:
    """Ray Data's view of a `PartitionWorker`: a batch of one partition in, its report out.

    The worker is made at the first partition, so that what goes wrong with that is reported too.
    """

    def __init__(self, build: Callable[..., PartitionWorker], arguments: Sequence[Any]) -> None:
        self.build = partial(build, *arguments)
        self.worker: PartitionWorker | None = None
        self.name = f"{ray.get_runtime_context().get_node_id()[:8]}/{os.getpid()}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        (partition,) = (ray.cloudpickle.loads(item) for item in batch["partition"])
        try:
            return _reported(report=json.dumps(self._report(partition)))
        except OSError as error:
            return _reported(storage=f"{partition.name}: {one_line(error)}")
        except Exception:
            return _reported(bug=f"{partition.name} failed\n{traceback.format_exc()}")

    def _report(self, partition: Any) -> tuple[Any, ...]:
        if self.worker is None:
            self.worker = self.build()
        began = time.monotonic()
        counts = self.worker(partition)
        return partition.name, counts._asdict(), time.monotonic() - began, self.name, peak_memory()


def _reported(report: str = "", storage: str = "", bug: str = "") -> dict[str, list[str]]:
    """Return the row that tells the driver what came of a partition: one of the three."""
    return {"report": [report], "storage": [storage], "bug": [bug]}


def _parse_report(text: str) -> PartitionReport:
    name, counts, *rest = json.loads(text)
    return PartitionReport(name, RowCounts.of(counts), *rest)


def run_partitions_on_ray(
    partitions: Iterable[Named],
    output: PartitionedOutput,
    build: Callable[..., PartitionWorker],
    arguments: Sequence[Any] = (),
    *,
    workers: int | None = None,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    progress: Progress | None = None,
    observe: Observe | None = None,
) -> RowCounts:
    """Compute the partitions that `output` does not hold yet, on Ray, and return the counts of all.

    `build(*arguments)` makes the `PartitionWorker` once in each worker process. `workers` limits how
    many there are (default: as many as the cluster has CPUs for, growing with the cluster). Raises
    what `_reports` and `local_runner.complete` do.
    """
    places = _Places(workers, cpus_per_worker, gpus_per_worker)
    one_pass = partial(_reports_of_pass, build, arguments, places)
    return complete(partitions, output, partial(_reports, one_pass), progress, observe)


class _Places(NamedTuple):
    """Where partitions are computed."""

    workers: int | None
    """Most of them; None for as many as the cluster has room for."""
    cpus: float
    """Of a worker."""
    gpus: float


def _reports(
    one_pass: Callable[[Sequence[Named]], Iterator[PartitionReport]], partitions: Sequence[Named]
) -> Iterator[PartitionReport]:
    """Yield the report of each piece as it is done, in any order.

    `one_pass` computes pieces and leaves out those on which workers died. Raises OSError, in one line,
    if a worker cannot read or write, after tries of its own, and RuntimeError if a worker raises
    anything else, both at once. A piece on which one worker after
    another dies, or whose worker's node goes, does not keep the others from being done; it is tried
    anew after them, and once nothing more can be done it is named in a RuntimeError.
    """
    unfinished = {partition.name: partition for partition in partitions}
    while unfinished:
        before = len(unfinished)
        for report in one_pass(list(unfinished.values())):
            del unfinished[report.name]
            yield report
        if len(unfinished) == before:
            raise RuntimeError(
                f"{', '.join(sorted(unfinished))}: a worker died {ATTEMPTS} times on it, and as often "
                "again after all other partitions were done, for want of memory or in compiled code"
            )


def _reports_of_pass(
    build: Callable[..., PartitionWorker],
    arguments: Sequence[Any],
    places: _Places,
    partitions: Sequence[Named],
) -> Iterator[PartitionReport]:
    """Yield the report of each piece that is done; those on which workers died are left out."""
    pool = (
        ray.data.ActorPoolStrategy(size=min(places.workers, len(partitions)))
        if places.workers
        else ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=_free_slots(len(partitions), places.cpus),  # Ray adds one by one
            max_size=len(partitions),
        )
    )
    items = ray.data.from_items(
        [{"partition": ray.cloudpickle.dumps(partition)} for partition in partitions],
        override_num_blocks=len(partitions),
    )
    with warnings.catch_warnings():  # Ray 2.60 has no other way to say `max_task_retries`
        warnings.simplefilter("ignore", DeprecationWarning)
        dataset = items.map_batches(
            _Apply,
            fn_constructor_args=(build, arguments),
            batch_size=1,
            compute=pool,
            num_cpus=places.cpus,
            num_gpus=places.gpus or None,
            max_task_retries=ATTEMPTS - 1,
        )
    dataset.context.enable_progress_bars = False
    dataset.context.max_errored_blocks = -1  # an exception of ours comes as a row: these are deaths
    for row in dataset.iter_rows():
        if row["storage"]:
            raise storage_error(row["storage"])
        if row["bug"]:
            raise RuntimeError(row["bug"])
        yield _parse_report(row["report"])


def _free_slots(most: int, cpus_per_worker: float) -> int:
    """Return how many workers the cluster has free CPUs for now, at least 1 and at most `most`."""
    free = int(ray.available_resources().get("CPU", 0.0) // cpus_per_worker)
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    fitting = sum(int(cpus // cpus_per_worker) for cpus in nodes)
    return max(1, min(most, free, fitting))
