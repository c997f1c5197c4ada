"""The experiments of the protocol on Ray: data sets loaded once, each training a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import ray

from emrl_ray.config import BenchmarkConfig
from emrl_ray.config.presets import PRESETS
from emrl_ray.crystals.counts import RowCounts, summary_line
from emrl_ray.crystals.schema import rejects_table
from emrl_ray.distributed.cluster import connect
from emrl_ray.distributed.log_relay import LogSink, relay_worker_logs
from emrl_ray.experiments.benchmark.datasets import LabeledCrystals, Source, read_labeled
from emrl_ray.experiments.benchmark.local_training import Device
from emrl_ray.experiments.benchmark.methods import longest_cutoff
from emrl_ray.experiments.benchmark.result_files import write_records
from emrl_ray.experiments.benchmark.runs import BenchmarkRun, run_benchmark
from emrl_ray.experiments.benchmark.transfer import TransferRun, pretrain, run_transfer
from emrl_ray.features.inference.compiled_tgnn import State
from emrl_ray.io.console import log
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import limited_threads

RETRIES = 3
"""Of a training whose worker was lost."""


class Resources(NamedTuple):
    """What one training is given."""

    cpus: int
    gpus: float

    @classmethod
    def of(cls, config: BenchmarkConfig) -> Resources:
        """Return those of a configuration."""
        return cls(config.cpus_per_worker, config.gpus_per_worker)

    def task(self, function: Any) -> Any:
        """Return the function as a Ray task with these resources."""
        return ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES)(function)

    def limited(self) -> AbstractContextManager[None]:
        """Keep compiled libraries of this process to these CPUs, within the context."""
        return limited_threads(self.cpus)

    def device(self, name: str, say: LogSink) -> Device:
        """Return where the training `name` runs, its lines said by the driver."""
        device = "cuda" if self.gpus > 0 else "cpu"
        return Device(self.cpus, device, lambda text: say(f"benchmark: {name}: {text}"))


def _load(sources: Mapping[str, Source], out: str, say: LogSink) -> dict[str, Any]:
    """Return a reference to the crystals of each data set, when all are there.

    What is rejected of a data set is written into its folder below `out`.
    """
    task = ray.remote(num_cpus=1)(_load_one)
    loaded = {name: task.remote(name, source, out, say) for name, source in sources.items()}
    ray.wait(list(loaded.values()), num_returns=len(loaded))  # or tasks would overtake one another
    return loaded


def _load_one(name: str, source: Source, out: str, say: LogSink) -> LabeledCrystals:
    preset = PRESETS[source.preset]
    crystals, rejects = read_labeled(source, preset.cutoff, longest_cutoff(preset))
    rows = len(crystals.targets)
    reasons = Counter(str(reject.reason) for reject in rejects)
    if rejects:  # with the name of the table alone: results are passed on, and places are not
        table = resolve(source.table).name
        named = rejects_table(reject._replace(source=table) for reject in rejects)
        write_parquet(named, resolve(out) / name / "rejects.parquet")
    say(summary_line(f"benchmark: {name}", RowCounts(rows + len(rejects), rows, reasons)))
    return crystals


def _run_tasks(
    tasks: Iterable[tuple[str, Callable[[], Any]]], at_once: int | None, count: int
) -> list[str]:
    """Run tasks, each a name and what submits it, and print their lines; return what failed.

    `at_once` limits how many are submitted at a time; without it Ray knows of all `count` of them, and
    a cluster that grows can grow to them.
    """
    coming = iter(tasks)
    waiting = {submit(): name for name, submit in islice(coming, at_once)}
    failed = []
    done = 0
    while waiting:
        (task,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(task)
        done += 1
        try:
            for line in ray.get(task):
                log(f"benchmark: {done}/{count} {name} {line}")
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1]
            log(f"benchmark: {done}/{count} {name} failed: {why}")
            failed.append(f"{name}: {why}")
        waiting |= {submit(): name for name, submit in islice(coming, 1)}
    return failed


def run_benchmarks(
    cells: Sequence[BenchmarkRun], sources: Mapping[str, Source], out: str, config: BenchmarkConfig
) -> list[str]:
    """Run trainings as tasks, and write their results; return what failed."""
    connect(config.address)
    resources = Resources.of(config)
    run = resources.task(_run_cell)
    needed = {cell.dataset for cell in cells}
    with relay_worker_logs() as say:
        crystals = _load({name: sources[name] for name in sources if name in needed}, out, say)
        tasks = (
            (cell.name, partial(run.remote, cell, crystals[cell.dataset], out, resources, say))
            for cell in cells
        )
        return _run_tasks(tasks, config.workers, len(cells))


def _run_cell(
    cell: BenchmarkRun, crystals: LabeledCrystals, out: str, resources: Resources, say: LogSink
) -> list[str]:
    """Write the results of a training; return a line about each."""
    with resources.limited():
        return write_records(run_benchmark(cell, crystals, resources.device(cell.name, say)), out)


def run_transfers(
    cells: Sequence[TransferRun],
    sources: Mapping[str, Source],
    out: str,
    config: BenchmarkConfig,
) -> list[str]:
    """Run trainings of transfer as tasks, and write their results; return what failed."""
    connect(config.address)
    resources = Resources.of(config)
    run = resources.task(_run_transfer_cell)
    with relay_worker_logs() as say:
        crystals = _load(sources, out, say)
        networks = _pretrained(cells, crystals, resources, say)
        tasks = (
            (
                cell.name,
                partial(
                    run.remote,
                    cell,
                    crystals[cell.dataset],
                    networks[cell.dataset, cell.seed],
                    out,
                    resources,
                    say,
                ),
            )
            for cell in cells
        )
        return _run_tasks(tasks, config.workers, len(cells))


def _pretrained(
    cells: Sequence[TransferRun],
    crystals: Mapping[str, Any],
    resources: Resources,
    say: LogSink,
) -> dict[tuple[str, int], Any]:
    """Return a reference to the network that learned the source, by data set and seed."""
    train = resources.task(_pretrain)
    return {
        (cell.dataset, cell.seed): train.remote(
            cell, crystals[cell.source], crystals[cell.dataset], resources, say
        )
        for cell in {(cell.dataset, cell.seed): cell for cell in cells}.values()
    }


def _pretrain(
    cell: TransferRun,
    source: LabeledCrystals,
    crystals: LabeledCrystals,
    resources: Resources,
    say: LogSink,
) -> State:
    with resources.limited():
        device = resources.device(f"{cell.source} for {cell.dataset} seed {cell.seed}", say)
        return pretrain(cell, source, crystals, device).state


def _run_transfer_cell(
    cell: TransferRun,
    crystals: LabeledCrystals,
    start: State,
    out: str,
    resources: Resources,
    say: LogSink,
) -> list[str]:
    """Write the results of a training; return a line about each."""
    with resources.limited():
        device = resources.device(cell.name, say)
        return write_records(run_transfer(cell, crystals, start, device), out)
