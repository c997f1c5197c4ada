"""Graphs as tensors on a device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from emrl_ray.features.distinct import distinct_pairs
from emrl_ray.features.graphs import Graphs


class PairInput(NamedTuple):
    """U distinct unordered pairs of B crystals, all that a pair network reads."""

    first: Tensor
    """(U,) int64 atomic number of one atom."""
    second: Tensor
    """(U,) int64 atomic number of the other."""
    distance: Tensor
    """(U,) Å."""
    times: Tensor
    """(U,) how many unordered pairs it stands for."""
    bounds: Tensor
    """(B + 1,) int64 first distinct pair of each crystal."""
    n_pairs: Tensor
    """(B, 1) int64 ordered pairs of each crystal."""

    @classmethod
    def from_graphs(
        cls,
        graphs: Graphs,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> PairInput:
        """Return the pairs of `graphs` on `device`, distances and counts as `dtype`."""
        pairs = distinct_pairs(graphs)
        return cls(
            torch.from_numpy(pairs.first).to(device),
            torch.from_numpy(pairs.second).to(device),
            torch.from_numpy(pairs.distance).to(device, dtype),
            torch.from_numpy(pairs.times).to(device, dtype),
            torch.from_numpy(pairs.bounds).to(device),
            torch.from_numpy(graphs.pairs.n_pairs).unsqueeze(1).to(device),
        )
