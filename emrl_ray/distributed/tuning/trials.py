"""The trials of a search on Ray Tune: each a Ray Train job, suggested by Optuna, stopped by ASHA.

Tune keeps nothing that a later call needs. Its own state of an experiment is written every 10 s, in
place, and then copied, so a killed driver may leave an old one or half of one; the records of the
trials (`experiments.tuning.trial_store`) are passed to sampler and scheduler anew, as if they had seen it all.

Tune never ends a training: it would kill the trial, and Ray Train, without a dashboard, would not give the
CPUs of a killed training back. A trial that ASHA gives up is told so, and ends by itself.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Set
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.integration.ray_train import TuneReportCallback

from emrl_ray.config import TuneConfig
from emrl_ray.distributed.training.early_stop import TrialControl
from emrl_ray.distributed.training.network import train_on_rows
from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.distributed.tuning.resumable_search import (
    EPOCH,
    METRIC,
    ResumableSearch,
    resumable_scheduler,
)
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState, TrialStore, trial_name
from emrl_ray.io.console import log
from emrl_ray.io.paths import absolute_uri, remove, resolve

FAILED = "failed"
"""Key of the reason in what a trial that failed reports."""
REPORTED = (EPOCH, "loss", "learning_rate", METRIC)
WAITING = {"memory": 1.0}
"""What a trial itself takes, as it only waits for its training: a byte, for Tune wants it to take something.

A share of a CPU would be missing where the trainings of all trials take all CPUs, and they would wait for ever.
"""
ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the search; it goes on when called again
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the records hold what Tune's loggers would
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # one that was told to end may have nothing to report
    "RAY_AIR_NEW_OUTPUT": "0",  # silence, where the newer form prints a table all the same
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class TrialPlan(NamedTuple):
    """What all trials share."""

    config: TuneConfig
    learned: TrainingRows
    held_out: TrainingRows
    work: str
    """Folder for the checkpoints of the trials that run."""
    stops: Any
    """Handle of `_Stops`."""


class _Stops:
    """Which trials are to end; an actor that the trainings ask."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def add(self, number: int) -> None:
        """Note that a trial is to end."""
        self.numbers.add(number)

    def has(self, number: int) -> bool:
        """Return whether a trial is to end."""
        return number in self.numbers


class _Unwanted:
    """Asks whether one trial is to end; it may be passed to any worker."""

    def __init__(self, stops: Any, number: int) -> None:
        self.stops, self.number = stops, number

    def __call__(self) -> bool:
        return ray.get(self.stops.has.remote(self.number))


def run_trials(
    config: TuneConfig,
    learned: TrainingRows,
    held_out: TrainingRows,
    work: str,
    records: TrialStore,
    at_once: int,
) -> None:
    """Run the trials that are not over, at most `at_once` at a time, and record what comes of them.

    They learn from the rows `learned` and are scored on `held_out`. Checkpoints of the trials go below `work`.
    """
    import optuna

    os.environ.update(ENVIRONMENT)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # our lines show where it is
    missing, storage = config.trials - len(records.over), f"{absolute_uri(work)}/tune"
    stops: Any = ray.remote(num_cpus=0)(_Stops).remote()
    plan = TrialPlan(config, learned, held_out, work, stops)
    scheduler = resumable_scheduler(config, records, stops.add.remote)
    remove(resolve(storage))
    trainable = tune.with_resources(
        tune.with_parameters(_run_trial, plan=plan), tune.PlacementGroupFactory([WAITING])
    )
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=ResumableSearch(config, records),
            scheduler=scheduler,
            num_samples=missing,
            max_concurrent_trials=at_once,
            trial_dirname_creator=_folder_of,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=storage,
            verbose=0,
            callbacks=[_Recorder(config, records, scheduler.stopped)],
            failure_config=tune.FailureConfig(max_failures=config.max_failures),
        ),
    ).fit()


def _run_trial(suggested: dict[str, Any], plan: TrialPlan) -> None:
    """Train with the suggested values; whatever goes wrong is reported, and the other trials go on."""
    config, number = plan.config, suggested["number"]
    work = f"{plan.work}/{trial_name(number)}"
    try:
        train_on_rows(
            config.training(suggested["values"], out=work),
            plan.learned,
            work,
            _say_nothing,
            TrialControl(
                config.head,
                plan.held_out,
                suggested["reported"],
                _Unwanted(plan.stops, number),
            ),
            [TuneReportCallback()],
        )
    except Exception as error:
        tune.report({EPOCH: config.epochs, METRIC: math.inf, FAILED: _reason(error)})


def _reason(error: Exception | None) -> str:
    """Return the last line of an error, which is where Ray puts what a worker said."""
    lines = str(error or "its process was lost").strip().splitlines()
    return " ".join(lines[-1].split()) if lines else repr(error)


def _say_nothing(text: str) -> None:
    """Lines of a training are many; a search says one a validation."""


def _folder_of(trial: TuneTrial) -> str:
    return trial_name(trial.config["number"])


class _Recorder(tune.Callback):
    """Writes what trials report into their records, and a line about each validation."""

    def __init__(self, config: TuneConfig, records: TrialStore, stopped: Set[int]) -> None:
        self.epochs, self.total = config.epochs, config.trials
        self.records, self.stopped = records, stopped

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict, **_: Any
    ) -> None:
        known = self._known(trial)
        if known.state != TrialState.RUNNING or METRIC not in result:
            return  # it was told to end and has not heard it yet, or it ended without another score
        if FAILED in result:
            self._end(known.failed(result[FAILED]))
            return
        report = {name: result[name] for name in REPORTED}
        now = known.reported(report, result["time_this_iter_s"])
        log(f"tune: {_described(now)}: epoch {now.epoch}, validation MAE {now.mae:.4f}")
        if now.number in self.stopped or now.epoch >= self.epochs:
            self._end(now.ended(self.epochs))
        else:
            self.records.write(now)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any
    ) -> None:
        known = self._known(trial)
        if known.state == TrialState.RUNNING:
            self._end(known.ended(self.epochs))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any
    ) -> None:
        known = self._known(trial)
        if known.state == TrialState.RUNNING:
            self._end(known.failed(_reason(trial.get_error())))

    def _known(self, trial: TuneTrial) -> Trial:
        return self.records.trials[trial.config["number"]]

    def _end(self, trial: Trial) -> None:
        self.records.write(trial)
        why = f", {trial.reason}" if trial.reason else f" after epoch {trial.epoch}"
        done = len(self.records.over)
        log(f"tune: {done}/{self.total} trials over: {_described(trial)} {trial.state}{why}")


def _described(trial: Trial) -> str:
    values = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.values.items()
    )
    return f"trial {trial.number} ({values})"
