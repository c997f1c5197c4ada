"""Embeddings of the training rows by networks that have not seen them.

A head that is fitted on embeddings of rows that the network was trained on sees a better world than
it will meet. Here each fold is embedded by a network trained on the other folds. Such networks
differ by a rotation at least, so each one's embeddings are turned onto those of the network that
will be used, by the rotation that fits best on the rows that both were trained on (orthogonal
Procrustes, Schönemann 1966).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from emrl_ray.config import TrainConfig
from emrl_ray.experiments.benchmark.datasets import LabeledCrystals
from emrl_ray.experiments.benchmark.local_training import Device, opened, train_on


def out_of_fold_embeddings(
    config: TrainConfig,
    training: LabeledCrystals,
    embeddings: NDArray[np.float32],
    folds: int,
    device: Device,
) -> NDArray[np.float32]:
    """Return embeddings (n, m) of the training rows, each by a network trained without it.

    `embeddings` (n, m) are those of the network that was trained on all of them.
    """
    rows = len(training.targets)
    fold_of = np.random.default_rng([config.seed, folds]).permutation(rows) % folds
    found = np.empty_like(embeddings)
    for fold in range(folds):
        kept, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        network = opened(config, train_on(config, training.take(kept), device), device.threads)
        own = network.embed(training.batch.take(kept))
        found[held] = turned(network.embed(training.batch.take(held)), own, embeddings[kept])
    return found


def turned(
    vectors: NDArray[np.float32], own: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return vectors (k, m) moved and turned as brings `own` (n, m) nearest to `others` (n, m)."""
    center, goal = own.mean(axis=0), others.mean(axis=0)
    rotation, _ = orthogonal_procrustes(own - center, others - goal)
    return ((vectors - center) @ rotation + goal).astype(np.float32)
