"""What graph networks have in common: atoms exchange messages, and their mean is the crystal.

A graph network is a file that says how atoms begin and how they aggregate; this one turns graphs
into tensors before, and the crystals' means into the last hidden layer after.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.representation import GraphRepresentation
from emrl_ray.networks.base import Network
from emrl_ray.networks.batch import AtomGraph

AGGREGATIONS = 3
"""Layers that exchange messages (SI section 4)."""
EDGES_AT_ONCE = 65_536
"""Ordered pairs of the crystals that are embedded together; what a crystal has beyond is its own."""


class GraphNetwork(Network):
    """A network on atoms and edges; `encode` is what its kinds differ in."""

    @abstractmethod
    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""

    def forward(self, graphs: Graphs, weights: Tensor) -> Tensor:
        """Return the last hidden layer (1, B, width) of B crystals with the pairs that `select` leaves.

        `weights` (1, B) are ones: the batch statistics count every crystal once.
        """
        parameter = next(self.parameters())
        graph = AtomGraph.from_graphs(graphs, parameter.device, parameter.dtype)
        return self.encode(graph).unsqueeze(0)

    def compile(self, threads: int = 1) -> TorchRepresentation:  # type: ignore[override]
        """Return the network in the form for inference."""
        return TorchRepresentation(self, threads)


class TorchRepresentation(GraphRepresentation):
    """A trained graph network as a map from crystals to vectors, run by torch."""

    def __init__(self, network: GraphNetwork, threads: int = 1) -> None:
        """Take the network over, in evaluation mode, with `threads` threads of torch."""
        self.network = network.eval()
        self.threads = threads

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return self.network.width

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return (B, width); a crystal without a pair within the cutoff gets a row of NaN."""
        return self.embed_graphs(Graphs.from_crystals(batch, self.network.cutoff))

    def embed_graphs(self, graphs: Graphs) -> NDArray[np.float32]:
        """Return (B, width) of graphs whose cutoff is the network's, a budget of edges at a time."""
        embeddings = np.full((graphs.n_crystals, self.width), np.nan, np.float32)
        paired = np.flatnonzero(graphs.pairs.n_pairs)
        chunk = np.cumsum(graphs.pairs.n_pairs[paired]) // EDGES_AT_ONCE
        for crystals in np.split(paired, np.flatnonzero(np.diff(chunk)) + 1):
            part = self.network.select(graphs.take(crystals))
            with torch.no_grad(), _threads(self.threads):
                found = self.network(part, torch.ones(1, part.n_crystals))[0]
            embeddings[crystals] = found.float().numpy(force=True)
        return embeddings


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class DenseReadout(nn.Module):
    """The first of the two dense layers after the aggregation: crystals to the last hidden layer."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, width)

    def forward(self, crystals: Tensor) -> Tensor:
        """Return (B, width) of (B, features)."""
        return nn.functional.softplus(self.layer(crystals))
