"""What a training leaves while it runs: checkpoints, and lines of its progress."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from emrl_ray.crystals.counts import duration
from emrl_ray.experiments.tuning.validation import Validator
from emrl_ray.networks.layers.collectives import Communicator
from emrl_ray.training.trainer import EpochRecord, Readout, TrainedNetwork, Trainer

Log = Callable[[str], None]
SECONDS_BETWEEN_LINES = 5.0
STEPS_BETWEEN_LOOKS = 16
"""Steps after which the workers ask together whether one of their nodes is about to be taken away."""


class Session(Protocol):
    """What a training asks of whoever runs it: this process, or Ray Train for each worker."""

    @property
    def communicator(self) -> Communicator:
        """The workers that share each batch."""

    @property
    def device(self) -> torch.device | str:
        """Where this worker computes."""

    def latest(self) -> dict[str, Any] | None:
        """Return the content of the last checkpoint, of whichever engine; None if there is none."""

    def report(self, metrics: Mapping[str, Any], content: dict[str, Any] | None = None) -> None:
        """Register the scores of an epoch, and the content of a checkpoint if there is some."""

    def node_leaves(self) -> bool:
        """Return whether the node of a worker is about to be taken away; the same on every worker."""

    def log(self, text: str) -> None:
        """Print a line on the driver."""


def position_of(trainer: Trainer) -> str:
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
        session: Session,
        validator: Validator | None,
    ) -> None:
        """Register one `every` so many epochs; with a `validator` those have a score."""
        self.trainer, self.curve, self.every, self.session = trainer, curve, every, session
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
        self.warned = self.session.node_leaves()
        if self.warned:
            self._register({"epoch": self.trainer.epoch, "step": len(self.trainer.losses)})
            if self.trainer.communicator.rank == 0:
                self.session.log(
                    "train: a node is about to be taken away, "
                    f"checkpoint after {position_of(self.trainer)}"
                )

    def _register(self, metrics: dict[str, Any]) -> None:
        first = self.trainer.communicator.rank == 0
        self.session.report(metrics, checkpoint_of(self.trainer, self.curve) if first else None)


def checkpoint_of(trainer: Trainer, curve: list[dict[str, float]]) -> dict[str, Any]:
    """Return what a training needs to resume: its state, its curve, and a readout if it trains one."""
    readout = trainer.trained(curve).readout
    return {
        "trainer": trainer.state_dict(),
        "curve": curve,
        "readout": (torch.from_numpy(readout.slope), readout.intercept) if readout else None,
    }


def trained_network(content: dict[str, Any]) -> TrainedNetwork:
    """Return the network of a checkpoint."""
    state = {name: part.float().numpy() for name, part in content["trainer"]["network"].items()}
    readout = content["readout"]
    return TrainedNetwork(
        state, Readout(readout[0].numpy(), readout[1]) if readout else None, content["curve"]
    )


def to_bytes(content: dict[str, Any]) -> bytes:
    """Return a checkpoint as the content of a file."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def from_bytes(content: bytes) -> dict[str, Any]:
    """Return the checkpoint that a file holds, on the CPU; it may hold tensors and numbers alone."""
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def steps_done(content: dict[str, Any]) -> tuple[int, int]:
    """Return the epochs of a checkpoint, and the steps of the epoch under way."""
    return content["trainer"]["epoch"], len(content["trainer"]["losses"])


class Progress:
    """Prints a line such as ``train: epoch 40/300, loss 0.1312, 1.1 s an epoch, 4 min 46 s left``."""

    def __init__(self, log: Log, epochs: int, done: int) -> None:
        self.log, self.epochs, self.done = log, epochs, done
        self.began = time.monotonic()
        self.printed = 0.0

    def __call__(self, record: EpochRecord) -> None:
        """Print one, unless one was printed just now."""
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES and record.epoch < self.epochs:
            return
        self.printed = now
        pace = (now - self.began) / (record.epoch - self.done)
        self.log(
            f"train: epoch {record.epoch}/{self.epochs}, loss {record.loss:.4f}, "
            f"{record.seconds:.2f} s an epoch, "
            f"{duration(pace * (self.epochs - record.epoch))} left"
        )
