"""Mean over a crystal's pairs of ReLU(BN(A[Z_i] + B[Z_j] + C(d))), without storing pairs.

For a pair's x = A[Z_i] + B[Z_j] + C(d), the normalised value is y = scale·x + shift, and the mean of
ReLU(y) over a crystal's n pairs is (scale·Σx + shift·Σ1) / n, both sums over the pairs with y > 0.
The same sums give the gradients of scale and shift, so the backward pass reads x only once, to
carry the gradient of each pair to the tables. On a CPU the loops are compiled (`features.training_kernels`),
elsewhere they are tensor operations; tests hold both to the plain form.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emrl_ray.features import training_kernels as kernels
from emrl_ray.networks.layers.batch_norm import WeightedBatchNorm

COMPILED_DEVICE = "cpu"
"""Where the loops of `features.training_kernels` run."""


class PairTerms(NamedTuple):
    """The pre-activations of U distinct pairs of B crystals, as tables."""

    center: Tensor
    """A, (119, F)."""
    neighbor: Tensor
    """B, (119, F)."""
    bond: Tensor
    """C(d) of each distinct pair, (U, F)."""
    first: Tensor
    """(U,) atomic number of one atom."""
    second: Tensor
    """(U,) atomic number of the other."""
    times: Tensor
    """(U,) how many unordered pairs it stands for."""
    bounds: Tensor
    """(B + 1,) first distinct pair of each crystal."""
    n_pairs: Tensor
    """(B, 1) ordered pairs of each crystal."""


def pool_pairs(terms: PairTerms, norm: WeightedBatchNorm, weights: Tensor) -> Tensor:
    """Return (K, B, F), the mean over each crystal's pairs after batch norm and ReLU.

    In training each of the K passes has its own statistics, crystal b counting `weights[k, b]`
    times; else K is 1 and the running statistics serve.
    """
    if not norm.training:
        scale, shift = norm.affine(norm.running_mean, norm.running_var)
        count, total = _active_sums(terms, scale.unsqueeze(0), shift.unsqueeze(0))
        return _mean_activation(scale, shift, count, total, terms.n_pairs).to(terms.bond.dtype)
    return _PoolPairs.apply(
        terms.center, terms.neighbor, terms.bond, norm.weight, norm.bias, terms, norm, weights
    )


def _mean_activation(
    scale: Tensor, shift: Tensor, count: Tensor, total: Tensor, n_pairs: Tensor
) -> Tensor:
    return (scale * total + shift * count) / n_pairs


class _PoolPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        center: Tensor,
        neighbor: Tensor,
        bond: Tensor,
        gain: Tensor,
        bias: Tensor,
        terms: PairTerms,
        norm: WeightedBatchNorm,
        weights: Tensor,
    ) -> Tensor:
        terms = terms._replace(center=center, neighbor=neighbor, bond=bond)
        weight = weights.double()
        parts = [*_moments(terms), terms.n_pairs.double()]
        sums = norm.communicator.sum(weight @ torch.cat(parts, dim=1))
        total, squares, rows = sums.split([center.shape[1], center.shape[1], 1], dim=1)
        statistics = norm.statistics(rows, total, squares)
        norm.track(statistics)
        deviation = torch.sqrt(statistics.variance + norm.eps)
        scale = gain.double() / deviation
        shift = bias.double() - statistics.mean * scale
        count, active = _active_sums(terms, scale, shift)
        ctx.save_for_backward(
            *terms,
            weight,
            scale,
            shift,
            deviation,
            statistics.mean,
            statistics.rows,
            count,
            active,
        )
        ctx.communicator = norm.communicator
        pooled = _mean_activation(
            scale.unsqueeze(1), shift.unsqueeze(1), count, active, terms.n_pairs
        )
        return pooled.to(bond.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *arrays, weight, scale, shift, deviation, mean, rows, count, active = ctx.saved_tensors
        terms = PairTerms(*arrays)
        upstream = gradients[0].double() / terms.n_pairs
        mean, deviation, scale_ = mean.unsqueeze(1), deviation.unsqueeze(1), scale.unsqueeze(1)
        own = torch.stack(
            [(upstream * count).sum(1), (upstream * (active - mean * count) / deviation).sum(1)]
        )
        bias_gradient, gain_gradient = own.sum(1)
        all_bias, all_gain = ctx.communicator.sum(own) / rows
        along = scale_ * weight.unsqueeze(-1)
        slope = -(along * all_gain.unsqueeze(1) / deviation)
        constant = -(along * all_bias.unsqueeze(1)) - slope * mean
        tables = _pair_gradients(
            terms, scale, shift, scale_ * upstream, constant.sum(0), slope.sum(0)
        )
        dtype = terms.center.dtype
        return (*tables, gain_gradient.to(dtype), bias_gradient.to(dtype), None, None, None)


def _moments(terms: PairTerms) -> tuple[Tensor, Tensor]:
    """Return the sums of x and x² over each crystal's ordered pairs, (B, F) float64."""
    shape = (len(terms.bounds) - 1, terms.center.shape[1])
    if terms.bond.device.type == COMPILED_DEVICE:
        total, squares = np.zeros(shape), np.zeros(shape)
        _split(terms, lambda run: kernels.pair_moments(*_arrays(terms), *run, total, squares))
        return torch.from_numpy(total), torch.from_numpy(squares)
    one_way, other_way = _both_orders(terms)
    return (
        _by_crystal(terms, one_way + other_way),
        _by_crystal(terms, one_way.square() + other_way.square()),
    )


