"""Two processes that train together learn what one learns alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from emrl_ray.experiments.tuning.validation import Validator
from emrl_ray.features.graphs import Graphs
from emrl_ray.training.losses import draw_triplets
from emrl_ray.training.trainer import Shard, Trainer
from tests.support.crystals import random_batch
from tests.support.trainings import ALONE, ROWS, SUPERVISED, make_trainer, share, whole_run

SHARED = {
    "emrl": {},
    "emrl_in_three_passes": {"batch_norm": "three_pass"},
    "cgconv": {"network": "cgconv", "loss": "rank_n_contrast", **ALONE},
    "megnet": {"network": "megnet", "loss": "l1", **ALONE},
    "cgcnn": {**SUPERVISED, **ALONE},
}
"""What one worker learns as two do."""


def validation_score(rank=0, world_size=1) -> float:
    """Return the score of an untrained network, whose heads see the rows of all workers."""
    trainer = make_trainer(rank, world_size)
    rows, held_out = (
        Shard(Graphs.from_crystals(random_batch(count, seed), 5.0), targets, 0)
        for seed, count, targets in (
            (5, ROWS, np.random.default_rng(6).random(ROWS)),
            (9, 20, np.random.default_rng(10).random(20)),
        )
    )
    own = share(rows, rank, world_size)
    return Validator(trainer.options, "linear", own, held_out).mae(trainer)


def first_step(trainer: Trainer) -> dict[str, torch.Tensor]:
    rows = np.random.default_rng(7).permutation(ROWS)[:20]
    triplets = draw_triplets(trainer.targets[rows], torch.Generator().manual_seed(8))
    trainer.network.train()
    loss = trainer.batch_loss(rows, triplets)
    loss.backward()
    trainer._sum_gradients()
    found = {name: part.grad for name, part in trainer.network.named_parameters()}
    return {"loss": loss.detach(), **{k: v for k, v in found.items() if v is not None}}


def on_worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for name, options in SHARED.items():
        step = first_step(make_trainer(rank, 2, **options))
        torch.save((step, whole_run(make_trainer(rank, 2, **options))), f"{folder}/{name}-{rank}")
    torch.save(validation_score(rank, 2), f"{folder}/score-{rank}")
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory) -> Path:
    """Folder with what two processes learned together of each of `SHARED`."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(on_worker, (free_port(), str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("name", SHARED)
def test_two_workers_learn_what_one_learns(two_workers, name):
    step, run = first_step(make_trainer(**SHARED[name])), whole_run(make_trainer(**SHARED[name]))
    for rank in range(2):
        their_step, their_run = torch.load(two_workers / f"{name}-{rank}")
        assert their_step.keys() == step.keys()
        for part, value in step.items():
            assert (value - their_step[part]).abs().max() < 1e-9, part
        for part, value in run.items():
            assert (value - their_run[part]).abs().max() < 1e-9, part


def test_two_workers_come_to_the_score_of_one(two_workers):
    alone = validation_score()
    scores = [torch.load(two_workers / f"score-{rank}") for rank in range(2)]
    assert scores == pytest.approx([alone, alone], rel=1e-4)
    assert scores[0] == scores[1]
