"""MEGNet: atoms, bonds and a global state update one another, read out by set2set (Chen et al. 2019)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch_geometric.nn import Set2Set

from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.networks.graph_network import AGGREGATIONS, DenseReadout, GraphNetwork
from emrl_ray.networks.inputs import AtomGraph
from emrl_ray.networks.network import NetworkSpec

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


class MEGNet(GraphNetwork):
    """Three MEGNet blocks on learned elements and Gaussian bonds, set2set, dense layer."""

    centers: Tensor

    def __init__(self, cutoff: float, width: int) -> None:
        """Make a network for pairs up to `cutoff` (Å)."""
        super().__init__()
        self.cutoff, self.width = cutoff, width
        centers = torch.from_numpy(np.linspace(0, cutoff, GAUSSIANS)).float()
        self.register_buffer("centers", centers, persistent=False)
        self.element_layer = nn.Embedding(MAX_ATOMIC_NUMBER + 1, ELEMENT_WIDTH)
        self.atom_layer = _dense(ELEMENT_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.bond_layer = _dense(GAUSSIANS, HIDDEN_WIDTH, WIDTH)
        self.state_layer = _dense(STATE_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(AGGREGATIONS))
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
        bonds = self.bond_layer(torch.exp(-offset.square()))
        atoms = self.atom_layer(self.element_layer(graph.numbers))
        state = self.state_layer(atoms.new_zeros(graph.n_crystals, STATE_WIDTH))
        for block in self.blocks:
            new = block(atoms, bonds, state, graph)
            atoms, bonds, state = atoms + new[0], bonds + new[1], state + new[2]
        of_bond = graph.crystal[graph.edge_index[1]]
        pooled = [
            self.atom_readout(atoms, graph.crystal, dim_size=graph.n_crystals),
            self.bond_readout(bonds, of_bond, dim_size=graph.n_crystals),
            state,
        ]
        return self.readout(torch.cat(pooled, dim=1))


class Block(nn.Module):
    """Updates of bonds, atoms and state, each from the new ones before it."""

    def __init__(self) -> None:
        super().__init__()
        self.bond_source = nn.Linear(WIDTH, HIDDEN_WIDTH, bias=False)
        self.bond_target = nn.Linear(2 * WIDTH, HIDDEN_WIDTH)
        self.bond_own = nn.Linear(WIDTH, HIDDEN_WIDTH, bias=False)
        self.bond_layer = _dense(HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.atom_layer = _dense(3 * WIDTH, HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)
        self.state_layer = _dense(3 * WIDTH, HIDDEN_WIDTH, HIDDEN_WIDTH, WIDTH)

    def forward(
        self, atoms: Tensor, bonds: Tensor, state: Tensor, graph: AtomGraph
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the updates of atoms (N, 32), bonds (P, 32) and states (B, 32).

        A bond's first layer acts on both atoms, itself and the state; the atoms' and the state's
        parts of that product are taken once an atom.
        """
        source, target = graph.edge_index
        own_state = state.index_select(0, graph.crystal)
        of_source = self.bond_source(atoms)
        of_target = self.bond_target(torch.cat([atoms, own_state], dim=1))
        of_atoms = of_source.index_select(0, source) + of_target.index_select(0, target)
        bonds = self.bond_layer(softplus(of_atoms + self.bond_own(bonds)))
        around = _means(bonds, target, len(atoms))
        atoms = self.atom_layer(torch.cat([around, atoms, own_state], dim=1))
        of_bonds = _means(bonds, graph.crystal[target], len(state))
        of_atoms = _means(atoms, graph.crystal, len(state))
        return atoms, bonds, self.state_layer(torch.cat([of_bonds, of_atoms, state], dim=1))


def _means(rows: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return the means (groups, F) of rows (n, F); 0 for a group without rows."""
    sums = rows.new_zeros((groups, rows.shape[1])).index_add(0, group, rows)
    return sums / torch.bincount(group, minlength=groups).clamp_min(1).unsqueeze(1)


def _dense(*widths: int) -> nn.Sequential:
    """Return dense layers of these widths, softplus after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Softplus()]
    return nn.Sequential(*layers)