def _active_sums(terms: PairTerms, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of 1 and x over the pairs with scale·x + shift > 0, (K, B, F) float64."""
    shape = (len(scale), len(terms.bounds) - 1, terms.center.shape[1])
    scale, shift = scale.detach().to(terms.bond.dtype), shift.detach().to(terms.bond.dtype)
    if terms.bond.device.type == COMPILED_DEVICE:
        count, total = np.zeros(shape), np.zeros(shape)
        lines = (scale.numpy(), shift.numpy())
        _split(terms, lambda run: kernels.active_sums(*_arrays(terms), *run, *lines, count, total))
        return torch.from_numpy(count), torch.from_numpy(total)
    sums = []
    for line, level in zip(scale, shift, strict=True):
        parts = [(x, (line * x + level > 0).to(x.dtype)) for x in _both_orders(terms)]
        sums.append(
            (
                _by_crystal(terms, parts[0][1] + parts[1][1]),
                _by_crystal(terms, parts[0][0] * parts[0][1] + parts[1][0] * parts[1][1]),
            )
        )
    return torch.stack([count for count, _ in sums]), torch.stack([total for _, total in sums])


def _pair_gradients(
    terms: PairTerms, scale: Tensor, shift: Tensor, active: Tensor, constant: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of A, B and C (see `kernels.pair_gradients`)."""
    dtype = terms.bond.dtype
    lines = [part.to(dtype) for part in (scale, shift, active, constant, slope)]
    if terms.bond.device.type == COMPILED_DEVICE:
        bond = torch.empty_like(terms.bond)
        given = [part.numpy() for part in lines]
        kind = given[0].dtype

        def run_part(run: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
            tables = (np.zeros(terms.center.shape, kind), np.zeros(terms.center.shape, kind))
            outputs = (*tables, bond.numpy())
            kernels.pair_gradients(*_arrays(terms), *run, *given, *outputs)
            return tables

        parts = _split(terms, run_part)
        return (
            torch.from_numpy(sum(center for center, _ in parts)),
            torch.from_numpy(sum(neighbor for _, neighbor in parts)),
            bond,
        )
    scale, shift, active, constant, slope = lines
    crystal = _crystal_of_pair(terms)
    gradients = []
    for x in _both_orders(terms):
        gradient = constant[crystal] + slope[crystal] * x
        for line, level, gain in zip(scale, shift, active, strict=True):
            gradient += torch.where(line * x + level > 0, gain[crystal], 0.0)
        gradients.append(gradient * terms.times.unsqueeze(1))
    center, neighbor = torch.zeros_like(terms.center), torch.zeros_like(terms.neighbor)
    center.index_add_(0, terms.first, gradients[0].to(center.dtype))
    center.index_add_(0, terms.second, gradients[1].to(center.dtype))
    neighbor.index_add_(0, terms.second, gradients[0].to(center.dtype))
    neighbor.index_add_(0, terms.first, gradients[1].to(center.dtype))
    return center, neighbor, gradients[0] + gradients[1]


def _both_orders(terms: PairTerms) -> tuple[Tensor, Tensor]:
    """Return x of (i, j) and of (j, i), each (U, F)."""
    one_way = terms.center[terms.first] + terms.neighbor[terms.second] + terms.bond
    other_way = terms.center[terms.second] + terms.neighbor[terms.first] + terms.bond
    return one_way, other_way


def _crystal_of_pair(terms: PairTerms) -> Tensor:
    crystals = torch.arange(len(terms.bounds) - 1, device=terms.bounds.device)
    return torch.repeat_interleave(crystals, torch.diff(terms.bounds))


def _by_crystal(terms: PairTerms, values: Tensor) -> Tensor:
    """Return the sums of (U, F) over each crystal's pairs, as often as they occur, (B, F) float64."""
    sums = values.new_zeros((len(terms.bounds) - 1, values.shape[1]), dtype=torch.float64)
    return sums.index_add_(
        0, _crystal_of_pair(terms), values.double() * terms.times.double().unsqueeze(1)
    )


def _arrays(terms: PairTerms) -> tuple[np.ndarray, ...]:
    """Return what the loops read, in their order."""
    return tuple(part.detach().numpy() for part in terms[:-1])


def _split(terms: PairTerms, compute: Callable[[tuple[int, int]], Any]) -> list[Any]:
    """Call `compute` on runs of crystals with equal numbers of pairs, a run for each torch thread."""
    threads = torch.get_num_threads()
    bounds = terms.bounds.numpy()
    if threads == 1 or len(bounds) <= threads:
        return [compute((0, len(bounds) - 1))]
    goals = np.linspace(0, bounds[-1], threads + 1)[1:-1]
    cuts = [0, *np.searchsorted(bounds, goals).tolist(), len(bounds) - 1]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(compute, pairwise(cuts)))
