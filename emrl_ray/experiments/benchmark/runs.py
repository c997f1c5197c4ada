"""One training on one split, and the record of each method that reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config import NetworkConfig, OptimizationConfig, TrainConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.experiments.benchmark.datasets import LabeledCrystals
from emrl_ray.experiments.benchmark.local_training import (
    Cost,
    Device,
    Stopwatch,
    opened,
    train_on,
    untrained,
)
from emrl_ray.experiments.benchmark.methods import CLASSICAL, METHODS, READOUT, RECIPES, UNTRAINED
from emrl_ray.experiments.benchmark.out_of_fold import out_of_fold_embeddings
from emrl_ray.features.classical_descriptor import ClassicalFeatures
from emrl_ray.features.representation import Representation
from emrl_ray.io.runtime import hardware_info, package_versions
from emrl_ray.model.heads import HEADS, Head, ReadoutHead
from emrl_ray.training.evaluation import baselines, score, split_rows
from emrl_ray.training.trainer import Readout

TEST = 0.2
"""Share of the rows that are scored (SI section 5)."""
WARM_UP = 8
"""Crystals embedded before the time of embedding counts: the first ones compile."""


class BenchmarkRun(NamedTuple):
    """A training on a split; its methods share it."""

    dataset: str
    preset: str
    target: str
    recipe: str
    """Name in `methods.RECIPES`, or `methods.CLASSICAL`."""
    methods: tuple[str, ...]
    split: Literal["random", "formula"]
    seed: int
    epochs: int
    folds: int = 0
    """Where above 0, heads are fitted on embeddings out of so many folds (`experiments.benchmark.out_of_fold`)."""
    data: str = ""
    """Fingerprint of the table."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.dataset} {self.recipe} {self.split}-{self.seed}"

    @property
    def trained(self) -> bool:
        """Whether a network is trained for it."""
        return self.recipe not in (CLASSICAL, UNTRAINED)

    def config(self) -> TrainConfig:
        """Return the options of the training: the preset's, but for those of the recipe."""
        recipe = RECIPES[self.recipe]
        return TrainConfig(
            crystals=self.dataset,
            target=self.target,
            out="",
            preset=self.preset,
            network=recipe.by_dataset.get(self.dataset, recipe.network),
            loss=recipe.loss,
            epochs=self.epochs,
            test=TEST,
            calibration=0.0,
            split=self.split,
            seed=self.seed,
            **recipe.options,
        )

    def meant(self) -> dict[str, Any]:
        """Return what a result of this cell was made with, as its record says it."""
        options = {"hyperparameters": options_of(self.config())} if self.trained else {}
        return {"target": self.target, "data": self.data, **options}

    def result_name(self, method: str) -> tuple[str, str, str]:
        """Return the folders and the file of a result: DATASET, METHOD, SPLIT-SEED.json."""
        return self.dataset, self.folder(method), f"{self.split}-{self.seed}.json"

    def folder(self, method: str) -> str:
        """Return the method's name, with the folds where there are any."""
        return f"{method}-OOF{self.folds}" if self.folds else method


class Record(NamedTuple):
    """What one method reached, and where it is written."""

    name: tuple[str, ...]
    """Folders and file."""
    content: dict[str, Any]


class Learned(NamedTuple):
    """What a training leaves to the methods that read it."""

    representation: Representation
    readout: Readout | None
    curve: list[float]
    """Loss of each epoch."""
    cost: Cost
    options: dict[str, Any]
    """Options of the training, for the record."""


