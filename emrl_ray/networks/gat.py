"""GAT: attention among the atoms within the cutoff, blind to distance (Veličković et al. 2018)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import GATConv

from emrl_ray.features.elements import element_features
from emrl_ray.networks.gcn import with_self_loops
from emrl_ray.networks.graph_network import AGGREGATIONS, DenseReadout, GraphNetwork
from emrl_ray.networks.inputs import AtomGraph
from emrl_ray.networks.network import NetworkSpec

ATOM_WIDTH = 128
ATTENTION_HEADS = 4


class GAT(GraphNetwork):
    """Three attention layers of four heads on element properties, mean over the atoms, dense layer."""

    elements: Tensor

    def __init__(self, elements: NDArray[np.float64], cutoff: float, width: int) -> None:
        """Make a network from (119, F) features by atomic number, for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        self.register_buffer("elements", torch.from_numpy(elements).float(), persistent=False)
        widths = [elements.shape[1]] + [ATOM_WIDTH] * AGGREGATIONS
        self.convolutions = nn.ModuleList(
            GATConv(before, after // ATTENTION_HEADS, ATTENTION_HEADS, add_self_loops=False)
            for before, after in pairwise(widths)
        )
        self.readout = DenseReadout(ATOM_WIDTH, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> GAT:
        """Return the untrained network of a specification."""
        return cls(element_features(elements_csv, spec.elements), spec.cutoff, spec.width)

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""
        edges = with_self_loops(graph)
        atoms = self.elements[graph.numbers]
        for convolution in self.convolutions:
            atoms = nn.functional.elu(convolution(atoms, edges))
        return self.readout(graph.mean_over_atoms(atoms))
