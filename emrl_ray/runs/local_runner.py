"""Compute the partitions of a long job in this process, one after another, without Ray.

The worker of a partition is the same as on a cluster, and so are its files. What both ways share is here:
which partitions are missing, the count of their rows, and what is reported of each.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar

from emrl_ray.config.errors import StorageError, one_line
from emrl_ray.crystals.counts import RowCounts, balance
from emrl_ray.io.runtime import peak_memory
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput


class PartitionReport(NamedTuple):
    """What the computation of one partition took."""

    name: str
    counts: RowCounts
    seconds: float
    worker: str
    """Name of the process that computed it: node and process id."""
    peak_memory: int
    """Largest resident memory of that process so far, bytes."""


class PartitionWorker(Protocol):
    """A callable made once in each worker process; it computes and commits one partition.

    A worker that is a context manager is entered before its first partition and left after its last one.
    """

    def __call__(self, partition: Any) -> RowCounts:
        """Compute `partition`, commit it, and return what became of its rows."""


P = TypeVar("P", bound=Named)
Progress = Callable[[int, int, RowCounts], None]
"""Called with partitions done, partitions in all and the counts so far: at the start and after each partition."""
Observe = Callable[[PartitionReport], None]
"""Called with the report of each partition that is computed now."""


def complete(
    partitions: Iterable[P],
    output: PartitionedOutput,
    reports: Callable[[Sequence[P]], Iterator[PartitionReport]],
    progress: Progress | None = None,
    observe: Observe | None = None,
) -> RowCounts:
    """Compute the partitions that `output` does not hold yet, and return the counts of all.

    `reports` computes and commits partitions and yields a report of each, in any order. Raises what it
    raises, and RuntimeError if a row is not accounted for.
    """
    planned = list(partitions)
    missing, total = output.pending(planned)
    finished = len(planned) - len(missing)
    if progress:
        progress(finished, len(planned), total)
    for report in reports(missing):
        total += report.counts
        finished += 1
        if observe:
            observe(report)
        if progress:
            progress(finished, len(planned), total)
    if not total.balanced:
        raise RuntimeError(f"rows were lost: {balance(total)}")
    return total


def run_locally(
    build: Callable[..., PartitionWorker], arguments: Sequence[Any], partitions: Sequence[Named]
) -> Iterator[PartitionReport]:
    """Compute partitions in this process with the worker `build(*arguments)`; yield a report of each.

    Raises OSError, in one line that names the partition, if storage fails.
    """
    name = f"{platform.node()}/{os.getpid()}"
    with ExitStack() as stack:
        worker: PartitionWorker | None = None
        for partition in partitions:
            began = time.monotonic()
            try:
                if worker is None:
                    worker = build(*arguments)
                    if isinstance(worker, AbstractContextManager):
                        stack.enter_context(worker)
                    began = time.monotonic()
                counts = worker(partition)
            except OSError as error:
                raise storage_error(f"{partition.name}: {one_line(error)}") from error
            yield PartitionReport(
                partition.name, counts, time.monotonic() - began, name, peak_memory()
            )


def storage_error(message: str) -> StorageError:
    """Return the error of a worker that could not read or write, with what that costs."""
    return StorageError(f"{message}; what is done stays, and the same call goes on from there")
