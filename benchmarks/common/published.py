"""The published pipeline's way from a CIF to a prediction, and its training step, written plainly.

Stage by stage as the paper (Na 2022) and its Supporting Information describe it, with the libraries that it used: pymatgen reads
the file and finds the neighbours, a Python loop writes the features of each pair, torch computes
the dense network on 32 crystals at a time, and the head predicts 32 rows a call. It is the usual
way and meant well: neither tuned nor slowed down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Structure
from torch import Tensor

from benchmarks.common.plain_network import PlainTGNN
from benchmarks.common.timing import Stopwatch
from emrl_ray.features.distance_basis import GaussianBasis
from emrl_ray.training.losses import Triplets, emrl_loss

BATCH = 32
"""Crystals that are embedded, and rows that are predicted, together."""
READ, NEIGHBORS, FEATURES, EMBED, HEAD = (
    *("CIF → structure", "neighbours", "pair features"),
    *("embedding", "head"),
)
"""The stages of `predict_files`."""


class PairRows(NamedTuple):
    """The P ordered pairs of one crystal as the dense network reads them."""

    index: NDArray[np.int64]
    """(P, 2) atoms i and j."""
    rows: Tensor
    """(P, 2F + G) float32 [x_i, x_j, rbf(d)]."""


def read_structure(file: Path) -> Structure:
    """Return the structure in a CIF."""
    return Structure.from_file(file)


def parse_structure(text: str) -> Structure:
    """Return the structure in pymatgen's JSON, the usual form of crystals in a table."""
    return Structure.from_dict(json.loads(text))


def find_neighbors(structure: Structure, cutoff: float) -> list[list[Any]]:
    """Return the periodic neighbours within `cutoff` (Å) of each atom."""
    return structure.get_all_neighbors(cutoff)


def write_features(
    structure: Structure,
    neighbors: list[list[Any]],
    elements: NDArray[np.float64],
    basis: GaussianBasis,
) -> PairRows:
    """Return the features of the pairs, one pair after another.

    `elements` (119, F) are features by atomic number.
    """
    index, rows = [], []
    for i, (site, around) in enumerate(zip(structure, neighbors, strict=True)):
        for neighbor in around:
            x_i, x_j = elements[site.specie.Z], elements[neighbor.specie.Z]
            gaussians = np.exp(-(((neighbor.nn_distance - basis.centers) / basis.width) ** 2))
            index.append((i, neighbor.index))
            rows.append(np.concatenate([x_i, x_j, gaussians]))
    return PairRows(np.array(index), torch.tensor(np.array(rows), dtype=torch.float32))


def embed(network: PlainTGNN, crystals: Sequence[PairRows]) -> Tensor:
    """Return the embeddings (B, width), 32 crystals at a time."""
    network.eval()
    with torch.no_grad():
        return torch.cat(
            [
                _forward(network, crystals[first : first + BATCH])
                for first in range(0, len(crystals), BATCH)
            ]
        )


def predict(
    head: Callable[[NDArray[np.float32]], NDArray], embeddings: NDArray[np.float32]
) -> NDArray:
    """Return the predictions (B,), 32 rows a call."""
    return np.concatenate(
        [head(embeddings[first : first + BATCH]) for first in range(0, len(embeddings), BATCH)]
    )


def predict_files(
    files: Sequence[Path],
    cutoff: float,
    elements: NDArray[np.float64],
    basis: GaussianBasis,
    network: PlainTGNN,
    head: Callable[[NDArray[np.float32]], NDArray],
    watch: Stopwatch,
) -> NDArray:
    """Return the predictions (B,) of CIFs: all stages, one after another."""
    crystals = []
    for file in files:
        with watch(READ):
            structure = read_structure(file)
        with watch(NEIGHBORS):
            neighbors = find_neighbors(structure, cutoff)
        with watch(FEATURES):
            crystals.append(write_features(structure, neighbors, elements, basis))
    with watch(EMBED):
        embeddings = embed(network, crystals).numpy()
    with watch(HEAD):
        return predict(head, embeddings)


def triplet_loss(
    network: PlainTGNN,
    crystals: Sequence[PairRows],
    targets: Tensor,
    triplets: Triplets,
    margin: float,
) -> Tensor:
    """Return the EMRL loss of a batch: anchors, positives and negatives each embedded densely."""
    vectors = [_forward(network, [crystals[i] for i in chosen.tolist()]) for chosen in triplets]
    return emrl_loss(*vectors, *(targets[chosen] for chosen in triplets), margin=margin)


def training_step(
    network: PlainTGNN,
    optimizer: torch.optim.Optimizer,
    crystals: Sequence[PairRows],
    targets: Tensor,
    triplets: Triplets,
    margin: float,
) -> float:
    """Take one step of the three passes on a batch and return its loss."""
    network.train()
    loss = triplet_loss(network, crystals, targets, triplets, margin)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _forward(network: PlainTGNN, crystals: Sequence[PairRows]) -> Tensor:
    rows = torch.cat([crystal.rows for crystal in crystals])
    return network(rows, [len(crystal.rows) for crystal in crystals])
