"""Graphs as tensors on a device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emrl_ray.features.graphs import Graphs
from emrl_ray.features.unique_pairs import unique_pairs


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
        pairs = unique_pairs(graphs)
        return cls(
            torch.from_numpy(pairs.first).to(device),
            torch.from_numpy(pairs.second).to(device),
            torch.from_numpy(pairs.distance).to(device, dtype),
            torch.from_numpy(pairs.times).to(device, dtype),
            torch.from_numpy(pairs.bounds).to(device),
            torch.from_numpy(graphs.pairs.n_pairs).unsqueeze(1).to(device),
        )


class AtomGraph(NamedTuple):
    """N atoms of B crystals and the P edges between them: what a graph network reads."""

    numbers: Tensor
    """(N,) int64 atomic numbers."""
    edge_index: Tensor
    """(2, P) int64: the neighbor, from which a message comes, and the center that it goes to."""
    distance: Tensor
    """(P,) Å."""
    crystal: Tensor
    """(N,) int64 crystal of each atom, ascending."""
    n_crystals: int
    """B."""

    @classmethod
    def from_graphs(
        cls,
        graphs: Graphs,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> AtomGraph:
        """Return the atoms and ordered pairs of `graphs` on `device`, distances as `dtype`."""
        pairs = graphs.pairs
        edges = np.stack([pairs.neighbor, pairs.center]).astype(np.int64)
        crystal = np.repeat(np.arange(graphs.n_crystals), np.diff(graphs.atom_offsets))
        return cls(
            torch.from_numpy(graphs.atomic_numbers.astype(np.int64)).to(device),
            torch.from_numpy(edges).to(device),
            torch.from_numpy(np.asarray(pairs.distance)).to(device, dtype),
            torch.from_numpy(crystal).to(device),
            graphs.n_crystals,
        )

    def mean_over_atoms(self, atoms: Tensor) -> Tensor:
        """Return the means (B, F) of (N, F) over each crystal's atoms."""
        sums = atoms.new_zeros((self.n_crystals, atoms.shape[1])).index_add(0, self.crystal, atoms)
        counts = torch.bincount(self.crystal, minlength=self.n_crystals)
        return sums / counts.unsqueeze(1)
