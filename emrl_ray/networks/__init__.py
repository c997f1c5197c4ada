"""Embedding networks: one a file, and the registry of their names."""

from __future__ import annotations

from typing import Any

from torch import nn

from emrl_ray.networks.tgnn import TGNN

NETWORKS: dict[str, type[Any]] = {"tgnn": TGNN}
"""Embedding networks by name; a new one is a file here, or one line in the user's own code."""


def network_type(name: str) -> type[nn.Module]:
    """Return the network registered under `name`; ValueError, in one line, if there is none."""
    if name not in NETWORKS:
        raise ValueError(f"--network {name}: choose from {', '.join(NETWORKS)}")
    return NETWORKS[name]
