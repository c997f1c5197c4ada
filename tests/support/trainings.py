"""Small trainings whose results tests compare."""

from __future__ import annotations

import numpy as np
import torch

from emrl_ray.config import TrainConfig
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.graphs import Graphs
from emrl_ray.networks.layers.collectives import ProcessGroup, SingleProcess
from emrl_ray.training.trainer import Shard, Trainer, make_network
from tests.support.crystals import random_batch

ROWS = 50
SUPERVISED = {"network": "cgcnn", "loss": "l1_distance"}
"""A network that has a readout beside its embedding."""
ALONE = {"batch_size": 3, "epochs": 1}
"""Batches so small that a worker has no row of some of them."""


def make_trainer(rank=0, world_size=1, **options) -> Trainer:
    settings = {"epochs": 3, "batch_size": 16, "precision": "float64", **options}
    config = TrainConfig(crystals="", target="y", out="", **settings)
    graphs = Graphs.from_crystals(random_batch(ROWS, seed=5), 5.0)
    targets = np.random.default_rng(6).random(ROWS)
    network = make_network(config, default_csv(), 0)
    shard = share(Shard(network.select(graphs), targets, 0), rank, world_size)
    return Trainer(network, shard, config, ProcessGroup() if world_size > 1 else SingleProcess())


def share(rows: Shard, rank: int, world_size: int) -> Shard:
    """Return the rows of one worker of several."""
    count = len(rows.targets)
    first, last = count * rank // world_size, count * (rank + 1) // world_size
    return Shard(rows.graphs.take(np.arange(first, last)), rows.targets[first:last], first)


def whole_run(trainer: Trainer) -> dict[str, torch.Tensor]:
    losses = []
    trainer.run(lambda record: losses.append(record.loss))
    readout = {f"readout.{name}": part for name, part in trainer.readout.state_dict().items()}
    return {"losses": torch.tensor(losses), **trainer.network.state_dict(), **readout}
