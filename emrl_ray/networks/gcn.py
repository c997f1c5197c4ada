"""GCN: graph convolutions on the atoms within the cutoff (Kipf and Welling 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from emrl_ray.networks.layers.adjacency import AdjacencyNetwork


class GCN(AdjacencyNetwork):
    """Sums over the neighbours, each divided by the root of both atoms' numbers of neighbours."""

    def aggregation(self, before: int, after: int) -> nn.Module:
        """Return a graph convolution."""
        return GCNConv(before, after, add_self_loops=False)

    def activation(self, atoms: Tensor) -> Tensor:
        """Return ReLU."""
        return torch.relu(atoms)
