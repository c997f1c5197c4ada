"""What a training tells while it goes: checkpoints, and lines of its progress."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
import torch

from emrl_ray.crystals.accounting import duration
from emrl_ray.pipelines.relay import Say
from emrl_ray.training import EpochRecord, Trainer
from emrl_ray.tuning.validation import Validator

STATE = "state.pt"
SECONDS_BETWEEN_LINES = 5.0
STEPS_BETWEEN_LOOKS = 16
"""Steps after which the workers ask together whether one of their nodes is about to be taken away."""


def place_of(trainer: Trainer) -> str:
    """Return where a training is, in words."""
    step = f", step {len(trainer.losses)}" if trainer.losses else ""
    return f"epoch {trainer.epoch}{step}"


class Checkpoints:
    """Registers checkpoints of the first worker; all workers' states are the same."""

    def __init__(
        self,
        trainer: Trainer,
        curve: list[dict[str, float]],
        every: int,
        say: Say,
        validator: Validator | None,
    ) -> None:
        """Register one `every` so many epochs; with a `validator` those have a score."""
        self.trainer, self.curve, self.every, self.say = trainer, curve, every, say
        self.validator = validator
        self.steps = 0
        self.warned = False

    def after_epoch(self, record: EpochRecord) -> None:
        """Register one where it is due: after every epoch once a node is about to be taken away."""
        due = record.epoch % self.every == 0 or record.epoch == self.trainer.options.epochs
        if due and self.validator is not None:
            self.curve[-1]["validation_mae"] = self.validator.mae(self.trainer)
        if due or self.warned:
            self._register({"epoch": record.epoch, **self.curve[-1]})

    def after_step(self) -> None:
        """Register one at the first look at which a node is about to be taken away."""
        self.steps += 1
        if self.warned or self.steps % STEPS_BETWEEN_LOOKS:
            return
        self.warned = ray.train.get_preemption_info() is not None  # the same on every worker
        if self.warned:
            self._register({"epoch": self.trainer.epoch, "step": len(self.trainer.losses)})
            if self.trainer.communicator.rank == 0:
                self.say(
                    "train: a node is about to be taken away, "
                    f"checkpoint after {place_of(self.trainer)}"
                )

    def _register(self, metrics: dict[str, Any]) -> None:
        if self.trainer.communicator.rank > 0:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            readout = self.trainer.trained(self.curve).readout
            content = {
                "trainer": self.trainer.state_dict(),
                "curve": self.curve,
                "readout": (torch.from_numpy(readout.slope), readout.intercept)
                if readout
                else None,
            }
            torch.save(content, Path(folder) / STATE)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


class Progress:
    """Prints a line such as ``train: epoch 40/300, loss 0.1312, 1.1 s an epoch, 4 min 46 s left``."""

    def __init__(self, say: Say, epochs: int, done: int) -> None:
        self.say, self.epochs, self.done = say, epochs, done
        self.began = time.monotonic()
        self.printed = 0.0

    def __call__(self, record: EpochRecord) -> None:
        """Print one, unless one was printed just now."""
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES and record.epoch < self.epochs:
            return
        self.printed = now
        pace = (now - self.began) / (record.epoch - self.done)
        self.say(
            f"train: epoch {record.epoch}/{self.epochs}, loss {record.loss:.4f}, "
            f"{record.seconds:.2f} s an epoch, "
            f"{duration(pace * (self.epochs - record.epoch))} left"
        )


def read_checkpoint(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    """Return what `Checkpoints` registered: the trainer's state, the curve, and a readout if there is one."""
    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder) / STATE, weights_only=True, map_location="cpu")
