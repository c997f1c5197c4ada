"""Scores that a training reports as it goes, for whoever decides whether it is to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.training.trainer import Trainer


class TrialControl(NamedTuple):
    """How a network is scored at each checkpoint, by `experiments.tuning.validation.Validator`."""

    head: str
    held_out: TrainingRows
    """Rows to score on; each worker reads all of them."""
    reported: int
    """Epoch up to which the scores are known; a training that goes on reports later ones again."""
    unwanted: Callable[[], bool]
    """Whether the training is to end, asked after each epoch."""

    def check(self, trainer: Trainer) -> None:
        """Raise Unwanted, on all workers or on none, if one of them hears that the training is to end."""
        if trainer.gathered(np.array([self.unwanted()], np.int64)).any():
            raise TrialStopped


class TrialStopped(Exception):  # noqa: N818
    """The training was told to end before its last epoch; it is no error."""