def run_benchmark(
    cell: BenchmarkRun, crystals: LabeledCrystals, device: Device
) -> Iterator[Record]:
    """Train on 80 % of the rows, score the others; yield each method's record when it is there."""
    rows = len(crystals.targets) if cell.split == "random" else crystals.formulas
    split = split_rows(rows, TEST, kind=cell.split, seed=cell.seed)
    training, tested = crystals.take(split.train), crystals.take(split.test)
    learned = learn(cell, training, device)
    known, embedding = _known(cell, learned, training, device)
    for name in cell.methods:
        watch, kind, cost = Stopwatch(), METHODS[name].head, learned.cost
        if kind == READOUT:
            assert learned.readout is not None
            head: Head = ReadoutHead.of(*learned.readout)
        else:
            head = HEADS[kind](seed=cell.seed, threads=device.threads)
            head.fit(known, training.targets)
            cost = cost.plus(embedding).plus(watch.read())
        identity = {
            "dataset": cell.dataset,
            "data": cell.data,
            "method": cell.folder(name),
            "split": cell.split,
            "seed": cell.seed,
        }
        scores = scored(learned, head, training, tested)
        yield Record(cell.result_name(name), {**identity, **scores, **cost.record()})


def _known(
    cell: BenchmarkRun, learned: Learned, training: LabeledCrystals, device: Device
) -> tuple[NDArray[np.float32], Cost]:
    """Return the embeddings (n, m) that heads are fitted on, none where no method fits one."""
    watch = Stopwatch()
    if all(METHODS[name].head == READOUT for name in cell.methods):
        return np.zeros((0, learned.representation.width), np.float32), watch.read()
    known = learned.representation.embed(training.batch)
    if cell.folds:
        known = out_of_fold_embeddings(cell.config(), training, known, cell.folds, device)
    return known, watch.read()


def learn(cell: BenchmarkRun, training: LabeledCrystals, device: Device) -> Learned:
    """Return the representation that a cell's recipe learns from the training rows."""
    watch = Stopwatch()
    if cell.recipe == CLASSICAL:
        return Learned(ClassicalFeatures.fit(training.batch), None, [], watch.read(), {})
    config = cell.config()
    train = train_on if cell.trained else untrained
    trained = train(config, training, device)
    return Learned(
        opened(config, trained, device.threads),
        trained.readout,
        [epoch["loss"] for epoch in trained.curve],
        watch.read(),
        options_of(config),
    )


def options_of(
    config: TrainConfig, *kinds: type[NetworkConfig] | type[OptimizationConfig]
) -> dict[str, Any]:
    """Return the options of these kinds, or of network and training, for a record."""
    chosen = kinds or (NetworkConfig, OptimizationConfig)
    names = sorted(entry.name for kind in chosen for entry in fields(kind))
    return {name: getattr(config, name) for name in names}


def scored(
    learned: Learned, head: Head, training: LabeledCrystals, tested: LabeledCrystals
) -> dict[str, Any]:
    """Return what a record says of data, accuracy, speed and settings."""
    predictions, pace = _timed_predictions(learned.representation, head, tested.batch)
    scores = score(predictions, tested.targets)
    blind = baselines(training.targets, training.formulas, tested.targets, tested.formulas)
    return {
        "target": tested.target,
        "unit": tested.unit,
        "n_train": len(training.targets),
        "n_test": len(tested.targets),
        "mae": scores.mae,
        "r2": scores.r2,
        "floors": {name: found._asdict() for name, found in blind._asdict().items()},
        "epochs": len(learned.curve),
        "predict_per_second": round(pace, 1),
        "head": head.chosen,
        "hyperparameters": learned.options,
        "learning_curve": [round(loss, 5) for loss in learned.curve],
        "machine": hardware_info(),
        "versions": package_versions(),
    }


def _timed_predictions(
    representation: Representation, head: Head, batch: CrystalBatch
) -> tuple[NDArray[np.float64], float]:
    """Return the predictions (B,) and how many crystals a second took from structure to prediction."""
    head.predict(representation.embed(batch.slice(0, min(WARM_UP, batch.n_crystals))))
    began = time.perf_counter()
    predictions = head.predict(representation.embed(batch))
    return predictions, batch.n_crystals / (time.perf_counter() - began)
