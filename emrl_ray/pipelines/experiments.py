"""What the experiments of the protocol share: data sets loaded once, trainings as Ray tasks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import ray

from emrl_ray.config import BenchmarkConfig, ConfigError
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.storage import (
    Location,
    absolute,
    locate,
    read_json,
    write_json,
    write_parquet,
)
from emrl_ray.crystals.tables import rejects_table
from emrl_ray.machine import limited_threads
from emrl_ray.pipelines.relay import Say
from emrl_ray.presets import PRESETS
from emrl_ray.protocol.cells import Record
from emrl_ray.protocol.datasets import LabelledCrystals, Source, named_source, read_labelled
from emrl_ray.protocol.learning import Place
from emrl_ray.protocol.methods import longest_cutoff
from emrl_ray.terminal import print_line

DATA_VARIABLE = "EMRL_RAY_DATA"
MADE_OF_CRYSTALS = "crystals"
"""Name of the data set of `--crystals`."""
DEFAULT_PRESET = "HOIP"
"""Of `--crystals`, as in train."""
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

    def place(self, name: str, say: Say) -> Place:
        """Return where the training `name` runs, its lines said by the driver."""
        device = "cuda" if self.gpus > 0 else "cpu"
        return Place(self.cpus, device, lambda text: say(f"benchmark: {name}: {text}"))


def sources_of(config: BenchmarkConfig) -> dict[str, Source]:
    """Return the data sets of a configuration by name, that of `--transfer` with them.

    Raises ConfigError, in one line, for one that is unknown.
    """
    if config.crystals is not None:
        assert config.target is not None
        preset = config.preset or DEFAULT_PRESET
        return {MADE_OF_CRYSTALS: Source(absolute(config.crystals), config.target, preset)}
    folder = config.data
    if folder is None:
        if DATA_VARIABLE not in os.environ:
            raise ConfigError(f"--data: name the folder of the data sets, or set {DATA_VARIABLE}")
        folder = f"{os.environ[DATA_VARIABLE]}/data"
    folder = absolute(folder)
    sources = {name: named_source(name, folder) for name in config.dataset}
    if config.transfer is not None:
        sources[config.transfer] = named_source(config.transfer, folder, "--transfer")
    return sources


def load(sources: Mapping[str, Source], out: str, say: Say) -> dict[str, Any]:
    """Return a reference to the crystals of each data set, when all are there.

    What is rejected of a data set is written into its folder below `out`.
    """
    task = ray.remote(num_cpus=1)(_load)
    loaded = {name: task.remote(name, source, out, say) for name, source in sources.items()}
    ray.wait(list(loaded.values()), num_returns=len(loaded))  # or tasks would overtake one another
    return loaded


def _load(name: str, source: Source, out: str, say: Say) -> LabelledCrystals:
    preset = PRESETS[source.preset]
    crystals, rejects = read_labelled(source, preset.cutoff, longest_cutoff(preset))
    rows = len(crystals.targets)
    reasons = Counter(str(reject.reason) for reject in rejects)
    if rejects:  # with the name of the table alone: results are passed on, and places are not
        table = locate(source.table).name
        named = rejects_table(reject._replace(source=table) for reject in rejects)
        write_parquet(named, locate(out) / name / "rejects.parquet")
    say(account(f"benchmark: {name}", Counts(rows + len(rejects), rows, reasons)))
    return crystals


def write_records(records: Iterator[Record], out: str) -> list[str]:
    """Write each record as soon as it is there; return a line about each."""
    lines = []
    for name, content in records:
        write_json(content, locate(out) / "/".join(name))
        lines.append(
            f"{content['method']}: MAE {content['mae']:.4f}, R² {content['r2']:.4f}, "
            f"{content['n_train']:,} rows, {content['train_seconds']:.0f} s"
        )
    return lines


def run_tasks(
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
                print_line(f"benchmark: {done}/{count} {name} {line}")
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1]
            print_line(f"benchmark: {done}/{count} {name} failed: {why}")
            failed.append(f"{name}: {why}")
        waiting |= {submit(): name for name, submit in islice(coming, 1)}
    return failed


def has_result(place: Location, meant: Mapping[str, Any]) -> bool:
    """Return whether there is a result at `place`, made with the settings that are meant now.

    Raises ConfigError, in one line, if it was made with others or is damaged.
    """
    if not place.is_file():
        return False
    try:
        found = _settings(read_json(place))
    except ValueError:
        raise ConfigError(f"{place.path}: a damaged result; delete it to make it again") from None
    for name, value in _settings(meant).items():
        if found.get(name) != value:
            raise ConfigError(
                f"{place.path}: made with {name} {found.get(name)}, it is {value} now: "
                "use another --out"
            )
    return True


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record, each hyperparameter as one of them."""
    entries = dict(record)
    return entries | entries.pop("hyperparameters", {})
