"""The embedding network in its plain form: every pair's features written out, torch's own layers.

The tests hold the factorised network to it, and the benchmarks time it as the usual way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrl_ray.features.pairs import Pairs


class PlainTGNN(nn.Module):
    """Na 2022, SI section 2, as written: a network on rows [x_i, x_j, rbf(d)], one a pair."""

    def __init__(self, n_properties: int, n_gaussians: int, width: int = 128) -> None:
        """Make a network for `n_properties` an element and `n_gaussians` a distance."""
        super().__init__()
        self.parts = [n_properties, n_properties, n_gaussians]
        self.element_layer = nn.Linear(n_properties, 128)
        self.bond_layer = nn.Linear(n_gaussians, 64)
        self.pair_layer = nn.Linear(320, 256)
        self.pair_norm = nn.BatchNorm1d(256)
        self.readout_layer = nn.Linear(256, width)
        self.hidden_layer = nn.Linear(width, width)
        self.hidden_norm = nn.BatchNorm1d(width)
        self.output_layer = nn.Linear(width, width)

    def forward(self, rows: Tensor, n_pairs: Sequence[int]) -> Tensor:
        """Return the embeddings (B, width) of B crystals with `n_pairs` of the rows each."""
        center, neighbor, gaussians = rows.split(self.parts, dim=1)
        center = torch.relu(self.element_layer(center))
        neighbor = torch.relu(self.element_layer(neighbor))
        bonds = torch.relu(self.bond_layer(gaussians))
        pairs = self.pair_layer(torch.cat([center, neighbor, bonds], dim=1))
        pairs = self.readout_layer(torch.relu(self.pair_norm(pairs)))
        crystals = torch.stack([part.mean(dim=0) for part in pairs.split(list(n_pairs))])
        hidden = torch.relu(self.hidden_norm(self.hidden_layer(crystals)))
        output = self.output_layer(hidden)
        return output / output.norm(dim=1, keepdim=True)


def pair_rows(
    atomic_numbers: NDArray[np.uint8],
    pairs: Pairs,
    elements: Tensor,
    centers: Tensor,
    gaussian_width: float,
) -> Tensor:
    """Return the rows (P, 2F + G) of pairs that are known.

    `elements` (119, F) are features by atomic number, `centers` (G,) those of the Gaussians, Å, both
    in the precision of the rows.
    """
    numbers = torch.from_numpy(atomic_numbers.astype(np.int64))
    center = numbers[torch.from_numpy(pairs.center.astype(np.int64))]
    neighbor = numbers[torch.from_numpy(pairs.neighbor.astype(np.int64))]
    distance = torch.from_numpy(pairs.distance).to(centers.dtype).unsqueeze(1)
    gaussians = torch.exp(-((distance - centers) / gaussian_width).square())
    return torch.cat([elements[center], elements[neighbor], gaussians], dim=1)
