"""Losses by name: functions of what a network made of a batch, and of its targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from emrl_ray.config.errors import UserError
from emrl_ray.config.plugins import resolve_plugin

EPS = 1e-5
DISTANCE_PER_DEVIATION = 0.4
"""Distance of embeddings whose targets are a standard deviation apart, in `distance_loss`."""
TEMPERATURE = 2.0
"""Of `rank_n_contrast_loss`, as in its paper."""


class Triplets(NamedTuple):
    """T triplets of rows of a batch."""

    anchor: Tensor
    """(T,) int64."""
    positive: Tensor
    """(T,) int64, of two other rows the one nearer to the anchor in target."""
    negative: Tensor
    """(T,) int64, the other one."""


def draw_triplets(targets: Tensor, generator: torch.Generator) -> Triplets:
    """Return one triplet an anchor, (B,) targets of B >= 3 crystals in, T = B out.

    The two others are distinct and are not the anchor. Where both have the same gap to the anchor,
    which is most draws when most targets are equal, the one drawn first is the positive: it is a
    fair coin, and `emrl_loss` treats such a pair by its gap alone.
    """
    rows = len(targets)
    anchor = torch.arange(rows)
    one = torch.randint(rows - 1, (rows,), generator=generator)
    two = torch.randint(rows - 2, (rows,), generator=generator)
    one = one + (one >= anchor)
    low, high = torch.minimum(one, anchor), torch.maximum(one, anchor)
    two = two + (two >= low)
    two = two + (two >= high)
    targets = targets.detach().cpu()
    swap = (targets[two] - targets[anchor]).abs() < (targets[one] - targets[anchor]).abs()
    return Triplets(anchor, torch.where(swap, two, one), torch.where(swap, one, two))


def emrl_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    anchor_target: Tensor,
    positive_target: Tensor,
    negative_target: Tensor,
    margin: float,
) -> Tensor:
    """Return the EMRL loss of T triplets (Na 2022, SI eq. 1-3): a scalar.

    With r_z = |z_a - z_p| / (|z_a - z_n| + 1e-5), r_y the same of the targets and s(r) = -exp(1 - r),
    it is the mean of max((s(r_z) - s(r_y))² - margin, 0). Embeddings (T, m), targets (T,). A margin
    of 0 is SLRL.

    Ties: where all three targets are equal r_y is 0/0 and says nothing of the order, so it counts as
    1 (equally near). Where only anchor and positive are equal r_y is 0, as the formula has it.
    """
    to_positive = _distance(anchor, positive)
    to_negative = _distance(anchor, negative)
    gap_positive = (anchor_target - positive_target).abs()
    gap_negative = (anchor_target - negative_target).abs()
    ratio = to_positive / (to_negative + EPS)
    ratio_target = torch.where(
        gap_negative > 0, gap_positive / (gap_negative + EPS), torch.ones_like(gap_negative)
    )
    difference = _similarity(ratio) - _similarity(ratio_target)
    return (difference.square() - margin).clamp_min(0.0).mean()


def _similarity(ratio: Tensor) -> Tensor:
    return -torch.exp(1.0 - ratio)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Return |one - other| by row, with a gradient of 0 where the rows are equal."""
    squared = (one - other).square().sum(-1)
    equal = squared == 0
    return torch.where(equal, 0.0, torch.where(equal, 1.0, squared).sqrt())


