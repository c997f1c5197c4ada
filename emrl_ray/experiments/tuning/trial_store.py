"""The trials of a search, a file each: what was tried, what came of it, and how far it is.

They are what a search goes on from after a kill. A trial has its file before its training begins, and
every validation is in it as soon as the driver knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from emrl_ray.config.search_space import Value
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import list_files, read_json, resolve


class TrialState(StrEnum):
    """Where a trial is."""

    RUNNING = "running"
    FINISHED = "finished"
    """It trained for all epochs."""
    STOPPED = "stopped"
    """It was worse than others at the same epoch."""
    FAILED = "failed"
    """It could not go on; the reason is beside it."""


class Trial(NamedTuple):
    """One trial of a search."""

    number: int
    """From 0 on, in the order in which they were begun."""
    values: Mapping[str, Value]
    """What it tries, by the names of the options that are searched."""
    state: TrialState = TrialState.RUNNING
    reason: str | None = None
    """Why it failed."""
    seconds: float = 0.0
    """By the clock, from its begin to its last validation, over all calls."""
    reports: tuple[Mapping[str, float], ...] = ()
    """Its validations: epoch, loss, learning_rate, and validation_mae in the target's unit."""

    @property
    def name(self) -> str:
        """Name of its file and of its folder."""
        return trial_name(self.number)

    @property
    def epoch(self) -> int:
        """Epochs until the last validation."""
        return int(self.reports[-1]["epoch"]) if self.reports else 0

    @property
    def mae(self) -> float | None:
        """Validation MAE at the last validation, in the target's unit."""
        return self.reports[-1]["validation_mae"] if self.reports else None

    def reported(self, report: Mapping[str, float], seconds: float) -> Trial:
        """Return the trial with one more validation, `seconds` after what was known before.

        A validation that is known already is the same again, for a trial follows from its values.
        """
        if report["epoch"] <= self.epoch:
            return self
        return self._replace(reports=(*self.reports, report), seconds=self.seconds + seconds)

    def ended(self, epochs: int) -> Trial:
        """Return the trial when its training is over, of at most `epochs` epochs."""
        state = TrialState.FINISHED if self.epoch >= epochs else TrialState.STOPPED
        return self._replace(state=state)

    def failed(self, reason: str) -> Trial:
        """Return the trial that could not go on."""
        return self._replace(state=TrialState.FAILED, reason=reason)


def trial_name(number: int) -> str:
    """Return the name of a trial's file and folder."""
    return f"trial-{number:04d}"


class TrialStore:
    """The records of a search, in a folder of their own."""

    def __init__(self, folder: str) -> None:
        """Read what an earlier call left in `folder`, a path or URI."""
        self.folder = folder
        found = [_read(read_json(file)) for file in list_files(resolve(folder), ".json")]
        self.trials = {trial.number: trial for trial in found}

    def of_state(self, *states: TrialState) -> list[Trial]:
        """Return the trials of these states, in their order."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.state in states]

    @property
    def over(self) -> list[Trial]:
        """The trials that are not running, in their order."""
        return self.of_state(TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED)

    def begin(self, number: int, values: Mapping[str, Value]) -> Trial:
        """Return the trial of this number, recorded anew if there is none."""
        if number not in self.trials:
            self.write(Trial(number, dict(values)))
        return self.trials[number]

    def write(self, trial: Trial) -> None:
        """Record a trial as it is now."""
        self.trials[trial.number] = trial
        content = {**trial._asdict(), "seconds": round(trial.seconds, 3)}
        write_json(content, resolve(self.folder) / f"{trial.name}.json")


def _read(content: Mapping[str, Any]) -> Trial:
    trial = Trial(**content)
    return trial._replace(state=TrialState(trial.state), reports=tuple(trial.reports))
