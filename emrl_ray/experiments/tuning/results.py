"""What came of a search: the table of its trials, the best of them, and its options for `train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import pyarrow as pa
import yaml

from emrl_ray.config import NetworkConfig, OptimizationConfig, TrainConfig, TuneConfig
from emrl_ray.config.base import CrystalLimits
from emrl_ray.config.search_space import SearchDomain
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState

EXTRA = ("test", "calibration", "split", "gpu")
"""Options of `train`, beside those of network, optimization and limits, that the best configuration holds."""
TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string()}


class Search(NamedTuple):
    """A search whose trials are over."""

    config: TuneConfig
    trials: tuple[Trial, ...]
    importances: Mapping[str, float]
    """As of `optuna_terms.importances`."""
    unit: str | None
    """Of the target."""
    rows: Mapping[str, int]
    """How many there are of each part."""

    @property
    def best(self) -> Trial | None:
        """The trial to train with."""
        return best_trial(self.trials)

    @property
    def first_failure(self) -> str | None:
        """Why the first of the trials that failed did."""
        return next((trial.reason for trial in self.trials if trial.reason), None)


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the least validation error, of those that trained to the end.

    If none did, of those that were stopped; None if all failed.
    """
    for state in (TrialState.FINISHED, TrialState.STOPPED):
        found = [(trial.mae, trial.number, trial) for trial in trials if trial.state == state]
        scored = [entry for entry in found if entry[0] is not None]
        if scored:
            return min(scored, key=lambda entry: entry[:2])[2]
    return None


def trials_table(
    trials: Sequence[Trial], space: Mapping[str, SearchDomain], unit: str | None
) -> pa.Table:
    """Return a row a trial: number, state, epochs, validation_mae, what it tried, seconds, reason."""
    marked = {"unit": unit} if unit else None
    columns: list[tuple[pa.Field, list[Any]]] = [
        (pa.field("trial", pa.int64()), [trial.number for trial in trials]),
        (pa.field("state", pa.string()), [str(trial.state) for trial in trials]),
        (pa.field("epochs", pa.int64()), [trial.epoch for trial in trials]),
        (
            pa.field("validation_mae", pa.float64(), metadata=marked),
            [trial.mae for trial in trials],
        ),
    ]
    for name, domain in space.items():
        kind = TYPES[type(domain.extremes[0])]
        columns.append((pa.field(name, kind), [trial.values[name] for trial in trials]))
    columns += [
        (pa.field("seconds", pa.float64()), [round(trial.seconds, 1) for trial in trials]),
        (pa.field("reason", pa.string()), [trial.reason for trial in trials]),
    ]
    schema = pa.schema([entry for entry, _ in columns])
    return pa.table({entry.name: values for entry, values in columns}, schema=schema)


def best_options(config: TuneConfig, trial: Trial, graphs: str) -> dict[str, Any]:
    """Return the options of `train`, without --out, that a trial had.

    `graphs` is the search's own table, with whose rows the split is the one that the trials were kept to.
    """
    training = config.training(dict(trial.values), graphs=graphs)
    kinds = (NetworkConfig, OptimizationConfig, CrystalLimits)
    names = ["crystals", "target", "graphs"]
    names += [entry.name for kind in kinds for entry in fields(kind)]
    named: dict[str, Any] = {name: getattr(training, name) for name in (*names, *EXTRA)}
    defaults = {entry.name: entry.default for entry in fields(TrainConfig)}
    optional = ("batch_pairs", "gpu")
    return {
        name: value
        for name, value in named.items()
        if name not in optional or value != defaults[name]
    }


def best_yaml(config: TuneConfig, trial: Trial, graphs: str, unit: str | None) -> str:
    """Return the file that `train --config` takes."""
    error = f"{trial.mae:.5g}{f' {unit}' if unit else ''}"
    return (
        f"# Trial {trial.number} of {config.out}: validation MAE {error}, {config.head} head, "
        f"{trial.epoch} epochs.\n"
        f"# emrl-ray train --config best.yaml --out MODEL\n"
        "# With this seed the rows of --test and --calibration are those that no trial saw.\n"
        + yaml.safe_dump(best_options(config, trial, graphs), sort_keys=False)
    )
