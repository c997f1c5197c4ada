"""Batch norm whose statistics weigh the rows and span all workers.

Embedding a batch in several passes, each a selection with repeats of the same crystals, needs the
activations once and one set of statistics a pass: a row that occurs w times in a pass counts w
times. A weight of 1 for every row in one pass is ordinary batch norm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from emrl_ray.networks.layers.collectives import Communicator, SingleProcess, SumOverWorkers


class Statistics(NamedTuple):
    """Batch statistics of K passes over all workers."""

    rows: Tensor
    """(K, 1) how many rows."""
    mean: Tensor
    """(K, F)."""
    variance: Tensor
    """(K, F) population variance."""


class WeightedBatchNorm(nn.Module):
    """Batch norm over F features; affine, eps 1e-5, momentum 0.1 (as torch's own)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.communicator: Communicator = SingleProcess()

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return x (K, B, F) normalised; in training `weights` (K, B) counts the rows of each pass.

        Statistics are taken in float64, because the rows of a batch of crystals differ by little.
        """
        if not self.training:
            scale, shift = self.affine(self.running_mean, self.running_var)
            return x * scale + shift
        rows = x.double()
        counted = weights.to(rows.dtype).unsqueeze(-1)
        sums = torch.stack([(counted * rows).sum(1), (counted * rows.square()).sum(1)])
        sums = SumOverWorkers.apply(sums, self.communicator)
        count = self.communicator.sum(counted.sum(1))
        statistics = self.statistics(count, sums[0], sums[1])
        self.track(statistics)
        scale, shift = self.affine(statistics.mean, statistics.variance)
        return (rows * scale.unsqueeze(1) + shift.unsqueeze(1)).to(x.dtype)

    def statistics(self, count: Tensor, total: Tensor, squares: Tensor) -> Statistics:
        """Return the statistics of `count` (K, 1) rows with sums of x and x² (K, F)."""
        mean = total / count
        return Statistics(count, mean, (squares / count - mean.square()).clamp_min(0.0))

    def affine(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return (scale, shift) so that the normalised x is scale * x + shift."""
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - mean * scale

    @torch.no_grad()
    def track(self, statistics: Statistics) -> None:
        """Move the running statistics towards those of each pass, in order."""
        unbiased = statistics.rows / (statistics.rows - 1).clamp_min(1.0)
        for mean, variance in zip(statistics.mean, statistics.variance * unbiased, strict=True):
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


class BatchNorm(WeightedBatchNorm):
    """Batch norm of rows (N, F) of any kind, each counted once, over all workers."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return x (N, F) normalised; on one worker by torch's own kernel."""
        if self.communicator.world_size > 1 or (self.training and len(x) < 2):
            return super().forward(x.unsqueeze(0), x.new_ones(1, len(x))).squeeze(0)
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )
