"""Where the work of a command runs: in this process, or on Ray.

Ray takes 5 to 60 s to start, so small work does without it. Both engines call the same function of a
partition and of an epoch, and leave the same files; a run directory resumes under either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

from emrl_ray.config import TrainConfig
from emrl_ray.config.base import EngineOptions, option_text
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.distributed.cluster import connect, in_job
from emrl_ray.io.console import log
from emrl_ray.runs.local_runner import Observe, PartitionWorker, Progress, complete, run_locally
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput

MAX_LOCAL_ROWS = 5_000
"""Rows, or files, up to which `auto` works in this process."""

Engine = Literal["local", "ray"]


Placement = EngineOptions | TrainConfig
"""The options of a command that say where it runs."""


def choose_engine(command: str, options: Placement, size: int, unit: str = "rows") -> Engine:
    """Return the engine of a command with `size` rows or files to process; log the choice of `auto`."""
    if options.engine != "auto":
        return options.engine
    reason = _needs_ray(options, size, unit)
    if reason is not None:
        log(f"{command}: engine ray ({reason})")
        return "ray"
    log(f"{command}: engine local ({size:,} {unit}; --engine ray starts Ray)")
    return "local"


def _needs_ray(options: Placement, size: int, unit: str) -> str | None:
    """Return why work goes to Ray, in a few words; None if it need not."""
    if in_job():
        return "submitted job"
    for name in ("address", "min_workers", "gpu"):
        if (value := getattr(options, name, None)) not in (None, False):
            return option_text(name, value)
    if (options.workers or 1) > 1:
        return option_text("workers", options.workers)
    if size > MAX_LOCAL_ROWS:
        return f"{size:,} {unit}, more than {MAX_LOCAL_ROWS:,}"
    return None


def start(engine: Engine, address: str | None) -> None:
    """Join or start a cluster, if the engine is Ray."""
    if engine == "ray":
        connect(address)


def run_partitions(
    engine: Engine,
    options: Placement,
    partitions: Iterable[Named],
    output: PartitionedOutput,
    build: Callable[..., PartitionWorker],
    arguments: Sequence[Any] = (),
    *,
    progress: Progress | None = None,
    observe: Observe | None = None,
) -> RowCounts:
    """Compute the partitions that `output` does not hold yet, and return the counts of all.

    `build(*arguments)` makes the worker: once in this process, or once in each of Ray's workers.
    Raises OSError, in one line, if storage fails, and RuntimeError if a row is not accounted for.
    """
    if engine == "local":
        reports = partial(run_locally, build, arguments)
        return complete(partitions, output, reports, progress, observe)
    from emrl_ray.distributed.partition_runner import run_partitions_on_ray

    connect(options.address)
    return run_partitions_on_ray(
        partitions,
        output,
        build,
        arguments,
        workers=options.workers,
        cpus_per_worker=options.cpus_per_worker,
        progress=progress,
        observe=observe,
    )
