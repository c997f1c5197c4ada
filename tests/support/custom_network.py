"""A network and a loss as code outside the package has them: named tests.support.custom_network:NAME."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emrl_ray.features.graphs import Graphs
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.batch import AtomGraph
from emrl_ray.networks.message_passing import GraphNetwork
from emrl_ray.training.losses import Loss, Outputs


class MeanDistance(GraphNetwork):
    """A dense layer on two numbers of a crystal: mean atomic number and mean pair distance."""

    def __init__(self, cutoff: float, width: int) -> None:
        super().__init__()
        self.cutoff, self.width = cutoff, width
        self.layer = nn.Linear(2, width)

    @classmethod
    def from_spec(cls, spec: NetworkSpec, elements_csv: bytes) -> MeanDistance:
        return cls(spec.cutoff, spec.width)

    def encode(self, graph: AtomGraph) -> Tensor:
        atoms = graph.numbers.to(graph.distance.dtype) / 100
        center = graph.edge_index[1]
        pairs = torch.bincount(center, minlength=len(atoms)).clamp_min(1)
        distance = torch.zeros_like(atoms).index_add(0, center, graph.distance) / pairs
        return self.layer(graph.mean_over_atoms(torch.stack([atoms, distance], dim=1)))


class NoHydrogen(MeanDistance):
    """Refuses hydrogen as a worker refuses too many atoms."""

    def select(self, graphs: Graphs) -> Graphs:
        if (graphs.atomic_numbers == 1).any():
            raise OverflowError("more than 0 atoms of hydrogen for one worker")
        return super().select(graphs)


def _half_l1(outputs: Outputs, _: float) -> Tensor:
    return (outputs.predictions - outputs.deviations).abs().mean() / 2


half_l1 = Loss(_half_l1, readout=True)
no_loss = _half_l1
