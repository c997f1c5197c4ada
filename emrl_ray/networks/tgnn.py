"""The embedding network of EMRL (TGNN): pairs of atoms, pooled, on the unit sphere.

Na 2022, SI section 2, in factorised form. The first layer acts on [a_i; a_j; e_ij], so it is
A[Z_i] + B[Z_j] + C(d) with two tables over the elements; the second layer commutes with the mean
over pairs and is applied once a crystal. Both are exact.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from emrl_ray.features.distance_basis import Basis, gaussian_basis
from emrl_ray.features.element_properties import element_features
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.inference.compiled_tgnn import CompiledTGNN
from emrl_ray.networks.base import Network, NetworkSpec
from emrl_ray.networks.batch import PairInput
from emrl_ray.networks.layers.batch_norm import WeightedBatchNorm
from emrl_ray.networks.pair_pooling import PairTerms, pool_pairs

ELEMENT_WIDTH = 128
BOND_WIDTH = 64
HIDDEN_WIDTH = 256


class TGNN(Network):
    """Embedding network on pairs: elements and distance in, a unit vector a crystal out."""

    batch_norms: ClassVar[tuple[str, ...]] = ("shared", "three_pass")

    elements: Tensor
    centers: Tensor

    def __init__(
        self,
        elements: NDArray[np.float64],
        cutoff: float,
        basis: Basis = "uniform",
        width: int = 128,
    ) -> None:
        """Make a network with `width` outputs.

        Args:
            elements: (119, F) features by atomic number (`features.element_properties`).
            cutoff: longest pair distance, Å.
            basis: name of the distance basis.
            width: numbers in an embedding.
        """
        super().__init__()
        self.cutoff, self.width = cutoff, width
        gaussians = gaussian_basis(basis, cutoff)
        self.gaussian_width = gaussians.width
        self.register_buffer("elements", torch.from_numpy(elements), persistent=False)
        self.register_buffer("centers", torch.from_numpy(gaussians.centers), persistent=False)
        self.element_layer = nn.Linear(elements.shape[1], ELEMENT_WIDTH)
        self.bond_layer = nn.Linear(len(gaussians.centers), BOND_WIDTH)
        self.pair_layer = nn.Linear(2 * ELEMENT_WIDTH + BOND_WIDTH, HIDDEN_WIDTH)
        self.pair_norm = WeightedBatchNorm(HIDDEN_WIDTH)
        self.readout_layer = nn.Linear(HIDDEN_WIDTH, width)
        self.hidden_layer = nn.Linear(width, width)
        self.hidden_norm = WeightedBatchNorm(width)
        self.output_layer = nn.Linear(width, width)
        for before_norm in (self.pair_layer, self.readout_layer, self.hidden_layer):
            # Batch norm removes it, so its gradient is 0 but for rounding, which Adam would
            # scale up to full steps.
            before_norm.bias.requires_grad_(False)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> TGNN:
        """Return the untrained network of a specification."""
        elements = element_features(elements_csv, spec.elements)
        return cls(elements, spec.cutoff, spec.basis, spec.width)

    def forward(self, graphs: Graphs, weights: Tensor) -> Tensor:
        """Return the embeddings (K, B, width) of B crystals in K passes, each of length 1.

        In training, pass k takes batch statistics in which crystal b counts `weights[k, b]` times;
        in evaluation there is one pass. Every crystal needs a pair.
        """
        pooled = pool_pairs(self.pair_terms(graphs), self.pair_norm, weights)
        hidden = self.hidden_norm(self.hidden_layer(self.readout_layer(pooled)), weights)
        return functional.normalize(self.output_layer(torch.relu(hidden)), dim=-1)

    def pair_terms(self, graphs: Graphs) -> PairTerms:
        """Return the first layer's output on the pairs as the tables A, B and C(d)."""
        weight = self.pair_layer.weight
        pairs = PairInput.from_graphs(graphs, weight.device, weight.dtype)
        atoms = torch.relu(self.element_layer(self.elements.to(weight.dtype)))
        of_center, of_neighbor, of_bond = weight.split(
            [ELEMENT_WIDTH, ELEMENT_WIDTH, BOND_WIDTH], dim=1
        )
        bonds = torch.relu(self.bond_layer(self.expand(pairs.distance)))
        bond = functional.linear(bonds, of_bond, self.pair_layer.bias)
        return PairTerms(
            atoms @ of_center.T,
            atoms @ of_neighbor.T,
            bond.to(weight.dtype),
            pairs.first,
            pairs.second,
            pairs.times,
            pairs.bounds,
            pairs.n_pairs,
        )

    def expand(self, distance: Tensor) -> Tensor:
        """Return the Gaussian basis (U, G) of distances (U,), Å."""
        offset = distance.unsqueeze(1) - self.centers.to(distance.dtype)
        return torch.exp(-(offset / self.gaussian_width).square())

    def compile(self, threads: int = 1) -> CompiledTGNN:  # type: ignore[override]
        """Return the network in the form for inference, which needs no torch."""
        state = {name: value.numpy(force=True) for name, value in self.state_dict().items()}
        elements, centers = self.elements.numpy(force=True), self.centers.numpy(force=True)
        return CompiledTGNN(state, elements, self.cutoff, centers, threads)
