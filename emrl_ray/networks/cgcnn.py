"""CGCNN: gated convolutions on the twelve nearest neighbours (Xie and Grossman 2018)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch_geometric.nn import CGConv

from emrl_ray.features.basis import gaussians_every
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.nearest_pairs import nearest_pairs
from emrl_ray.features.one_hot import one_hot_elements
from emrl_ray.networks.batch_norm import BatchNorm
from emrl_ray.networks.graph_network import AGGREGATIONS, DenseReadout, GraphNetwork
from emrl_ray.networks.inputs import AtomGraph
from emrl_ray.networks.network import NetworkSpec

ATOM_WIDTH = 64
NEIGHBORS = 12
GRID_STEP = 0.2
"""Å between the Gaussians, and their width."""


class CGCNN(GraphNetwork):
    """Three crystal graph convolutions on one-hot elements, mean over the atoms, dense layer."""

    elements: Tensor
    centers: Tensor

    def __init__(self, elements: NDArray[np.float64], cutoff: float, width: int) -> None:
        """Make a network from (119, F) features by atomic number, for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        centers = gaussians_every(GRID_STEP, cutoff).centers
        self.register_buffer("elements", torch.from_numpy(elements).float(), persistent=False)
        self.register_buffer("centers", torch.from_numpy(centers).float(), persistent=False)
        self.atom_layer = nn.Linear(elements.shape[1], ATOM_WIDTH)
        self.convolutions = nn.ModuleList(
            CGConv(ATOM_WIDTH, len(centers), batch_norm=True) for _ in range(AGGREGATIONS)
        )
        for convolution in self.convolutions:
            convolution.bn = BatchNorm(ATOM_WIDTH)  # torch's own knows no other workers
        self.readout = DenseReadout(ATOM_WIDTH, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> CGCNN:
        """Return the untrained network of a specification, with its paper's features of elements."""
        return cls(one_hot_elements(elements_csv), spec.cutoff, spec.width)

    def select(self, graphs: Graphs) -> Graphs:
        """Return the graphs with each atom's twelve nearest neighbours."""
        return nearest_pairs(graphs, NEIGHBORS)

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""
        offset = (graph.distance.unsqueeze(1) - self.centers) / GRID_STEP
        bonds = torch.exp(-offset.square())
        atoms = self.atom_layer(self.elements[graph.numbers])
        for convolution in self.convolutions:
            atoms = softplus(convolution(atoms, graph.edge_index, bonds))
        return self.readout(softplus(graph.mean_over_atoms(atoms)))
