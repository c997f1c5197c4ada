"""Graph networks that are blind to distance: who is within the cutoff is all they know."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.features.element_properties import element_features
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.batch import AtomGraph
from emrl_ray.networks.message_passing import AGGREGATIONS, DenseReadout, GraphNetwork

ATOM_WIDTH = 128


class AdjacencyNetwork(GraphNetwork):
    """Three aggregations of element properties, mean over the atoms, dense layer."""

    elements: Tensor

    def __init__(self, elements: NDArray[np.float64], cutoff: float, width: int) -> None:
        """Make a network from (119, F) features by atomic number, for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        self.register_buffer("elements", torch.from_numpy(elements).float(), persistent=False)
        widths = [elements.shape[1]] + [ATOM_WIDTH] * AGGREGATIONS
        self.aggregations = nn.ModuleList(
            self.aggregation(before, after) for before, after in pairwise(widths)
        )
        self.readout = DenseReadout(ATOM_WIDTH, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> Self:
        """Return the untrained network of a specification."""
        return cls(element_features(elements_csv, spec.elements), spec.cutoff, spec.width)

    @abstractmethod
    def aggregation(self, before: int, after: int) -> nn.Module:
        """Return a layer from atoms (N, before) and edges (2, P) to atoms (N, after)."""

    @abstractmethod
    def activation(self, atoms: Tensor) -> Tensor:
        """Return what follows each aggregation."""

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""
        edges = with_self_loops(graph)
        atoms = self.elements[graph.numbers]
        for aggregation in self.aggregations:
            atoms = self.activation(aggregation(atoms, edges))
        return self.readout(graph.mean_over_atoms(atoms))


def with_self_loops(graph: AtomGraph) -> Tensor:
    """Return the edges (2, P + N), each atom's with itself last.

    Beside those with its own images, which torch-geometric would take for such loops: a supercell
    has fewer of them.
    """
    own = torch.arange(len(graph.numbers), device=graph.numbers.device)
    return torch.cat([graph.edge_index, own.expand(2, -1)], dim=1)
