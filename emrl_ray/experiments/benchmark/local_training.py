"""Training a network on labelled crystals in this process, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from emrl_ray.config import TrainConfig
from emrl_ray.experiments.benchmark.datasets import LabeledCrystals
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.inference.compiled_tgnn import State
from emrl_ray.features.pairs import filter_cutoff
from emrl_ray.features.representation import GraphRepresentation
from emrl_ray.io.runtime import keep_freed_memory
from emrl_ray.networks import open_trained
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.training.trainer import EpochRecord, Shard, TrainedNetwork, Trainer, make_network

LINES = 10
"""Lines about where a training is."""


class Device(NamedTuple):
    """Where a training runs, and to whom it says how far it is."""

    threads: int
    device: str
    """Of torch."""
    log: Callable[[str], None]


class Cost(NamedTuple):
    """What a computation took."""

    seconds: float
    """By the clock."""
    cpu_seconds: float
    """Of all threads of this process: what the clock would show on a machine of one's own."""

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def record(self) -> dict[str, float]:
        """Return what a record says of it."""
        return {
            "train_seconds": round(self.seconds, 2),
            "train_cpu_seconds": round(self.cpu_seconds, 2),
        }


class Stopwatch:
    """Measures what has been spent since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        """Return the cost until now."""
        return Cost(time.perf_counter() - self.began[0], time.process_time() - self.began[1])


def make_trainer(config: TrainConfig, rows: LabeledCrystals, device: Device) -> Trainer:
    """Return what trains a new network on all of the rows."""
    torch.set_num_threads(device.threads)
    keep_freed_memory()
    assert config.cutoff is not None
    graphs = rows.graphs._replace(pairs=filter_cutoff(rows.graphs.pairs, config.cutoff))
    network = make_network(config, default_csv(), config.seed)
    shard = Shard(network.select(graphs), rows.targets, 0)
    return Trainer(network, shard, config, SingleProcess(), device.device)


def untrained(config: TrainConfig, rows: LabeledCrystals, device: Device) -> TrainedNetwork:
    """Return the network as it begins."""
    return make_trainer(config, rows, device).trained([])


def train_on(
    config: TrainConfig, rows: LabeledCrystals, device: Device, start: State | None = None
) -> TrainedNetwork:
    """Train a network on all of the rows, new or from the weights `start`."""
    trainer = make_trainer(config, rows, device)
    if start is not None:
        weights = {name: torch.tensor(part) for name, part in start.items()}
        trainer.network.load_state_dict(weights)
    curve: list[dict[str, float]] = []

    def after_epoch(record: EpochRecord) -> None:
        curve.append({"loss": record.loss, "learning_rate": record.learning_rate})
        if record.epoch % max(1, config.epochs // LINES) == 0:
            at = f"epoch {record.epoch}/{config.epochs}"
            device.log(f"{at}, loss {record.loss:.4f}, {record.seconds:.2f} s an epoch")

    trainer.run(after_epoch)
    return trainer.trained(curve)


def opened(config: TrainConfig, trained: TrainedNetwork, threads: int) -> GraphRepresentation:
    """Return a trained network in its form for inference."""
    spec = NetworkSpec.of(config)
    return open_trained(config.network, spec, trained.state, default_csv(), threads)
