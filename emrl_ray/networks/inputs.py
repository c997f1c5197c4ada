"""Graphs as tensors on a device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import unordered


class PairInput(NamedTuple):
    """U unordered pairs of B crystals, all that a pair network reads."""

    first: Tensor
    """(U,) int64 atomic number of one atom."""
    second: Tensor
    """(U,) int64 atomic number of the other."""
    distance: Tensor
    """(U,) Å."""
    bounds: Tensor
    """(B + 1,) int64 first unordered pair of each crystal."""

    @classmethod
    def from_graphs(
        cls,
        graphs: Graphs,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> PairInput:
        """Return the pairs of `graphs` on `device`, distances as `dtype`."""
        index, bounds = unordered(graphs.pairs)
        first = graphs.atomic_numbers[graphs.pairs.center[index]]
        second = graphs.atomic_numbers[graphs.pairs.neighbor[index]]
        return cls(
            torch.from_numpy(first.astype(np.int64)).to(device),
            torch.from_numpy(second.astype(np.int64)).to(device),
            torch.from_numpy(graphs.pairs.distance[index]).to(device, dtype),
            torch.from_numpy(bounds).to(device),
        )
