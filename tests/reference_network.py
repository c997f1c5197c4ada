"""The embedding network in its plain, slow form: the oracle of the factorised one."""

import numpy as np
import torch
from torch import nn

from emrl_ray.features.basis import gaussian_basis
from emrl_ray.features.graphs import Graphs


class PlainTGNN(nn.Module):
    """Every pair's features written out, torch's own batch norm, one crystal's mean at a time."""

    def __init__(self, elements: np.ndarray, cutoff: float, basis: str, width: int = 128) -> None:
        super().__init__()
        gaussians = gaussian_basis(basis, cutoff)
        self.elements = torch.from_numpy(elements)
        self.centers, self.gaussian_width = torch.from_numpy(gaussians.centers), gaussians.width
        self.element_layer = nn.Linear(elements.shape[1], 128)
        self.bond_layer = nn.Linear(len(gaussians.centers), 64)
        self.pair_layer = nn.Linear(320, 256)
        self.pair_norm = nn.BatchNorm1d(256)
        self.readout_layer = nn.Linear(256, width)
        self.hidden_layer = nn.Linear(width, width)
        self.hidden_norm = nn.BatchNorm1d(width)
        self.output_layer = nn.Linear(width, width)

    def forward(self, graphs: Graphs) -> torch.Tensor:
        """Return (B, width) embeddings in the precision of the parameters."""
        dtype = self.pair_layer.weight.dtype
        numbers = torch.from_numpy(graphs.atomic_numbers.astype(np.int64))
        atoms = torch.relu(self.element_layer(self.elements.to(dtype)[numbers]))
        distance = torch.from_numpy(graphs.pairs.distance).to(dtype).unsqueeze(1)
        offset = (distance - self.centers.to(dtype)) / self.gaussian_width
        bonds = torch.relu(self.bond_layer(torch.exp(-offset.square())))
        center = torch.from_numpy(graphs.pairs.center.astype(np.int64))
        neighbor = torch.from_numpy(graphs.pairs.neighbor.astype(np.int64))
        pairs = torch.cat([atoms[center], atoms[neighbor], bonds], dim=1)
        pairs = self.readout_layer(torch.relu(self.pair_norm(self.pair_layer(pairs))))
        crystals = torch.stack(
            [part.mean(0) for part in pairs.split(graphs.pairs.n_pairs.tolist())]
        )
        hidden = torch.relu(self.hidden_norm(self.hidden_layer(crystals)))
        output = self.output_layer(hidden)
        return output / output.norm(dim=1, keepdim=True)


def plain_twin(network: nn.Module, elements: np.ndarray, basis: str) -> PlainTGNN:
    """Return a plain network with the parameters, statistics and precision of a factorised one."""
    twin = PlainTGNN(elements, network.cutoff, basis, network.width)
    twin.to(network.pair_layer.weight.dtype).train(network.training)
    missing = twin.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return twin
