"""Transfer: does a network that learned another set or property help where labels are few?

At each share of the training rows three starts are compared: from scratch; frozen, where a network
trained on the source only gives embeddings to the head; and tuned, where training goes on from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config import NetworkConfig, TrainConfig
from emrl_ray.config.presets import PRESETS
from emrl_ray.experiments.benchmark.datasets import (
    DATASETS,
    LabeledCrystals,
    at_cutoff,
    without_ids,
)
from emrl_ray.experiments.benchmark.local_training import Device, Stopwatch, opened, train_on
from emrl_ray.experiments.benchmark.runs import TEST, Learned, Record, options_of, scored
from emrl_ray.features.inference.compiled_tgnn import State
from emrl_ray.model.heads import HEADS
from emrl_ray.training.evaluation import split_rows
from emrl_ray.training.trainer import TrainedNetwork

SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the training rows; a smaller share lies in each larger one."""
SCRATCH, FROZEN, TUNED = STARTS = ("scratch", "frozen", "tuned")
HEADS_COMPARED = ("linear", "boosted")


class TransferRun(NamedTuple):
    """A start on a share of the training rows of a split."""

    source: str
    """Data set that the network learns first."""
    source_epochs: int
    dataset: str
    preset: str
    target: str
    start: str
    """One of `STARTS`."""
    share: float
    seed: int
    epochs: int
    """On all training rows; on a share, so many more that the steps are as many."""
    data: str
    """Fingerprint of the data set's table."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.source}-to-{self.dataset} {self.start} {self.share:.0%} seed {self.seed}"

    def config(self) -> TrainConfig:
        """Return the options of training; the peak of a tuned network's rate is the preset's rate."""
        rate = PRESETS[self.preset].learning_rate if self.start == TUNED else None
        epochs = round(self.epochs / self.share)
        return _emrl(self.dataset, self.preset, self.target, epochs, self.seed, rate)

    def meant(self) -> dict[str, Any]:
        """Return what a result of this cell was made with, as its record says it."""
        return {
            "target": self.target,
            "data": self.data,
            "source_epochs": self.source_epochs,
            "hyperparameters": self.options(),
        }

    def options(self) -> dict[str, Any]:
        """Return the options of what is trained here, for a record: none of training where frozen."""
        kinds = (NetworkConfig,) if self.start == FROZEN else ()
        return options_of(self.config(), *kinds)

    def source_config(self, target: str) -> TrainConfig:
        """Return the options of training on the source: its preset's, but with this cell's cutoff.

        Cutoff and distance basis are part of the network, so that it keeps them where it goes.
        """
        preset = DATASETS[self.source].preset
        config = _emrl(self.source, preset, target, self.source_epochs, self.seed)
        return replace(config, cutoff=PRESETS[self.preset].cutoff)

    def result_name(self, head: str) -> tuple[str, ...]:
        """Return folders and file of a result."""
        file = f"{round(100 * self.share)}-{self.seed}.json"
        return "transfer", f"{self.source}-to-{self.dataset}", f"{self.start}-{head}", file


def pretrain(
    cell: TransferRun,
    source: LabeledCrystals,
    crystals: LabeledCrystals,
    device: Device,
) -> TrainedNetwork:
    """Train on a cell's source, with the cutoff of its data set, which is what it will embed.

    The source loses what would give the test rows of the split away: of the same property every
    crystal that both sets have, of another the test rows.
    """
    config = cell.source_config(source.target)
    assert config.cutoff is not None
    learned = at_cutoff(_without_tested(cell, source, crystals), config.cutoff)
    return train_on(config, learned, device)


def _without_tested(
    cell: TransferRun, source: LabeledCrystals, crystals: LabeledCrystals
) -> LabeledCrystals:
    shared = crystals.ids
    if source.target != crystals.target:
        shared = shared.take(_split(crystals, cell.seed)[1])
    return without_ids(source, shared)


def run_transfer(
    cell: TransferRun, crystals: LabeledCrystals, start: State, device: Device
) -> Iterator[Record]:
    """Yield each head's record, as soon as it is scored."""
    train, test = _split(crystals, cell.seed)
    order = np.random.default_rng([cell.seed, 1]).permutation(train)
    training = crystals.take(np.sort(order[: round(cell.share * len(order))]))
    tested = crystals.take(test)
    learned = _learned(cell, training, start, device)
    watch = Stopwatch()
    known = learned.representation.embed(training.batch)
    embedding = watch.read()
    for name in HEADS_COMPARED:
        watch = Stopwatch()
        head = HEADS[name](seed=cell.seed, threads=device.threads)
        head.fit(known, training.targets)
        cost = learned.cost.plus(embedding).plus(watch.read())
        identity = {
            "dataset": cell.dataset,
            "data": cell.data,
            "method": f"{cell.start}-{name}",
            "source": cell.source,
            "source_epochs": cell.source_epochs,
            "share": cell.share,
            "split": "random",
            "seed": cell.seed,
        }
        scores = scored(learned, head, training, tested)
        yield Record(cell.result_name(name), {**identity, **scores, **cost.record()})


def _learned(cell: TransferRun, training: LabeledCrystals, start: State, device: Device) -> Learned:
    watch, config = Stopwatch(), cell.config()
    if cell.start == FROZEN:
        trained = TrainedNetwork(start, None, [])
    else:
        begin = start if cell.start == TUNED else None
        trained = train_on(config, training, device, begin)
    return Learned(
        opened(config, trained, device.threads),
        None,
        [epoch["loss"] for epoch in trained.curve],
        watch.read(),
        cell.options(),
    )


def _emrl(
    dataset: str, preset: str, target: str, epochs: int, seed: int, rate: float | None = None
) -> TrainConfig:
    """Return the options of training EMRL by a preset."""
    return TrainConfig(
        crystals=dataset,
        target=target,
        out="",
        preset=preset,
        epochs=epochs,
        learning_rate=rate,
        calibration=0.0,
        seed=seed,
    )


def _split(crystals: LabeledCrystals, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    split = split_rows(len(crystals.targets), TEST, seed=seed)
    return split.train, split.test
