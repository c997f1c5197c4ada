"""Gated convolutions on all pairs within the cutoff, for metric learning: this package's own network.

The gate of Xie and Grossman 2018, sigmoid(W_f z) ⊙ softplus(W_s z) on z = [h_i; h_j; e_ij], with
learned elements, a finer basis, every neighbour, batch norm, and an embedding without a last
activation. W z = A h_i + B h_j + C e_ij: the atoms' parts are products a row, C's is one an
unordered pair and serves both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.features.distance_basis import Basis, gaussian_basis
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import half_list
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.batch import AtomGraph
from emrl_ray.networks.layers.batch_norm import BatchNorm
from emrl_ray.networks.message_passing import AGGREGATIONS, GraphNetwork

ATOM_WIDTH = 64


class CGConvNetwork(GraphNetwork):
    """Three gated convolutions, mean over the atoms, two dense layers to the embedding."""

    centers: Tensor

    def __init__(self, cutoff: float, basis: Basis, width: int) -> None:
        """Make a network for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        gaussians = gaussian_basis(basis, cutoff)
        self.gaussian_width = gaussians.width
        centers = torch.from_numpy(gaussians.centers).float()
        self.register_buffer("centers", centers, persistent=False)
        self.element_layer = nn.Embedding(MAX_ATOMIC_NUMBER + 1, ATOM_WIDTH)
        self.convolutions = nn.ModuleList(
            GatedConvolution(ATOM_WIDTH, len(centers)) for _ in range(AGGREGATIONS)
        )
        self.hidden_layer = nn.Linear(ATOM_WIDTH, width)
        self.output_layer = nn.Linear(width, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> CGConvNetwork:
        """Return the untrained network of a specification; it learns its elements itself."""
        return cls(spec.cutoff, spec.basis, spec.width)

    def select(self, graphs: Graphs) -> Graphs:
        """Return the graphs with each unordered pair once."""
        return graphs._replace(pairs=half_list(graphs.pairs))

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the embeddings (B, width), of any length."""
        offset = (graph.distance.unsqueeze(1) - self.centers) / self.gaussian_width
        bonds = torch.exp(-offset.square())
        atoms = self.element_layer(graph.numbers)
        for convolution in self.convolutions:
            atoms = convolution(atoms, graph.edge_index, bonds)
        hidden = silu(self.hidden_layer(graph.mean_over_atoms(atoms)))
        return self.output_layer(hidden)


class GatedConvolution(nn.Module):
    """Atoms plus the normalised sum of their gated messages, then SiLU."""

    def __init__(self, width: int, bond_width: int) -> None:
        super().__init__()
        self.center_layer = nn.Linear(width, 2 * width, bias=False)
        self.neighbor_layer = nn.Linear(width, 2 * width, bias=False)
        self.bond_layer = nn.Linear(bond_width, 2 * width)
        self.norm = BatchNorm(width)

    def forward(self, atoms: Tensor, edge_index: Tensor, bonds: Tensor) -> Tensor:
        """Return the atoms (N, width) after messages along both directions of the U pairs."""
        first, second = edge_index
        center, neighbor = self.center_layer(atoms), self.neighbor_layer(atoms)
        bond = self.bond_layer(bonds)
        received = torch.zeros_like(atoms)
        for to, source in ((first, second), (second, first)):
            gate, value = (center[to] + neighbor[source] + bond).chunk(2, dim=1)
            received = received.index_add(0, to, torch.sigmoid(gate) * softplus(value))
        return silu(atoms + self.norm(received))
