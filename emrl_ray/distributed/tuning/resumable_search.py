"""Sampler and scheduler of a search that goes on: they are told what was recorded before this call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from emrl_ray.config import TuneConfig
from emrl_ray.experiments.tuning.optuna_study import distributions, sampler_seed, trial_error
from emrl_ray.experiments.tuning.trial_store import TrialState, TrialStore

METRIC, EPOCH = "validation_mae", "epoch"
"""Keys of a report that trials are judged by."""


class ResumableSearch(Searcher):
    """Optuna's sampler, which is told of the recorded trials; those that were running come first."""

    def __init__(self, config: TuneConfig, records: TrialStore) -> None:
        super().__init__(metric=METRIC, mode="min")
        self.records = records
        running = records.of_state(TrialState.RUNNING)
        begin_with: list[dict[str, Any]] = [dict(trial.values) for trial in running]
        preset = config.preset_values()
        if preset is not None and not records.trials:
            begin_with.append(preset)
        self.numbers: Iterator[int] = iter(
            [*(trial.number for trial in running), *range(_first_new(records), config.trials)]
        )
        self.sampler = OptunaSearch(
            space=distributions(config.space),
            metric=METRIC,
            mode="min",
            points_to_evaluate=begin_with,
            seed=sampler_seed(config.seed, len(records.trials)),
        )
        for trial in records.over:
            self.sampler.add_evaluated_point(dict(trial.values), trial_error(trial))

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return number, values and last known epoch of the next trial, and record that it begins."""
        values = self.sampler.suggest(trial_id)
        assert values is not None
        trial = self.records.begin(next(self.numbers), values)
        return {"number": trial.number, "reported": trial.epoch, "values": values}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the sampler of a score."""
        if METRIC in result:
            self.sampler.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the sampler that a trial is over."""
        self.sampler.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the records are the state."""


def _first_new(records: TrialStore) -> int:
    return max(records.trials, default=-1) + 1


class ResumableASHA(ASHAScheduler):
    """ASHA, told of what a trial had reported before this call; it tells a trial to end and lets it."""

    def __init__(
        self, reports: Mapping[int, Any], tell: Callable[[int], object], **options: Any
    ) -> None:
        super().__init__(time_attr=EPOCH, metric=METRIC, mode="min", **options)
        self.reports, self.tell = reports, tell
        self.stopped: set[int] = set()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Note a trial, and what it reported before; it went on then, so that is no reason to end it now."""
        super().on_trial_add(tune_controller, trial)
        for report in self.reports.get(trial.config["number"], ()):
            super().on_trial_result(tune_controller, trial, dict(report))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge a trial, tell it to end if it is among the worse, and let it go on until it does."""
        number = trial.config["number"]
        action = super().on_trial_result(tune_controller, trial, result)
        if action == self.STOP and result[EPOCH] < self._max_t and number not in self.stopped:
            self.stopped.add(number)
            self.tell(number)
        return self.CONTINUE


def resumable_scheduler(
    config: TuneConfig, records: TrialStore, tell: Callable[[int], object]
) -> ResumableASHA:
    """Return ASHA as it was when the last call ended; it calls `tell` with the number of a trial to end."""
    scheduler = ResumableASHA(
        {number: trial.reports for number, trial in records.trials.items()},
        tell,
        max_t=config.epochs,
        grace_period=config.grace,
        reduction_factor=config.reduction,
    )
    for trial in records.over:
        known = SimpleNamespace(trial_id=trial.name, config={"number": trial.number})
        scheduler.on_trial_add(None, known)  # type: ignore[arg-type]
    return scheduler
