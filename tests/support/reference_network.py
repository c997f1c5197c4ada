"""The embedding network in its plain, slow form: the oracle of the factorised one."""

import numpy as np
import torch
from torch import nn

from benchmarks.common.plain_network import PlainTGNN, pair_rows
from emrl_ray.features.distance_basis import gaussian_basis
from emrl_ray.features.graphs import Graphs


class GraphTGNN(PlainTGNN):
    """The plain network on graphs: every pair's features are written out for it."""

    def __init__(self, elements: np.ndarray, cutoff: float, basis: str, width: int = 128) -> None:
        gaussians = gaussian_basis(basis, cutoff)
        super().__init__(elements.shape[1], len(gaussians.centers), width)
        self.elements = torch.from_numpy(elements)
        self.centers, self.gaussian_width = torch.from_numpy(gaussians.centers), gaussians.width

    def forward(self, graphs: Graphs) -> torch.Tensor:
        """Return (B, width) embeddings in the precision of the parameters."""
        dtype = self.pair_layer.weight.dtype
        features = self.elements.to(dtype), self.centers.to(dtype), self.gaussian_width
        rows = pair_rows(graphs.atomic_numbers, graphs.pairs, *features)
        return super().forward(rows, graphs.pairs.n_pairs.tolist())


def plain_twin(network: nn.Module, elements: np.ndarray, basis: str) -> GraphTGNN:
    """Return a plain network with the parameters, statistics and precision of a factorised one."""
    twin = GraphTGNN(elements, network.cutoff, basis, network.width)
    twin.to(network.pair_layer.weight.dtype).train(network.training)
    missing = twin.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return twin
