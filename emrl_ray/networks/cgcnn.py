"""CGCNN: gated convolutions on the twelve nearest neighbours (Xie and Grossman 2018)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from emrl_ray.features.distance_basis import gaussians_every
from emrl_ray.features.element_one_hot import one_hot_elements
from emrl_ray.features.graphs import TIE, Graphs, nearest_neighbor_graph
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.batch import AtomGraph
from emrl_ray.networks.layers.batch_norm import BatchNorm
from emrl_ray.networks.message_passing import AGGREGATIONS, DenseReadout, GraphNetwork

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
            CrystalConvolution(ATOM_WIDTH, len(centers)) for _ in range(AGGREGATIONS)
        )
        self.readout = DenseReadout(ATOM_WIDTH, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> CGCNN:
        """Return the untrained network of a specification, with its paper's features of elements."""
        return cls(one_hot_elements(elements_csv), spec.cutoff, spec.width)

    def select(self, graphs: Graphs) -> Graphs:
        """Return the graphs with each atom's twelve nearest neighbours."""
        return nearest_neighbor_graph(graphs, NEIGHBORS)

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""
        offset = (graph.distance.unsqueeze(1) - self.centers) / GRID_STEP
        bonds = torch.exp(-offset.square())
        atoms, weight = self.atom_layer(self.elements[graph.numbers]), shell_weights(graph)
        for convolution in self.convolutions:
            atoms = softplus(convolution(atoms, graph.edge_index, bonds, weight))
        return self.readout(softplus(graph.mean_over_atoms(atoms)))


class CrystalConvolution(nn.Module):
    """Atoms plus the normalised sum of their gated messages, with batch norm before the gate too.

    So the code of its authors has it; torch-geometric's CGConv has none before the gate, and errs on
    formation energies by a seventh more after as many epochs. The layer on [h_i; h_j; e_ij] is
    the sum of three, of which two are computed once an atom.
    """

    def __init__(self, width: int, bond_width: int) -> None:
        """Take atoms (N, width) and bonds (P, bond_width)."""
        super().__init__()
        self.center_layer = nn.Linear(width, 2 * width, bias=False)
        self.neighbor_layer = nn.Linear(width, 2 * width, bias=False)
        self.bond_layer = nn.Linear(bond_width, 2 * width, bias=False)
        self.message_norm = BatchNorm(2 * width)
        self.sum_norm = BatchNorm(width)

    def forward(self, atoms: Tensor, edge_index: Tensor, bonds: Tensor, weight: Tensor) -> Tensor:
        """Return the atoms (N, width) after their neighbours' messages, each times its weight (P, 1)."""
        neighbor, center = edge_index
        of_center = self.center_layer(atoms).index_select(0, center)
        of_neighbor = self.neighbor_layer(atoms).index_select(0, neighbor)
        messages = self.message_norm(of_center + of_neighbor + self.bond_layer(bonds))
        gate, core = messages.chunk(2, dim=-1)
        messages = weight * torch.sigmoid(gate) * softplus(core)
        return atoms + self.sum_norm(torch.zeros_like(atoms).index_add(0, center, messages))


def shell_weights(graph: AtomGraph) -> Tensor:
    """Return the weights (P, 1) with which an atom's neighbours add up to twelve.

    Those of the last shell, which `nearest_neighbor_graph` keeps whole, share what the nearer ones leave: the
    sum that twelve of them drawn at random would have on average. Other weights are 1.
    """
    center, n_atoms = graph.edge_index[1], len(graph.numbers)
    none = graph.distance.new_zeros(n_atoms)
    farthest = none.scatter_reduce(0, center, graph.distance, "amax")
    last = graph.distance >= farthest[center] - TIE
    n_last = none.index_add(0, center, last.to(none.dtype))
    count = torch.bincount(center, minlength=n_atoms)
    share = ((NEIGHBORS - count + n_last) / n_last).clamp(0, 1)
    return torch.where(last, share[center], 1.0).unsqueeze(1)
