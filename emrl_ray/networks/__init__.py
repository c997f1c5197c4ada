"""Embedding networks: one a file, and the registry of their names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError, one_line
from emrl_ray.config.plugins import resolve_plugin
from emrl_ray.features.representation import GraphRepresentation
from emrl_ray.networks.base import Network, NetworkSpec
from emrl_ray.networks.cgcnn import CGCNN
from emrl_ray.networks.cgconv import CGConvNetwork
from emrl_ray.networks.gat import GAT
from emrl_ray.networks.gcn import GCN
from emrl_ray.networks.megnet import MEGNet
from emrl_ray.networks.tgnn import TGNN

NETWORKS: dict[str, type[Network]] = {
    "tgnn": TGNN,
    "gcn": GCN,
    "gat": GAT,
    "cgcnn": CGCNN,
    "megnet": MEGNet,
    "cgconv": CGConvNetwork,
}
"""Embedding networks by name; a new one is a file and a line here, or MODULE:NAME of code elsewhere."""


def network_type(name: str, option: str = "--network") -> type[Network]:
    """Return the network of that name, or at MODULE:NAME; UserError, in one line, if there is none."""
    found = resolve_plugin(NETWORKS, name, option)
    if not (isinstance(found, type) and issubclass(found, Network)):
        raise UserError(f"{option} {name}: is no Network")
    return found


def open_trained(
    name: str, spec: NetworkSpec, state: Mapping[str, NDArray], elements_csv: bytes, threads: int
) -> GraphRepresentation:
    """Return a network with trained weights in its form for inference.

    Raises UserError, in one line, if the weights are of another network.
    """
    network = network_type(name, "the model's network").from_spec(spec, elements_csv)
    try:
        network.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    except RuntimeError as error:  # what torch raises for names and shapes that do not fit
        raise UserError(f"network {name}: {one_line(error)}") from None
    return network.compile(threads)
