"""MEGNet: atoms, bonds and a global state update one another, read out by set2set (Chen et al. 2019)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import Set2Set
from torch_geometric.nn.models.schnet import ShiftedSoftplus

from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.batch import AtomGraph
from emrl_ray.networks.message_passing import AGGREGATIONS, DenseReadout, GraphNetwork

ELEMENT_WIDTH = 16
STATE_WIDTH = 2
"""Of the global state, which is 0 where nothing is known but the structure."""
HIDDEN_WIDTH = 64
WIDTH = 32
"""Of atoms, bonds and state between the blocks."""
GAUSSIANS = 100
GAUSSIAN_WIDTH = 0.5
"""Å."""
SET2SET_STEPS = 3
Parts = tuple[Tensor, Tensor, Tensor]
"""Atoms (N, F), bonds (P, F) and states (B, F)."""


class MEGNet(GraphNetwork):
    """Three MEGNet blocks on learned elements and Gaussian bonds, set2set, dense layer.

    Each block comes after dense layers; what it adds, it adds to what stood before these, but for
    the first block, whose dense layers bring atoms, bonds and state to one width.
    """

    centers: Tensor

    def __init__(self, cutoff: float, width: int) -> None:
        """Make a network for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        centers = torch.from_numpy(np.linspace(0, cutoff, GAUSSIANS)).float()
        self.register_buffer("centers", centers, persistent=False)
        self.element_layer = nn.Embedding(MAX_ATOMIC_NUMBER + 1, ELEMENT_WIDTH)
        self.first_dense = DenseLayers(ELEMENT_WIDTH, GAUSSIANS, STATE_WIDTH)
        self.first_block = Block()
        self.dense = nn.ModuleList(
            DenseLayers(WIDTH, WIDTH, WIDTH) for _ in range(AGGREGATIONS - 1)
        )
        self.blocks = nn.ModuleList(Block() for _ in range(AGGREGATIONS - 1))
        self.atom_readout = Set2Set(WIDTH, SET2SET_STEPS)
        self.bond_readout = Set2Set(WIDTH, SET2SET_STEPS)
        self.readout = DenseReadout(5 * WIDTH, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> MEGNet:
        """Return the untrained network of a specification; it learns its elements itself."""
        return cls(spec.cutoff, spec.width)

    def encode(self, graph: AtomGraph) -> Tensor:
        """Return the last hidden layer (B, width)."""
        offset = (graph.distance.unsqueeze(1) - self.centers) / GAUSSIAN_WIDTH
        atoms, bonds = self.element_layer(graph.numbers), torch.exp(-offset.square())
        state = atoms.new_zeros(graph.n_crystals, STATE_WIDTH)
        parts = self.first_dense(atoms, bonds, state)
        parts = _sums(parts, self.first_block(*parts, graph))
        for dense, block in zip(self.dense, self.blocks, strict=True):
            parts = _sums(parts, block(*dense(*parts), graph))
        atoms, bonds, state = parts
        of_bond = graph.crystal[graph.edge_index[1]]
        pooled = [
            self.atom_readout(atoms, graph.crystal, dim_size=graph.n_crystals),
            self.bond_readout(bonds, of_bond, dim_size=graph.n_crystals),
            state,
        ]
        return self.readout(torch.cat(pooled, dim=1))


class DenseLayers(nn.Module):
    """Two dense layers each for atoms, bonds and state."""

    def __init__(self, atoms: int, bonds: int, state: int) -> None:
        super().__init__()
        self.atom_layer = _dense(atoms, HIDDEN_WIDTH, WIDTH)
        self.bond_layer = _dense(bonds, HIDDEN_WIDTH, WIDTH)
        self.state_layer = _dense(state, HIDDEN_WIDTH, WIDTH)

    def forward(self, atoms: Tensor, bonds: Tensor, state: Tensor) -> Parts:
        """Return atoms (N, 32), bonds (P, 32) and states (B, 32)."""
        return self.atom_layer(atoms), self.bond_layer(bonds), self.state_layer(state)


class Block(nn.Module):
    """Updates of bonds, atoms and state, each from the new ones before it."""

    def __init__(self) -> None:
        super().__init__()
        self.bond_source = nn.Linear(WIDTH, HIDDEN_WIDTH, bias=False)
        self.bond_target = nn.Linear(2 * WIDTH, HIDDEN_WIDTH)
        self.bond_own = nn.Linear(WIDTH, HIDDEN_WIDTH, bias=False)
        self.activation = ShiftedSoftplus()
        self.bond_layer = _dense(HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.atom_layer = _dense(3 * WIDTH, HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.state_layer = _dense(3 * WIDTH, HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)

    def forward(self, atoms: Tensor, bonds: Tensor, state: Tensor, graph: AtomGraph) -> Parts:
        """Return the updates of atoms (N, 32), bonds (P, 32) and states (B, 32).

        A bond's first layer acts on both atoms, itself and the state; the atoms' and the state's
        parts of that product are taken once an atom.
        """
        source, target = graph.edge_index
        own_state = state.index_select(0, graph.crystal)
        of_source = self.bond_source(atoms)
        of_target = self.bond_target(torch.cat([atoms, own_state], dim=1))
        of_atoms = of_source.index_select(0, source) + of_target.index_select(0, target)
        bonds = self.bond_layer(self.activation(of_atoms + self.bond_own(bonds)))
        around = _means(bonds, target, len(atoms))
        atoms = self.atom_layer(torch.cat([around, atoms, own_state], dim=1))
        of_bonds = _means(bonds, graph.crystal[target], len(state))
        of_atoms = _means(atoms, graph.crystal, len(state))
        return atoms, bonds, self.state_layer(torch.cat([of_bonds, of_atoms, state], dim=1))


def _sums(parts: Parts, added: Parts) -> Parts:
    atoms, bonds, state = (part + more for part, more in zip(parts, added, strict=True))
    return atoms, bonds, state


def _means(rows: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return the means (groups, F) of rows (n, F); 0 for a group without rows."""
    sums = rows.new_zeros((groups, rows.shape[1])).index_add(0, group, rows)
    return sums / torch.bincount(group, minlength=groups).clamp_min(1).unsqueeze(1)


def _dense(*widths: int) -> nn.Sequential:
    """Return dense layers of these widths, ln (eˣ/2 + 1/2) after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ShiftedSoftplus()]
    return nn.Sequential(*layers)
