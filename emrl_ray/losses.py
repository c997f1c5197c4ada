"""Metric-learning losses: functions of embeddings and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-5


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


LOSSES: dict[str, Callable[..., Tensor]] = {"emrl": emrl_loss}
"""Losses of triplets by name, called as `emrl_loss`; a new one is one line here or in user code."""


def loss_function(name: str) -> Callable[..., Tensor]:
    """Return the loss registered under `name`; ValueError, in one line, if there is none."""
    if name not in LOSSES:
        raise ValueError(f"--loss {name}: choose from {', '.join(LOSSES)}")
    return LOSSES[name]
