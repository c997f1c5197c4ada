"""The EMRL loss: its formula, its margin, and what it makes of ties."""

import math

import pytest
import torch

from emrl_ray.training.losses import (
    LOSSES,
    Outputs,
    distance_loss,
    draw_triplets,
    emrl_loss,
    loss_function,
    rank_n_contrast_loss,
)


def plain_loss(z, y, triplets, margin):
    terms = []
    for a, p, n in zip(*(part.tolist() for part in triplets), strict=True):
        r_z = math.dist(z[a], z[p]) / (math.dist(z[a], z[n]) + 1e-5)
        r_y = abs(y[a] - y[p]) / (abs(y[a] - y[n]) + 1e-5)
        difference = -math.exp(1 - r_z) + math.exp(1 - r_y)
        terms.append(max(difference**2 - margin, 0.0))
    return sum(terms) / len(terms)


def loss_of(z, y, triplets, margin):
    vectors = [z[index] for index in triplets]
    targets = [y[index] for index in triplets]
    return emrl_loss(*vectors, *targets, margin=margin)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    y = torch.rand(12, generator=generator, dtype=torch.float64)
    return z, y, draw_triplets(y, generator)


@pytest.mark.parametrize("margin", [0.0, 0.2, 5.0])
def test_loss_is_the_published_formula(batch, margin):
    z, y, triplets = batch
    expected = plain_loss(z.tolist(), y.tolist(), triplets, margin)
    assert float(loss_of(z, y, triplets, margin)) == pytest.approx(expected, abs=1e-12)


def test_margin_only_ever_lowers_the_loss(batch):
    z, y, triplets = batch
    losses = [float(loss_of(z, y, triplets, margin)) for margin in (0.0, 0.1, 0.3, 10.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0.0


def test_gradient_is_that_of_finite_differences(batch):
    z, y, triplets = batch
    assert torch.autograd.gradcheck(lambda x: loss_of(x, y, triplets, 0.05), z.requires_grad_())


def test_equal_embeddings_give_a_finite_gradient():
    z = torch.zeros(4, 3, requires_grad=True)
    y = torch.tensor([0.0, 1.0, 2.0, 4.0])
    loss_of(z, y, draw_triplets(y, torch.Generator().manual_seed(0)), 0.0).backward()
    assert torch.isfinite(z.grad).all()


def test_a_triplet_of_equal_targets_asks_for_equal_distances():
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.float64)
    triplets = draw_triplets(y, torch.Generator().manual_seed(0))
    anchor_only = [part[:1] for part in triplets]
    assert float(loss_of(z, y, anchor_only, 0.0)) == pytest.approx(0.0, abs=1e-8)
    z[2] *= 3
    assert float(loss_of(z, y, anchor_only, 0.0)) > 0.1


def test_positive_is_the_nearer_in_target_and_nobody_is_drawn_twice():
    y = torch.randn(40, generator=torch.Generator().manual_seed(2))
    anchor, positive, negative = draw_triplets(y, torch.Generator().manual_seed(3))
    assert torch.equal(anchor, torch.arange(40))
    assert ((y[anchor] - y[positive]).abs() <= (y[anchor] - y[negative]).abs()).all()
    assert (anchor != positive).all()
    assert (anchor != negative).all()
    assert (positive != negative).all()


def test_every_other_row_is_drawn_equally_often():
    y = torch.zeros(5)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(5, 5)
    for _ in range(4000):
        triplets = draw_triplets(y, generator)
        for index in (triplets.positive, triplets.negative):
            counts[torch.arange(5), index] += 1
    share = counts / counts.sum(1, keepdim=True)
    assert (share.diagonal() == 0).all()
    off_diagonal = share[~torch.eye(5, dtype=torch.bool)]
    assert (off_diagonal - 0.25).abs().max() < 0.03


def test_distance_loss_is_the_mean_over_pairs(batch):
    z, y, _ = batch
    terms = [
        (math.dist(z[a].tolist(), z[b].tolist()) - 0.4 * abs(float(y[a] - y[b]))) ** 2
        for a in range(len(y))
        for b in range(a)
    ]
    assert float(distance_loss(z, y)) == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_rank_n_contrast_is_the_published_formula(batch):
    z, y, _ = batch
    rows, terms = range(len(y)), []
    for a in rows:
        for b in rows:
            if a == b:
                continue
            far = [c for c in rows if c != a and abs(y[a] - y[c]) >= abs(y[a] - y[b])]
            weights = {c: math.exp(-math.dist(z[a].tolist(), z[c].tolist()) / 2) for c in far}
            terms.append(-math.log(weights[b] / sum(weights.values())))
    assert float(rank_n_contrast_loss(z, y)) == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def outputs_of(batch) -> Outputs:
    z, y, triplets = batch
    return Outputs((z, z, z), z.sum(1), y, (y - y.mean()) / y.std(), triplets)


def test_slrl_is_emrl_without_a_margin(batch):
    outputs = outputs_of(batch)
    assert LOSSES["slrl"].function(outputs, 0.3) == LOSSES["emrl"].function(outputs, 0.0)


@pytest.mark.parametrize("name", ["distance", "rank_n_contrast"])
def test_a_loss_with_l1_is_the_sum_of_both(batch, name):
    outputs = outputs_of(batch)
    parts = [LOSSES[part].function(outputs, 0.0) for part in ("l1", name)]
    assert float(LOSSES[f"l1_{name}"].function(outputs, 0.0)) == pytest.approx(float(sum(parts)))


@pytest.mark.parametrize("name", LOSSES)
def test_equal_embeddings_and_targets_leave_finite_gradients(name):
    z = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True)
    y = torch.zeros(6, dtype=torch.float64)
    triplets = draw_triplets(y, torch.Generator().manual_seed(0))
    LOSSES[name].function(Outputs((z, z, z), z.sum(1), y, y, triplets), 0.2).backward()
    assert torch.isfinite(z.grad).all()


def test_an_unknown_loss_is_one_clear_line():
    with pytest.raises(ValueError, match=r"^--loss triplet: choose from emrl, slrl, l1, "):
        loss_function("triplet")
