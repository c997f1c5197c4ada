"""Trains a network of another package as ours are trained: the same batches, optimiser, rate and loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.training.trainer import batch_bounds

LINES = 10
"""Lines about where a training is."""

Inputs = Callable[[NDArray[np.int64]], tuple[Any, ...]]
"""Rows of the data set to what a network takes."""


class Budget(NamedTuple):
    """What a training may spend, and how; the options of `config.OptimizationConfig` of these names."""

    epochs: int
    batch_size: int
    learning_rate: float
    """Peak of the one-cycle schedule of Adam."""
    l2: float
    seed: int
    """Of the batches, drawn as `training.Trainer` draws them."""


class Normal(NamedTuple):
    """Mean and standard deviation of the training targets, in their unit."""

    mean: float
    deviation: float


def train(
    network: nn.Module,
    inputs: Inputs,
    rows: NDArray[np.int64],
    targets: NDArray[np.float64],
    budget: Budget,
) -> Normal:
    """Train `network` on `rows` (n,) of a data set, whose targets are (n,): L1 in standard deviations.

    The network returns predictions (b, 1), and possibly more, of the inputs of b rows.
    """
    normal = Normal(float(targets.mean()), float(targets.std()))
    deviations = torch.from_numpy((targets - normal.mean) / normal.deviation).float()
    parts = list(network.parameters())
    adam = torch.optim.Adam(parts, lr=budget.learning_rate, weight_decay=budget.l2)
    bounds = batch_bounds(len(rows), budget.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam,
        max_lr=budget.learning_rate,
        total_steps=budget.epochs * len(bounds) + 1,
        cycle_momentum=False,
    )
    network.train()
    for epoch in range(budget.epochs):
        began, total = time.perf_counter(), 0.0
        order = np.random.default_rng([budget.seed, epoch]).permutation(len(rows))
        for first, last in bounds:
            chosen = order[first:last]
            loss = (_predicted(network, inputs(rows[chosen])) - deviations[chosen]).abs().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % max(1, budget.epochs // LINES) == 0:
            _say(epoch + 1, budget.epochs, total / len(bounds), time.perf_counter() - began)
    return normal


def predict(
    network: nn.Module, inputs: Inputs, rows: NDArray[np.int64], normal: Normal, at_once: int
) -> NDArray[np.float64]:
    """Return the predictions (n,) of `rows`, in the targets' unit, `at_once` rows at a time."""
    network.eval()
    with torch.no_grad():
        found = [
            _predicted(network, inputs(rows[first : first + at_once]))
            for first in range(0, len(rows), at_once)
        ]
    return torch.cat(found).double().numpy() * normal.deviation + normal.mean


def _predicted(network: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    found = network(*inputs)
    return (found[0] if isinstance(found, tuple) else found).squeeze(1)


def _say(epoch: int, epochs: int, loss: float, seconds: float) -> None:
    line = f"epoch {epoch}/{epochs}, loss {loss:.4f}, {seconds:.2f} s an epoch"
    print(line, file=sys.stderr, flush=True)
