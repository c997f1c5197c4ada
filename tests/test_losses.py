"""The EMRL loss: its formula, its margin, and what it makes of ties."""

import math

import pytest
import torch

from emrl_ray.losses import draw_triplets, emrl_loss, loss_function


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


def test_an_unknown_loss_is_one_clear_line():
    with pytest.raises(ValueError, match=r"^--loss triplet: choose from emrl$"):
        loss_function("triplet")
