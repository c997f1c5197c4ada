"""Partitions that do not depend on each other, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from emrl_ray.crystals.counts import RowCounts
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput
from emrl_ray.sources.databases.base import Progress
from emrl_ray.sources.databases.retry import RetryPolicy

P = TypeVar("P", bound=Named)


def fetch_in_parallel(
    partitions: Sequence[P],
    output: PartitionedOutput,
    fetch: Callable[[P], RowCounts],
    threads: int,
    asker: RetryPolicy,
    progress: Progress,
) -> None:
    """Call `fetch`, which commits a partition, for those that `output` does not hold yet.

    If one fails, those that are on their way are still committed, none is begun any more, and the
    failure is raised.
    """
    missing, total = output.pending(partitions)
    finished = len(partitions) - len(missing)
    progress(finished, len(partitions), total)

    def unless_one_failed(partition: P) -> RowCounts | None:
        if asker.given_up:
            return None
        try:
            return fetch(partition)
        except BaseException:
            asker.give_up()
            raise

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(unless_one_failed, partition) for partition in missing]
        try:
            for future in as_completed(futures):
                if (counts := future.result()) is not None:
                    total += counts
                    finished += 1
                    progress(finished, len(partitions), total)
        except BaseException:  # the user's wish to end it, too
            asker.give_up()
            raise