def distance_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of (|z_a - z_b| - c |y_a - y_b|)² over all pairs of the batch: a scalar.

    Embeddings (B, m), targets (B,) in standard deviations; c = 0.4 lets targets that are five
    deviations apart lie at opposite points of a unit sphere.
    """
    one, other = torch.triu_indices(len(targets), len(targets), 1, device=targets.device)
    distance = _distance(embeddings[one], embeddings[other])
    gap = (targets[one] - targets[other]).abs()
    return (distance - DISTANCE_PER_DEVIATION * gap).square().mean()


def rank_n_contrast_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Return the Rank-N-Contrast loss of a batch (Zha et al. 2023, eq. 1-3): a scalar.

    For each anchor a and other row b, -log of the share of exp(-|z_a - z_b| / 2) in the sum over the
    rows c whose targets are at least as far from the anchor's as b's. Embeddings (B, m), targets (B,);
    it takes some B³ numbers of memory.
    """
    rows = len(targets)
    others = ~torch.eye(rows, dtype=torch.bool, device=targets.device)
    logits = -_distance(embeddings.unsqueeze(1), embeddings.unsqueeze(0)) / TEMPERATURE
    logits = logits[others].view(rows, rows - 1)
    gaps = (targets.unsqueeze(1) - targets).abs()[others].view(rows, rows - 1)
    as_far = gaps.unsqueeze(1) >= gaps.unsqueeze(2)
    sums = logits.unsqueeze(1).masked_fill(~as_far, -torch.inf).logsumexp(2)
    return (sums - logits).mean()


class Outputs(NamedTuple):
    """What a network made of a batch of B crystals, as a loss sees it."""

    passes: tuple[Tensor, Tensor, Tensor]
    """Embeddings (B, m) as anchors, positives and negatives: three times the same, but where batch
    norm goes in three passes."""
    predictions: Tensor
    """(B,) targets in standard deviations, by the linear readout; zeros without one."""
    targets: Tensor
    """(B,) in their unit."""
    deviations: Tensor
    """(B,) the same, less their mean, in standard deviations of the training set."""
    triplets: Triplets
    """Drawn anew for each batch."""


class Loss(NamedTuple):
    """A loss that networks are trained with."""

    function: Callable[[Outputs, float], Tensor]
    """Outputs and margin to a scalar."""
    readout: bool = False
    """Whether it reads `Outputs.predictions`, so that a readout is trained with the network."""


def _emrl(outputs: Outputs, margin: float) -> Tensor:
    anchor, positive, negative = (
        vectors[rows] for vectors, rows in zip(outputs.passes, outputs.triplets, strict=True)
    )
    y_a, y_p, y_n = (outputs.targets[rows] for rows in outputs.triplets)
    return emrl_loss(anchor, positive, negative, y_a, y_p, y_n, margin)


def _slrl(outputs: Outputs, _: float) -> Tensor:
    return _emrl(outputs, 0.0)


def _l1(outputs: Outputs, _: float) -> Tensor:
    return (outputs.predictions - outputs.deviations).abs().mean()


def _of_embeddings(
    function: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Outputs, float], Tensor]:
    return lambda outputs, _: function(outputs.passes[0], outputs.deviations)


def _with_l1(function: Callable[[Outputs, float], Tensor]) -> Callable[[Outputs, float], Tensor]:
    return lambda outputs, margin: _l1(outputs, margin) + function(outputs, margin)


_distances, _ranks = _of_embeddings(distance_loss), _of_embeddings(rank_n_contrast_loss)

LOSSES: dict[str, Loss] = {
    "emrl": Loss(_emrl),
    "slrl": Loss(_slrl),
    "l1": Loss(_l1, readout=True),
    "distance": Loss(_distances),
    "rank_n_contrast": Loss(_ranks),
    "l1_distance": Loss(_with_l1(_distances), readout=True),
    "l1_rank_n_contrast": Loss(_with_l1(_ranks), readout=True),
}
"""Losses by name; a new one is a line here, or MODULE:NAME of code elsewhere. `slrl` is EMRL with margin 0, `l1` the
supervised loss of the baselines."""


def loss_function(name: str) -> Loss:
    """Return the loss of that name, or at MODULE:NAME; UserError, in one line, if there is none."""
    found = resolve_plugin(LOSSES, name, "--loss")
    if not isinstance(found, Loss):
        raise UserError(f"--loss {name}: is no Loss")
    return found
