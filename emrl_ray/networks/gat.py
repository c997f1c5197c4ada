"""GAT: attention among the atoms within the cutoff (Veličković et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import GATConv

from emrl_ray.networks.layers.adjacency import AdjacencyNetwork

ATTENTION_HEADS = 4


class GAT(AdjacencyNetwork):
    """Means over the neighbours, weighted by attention of four heads."""

    def aggregation(self, before: int, after: int) -> nn.Module:
        """Return an attention layer, the outputs of its heads side by side."""
        width = after // ATTENTION_HEADS
        return GATConv(before, width, ATTENTION_HEADS, add_self_loops=False)

    def activation(self, atoms: Tensor) -> Tensor:
        """Return ELU."""
        return nn.functional.elu(atoms)
