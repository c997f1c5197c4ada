"""How far the fast path is from the plain form in float64: the largest difference of an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.plain_network import PlainTGNN, pair_rows
from benchmarks.common.samples import data_folder
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.features.pairs import find_pairs
from emrl_ray.networks.tgnn import TGNN

CUTOFFS = (4.0, 5.0, 6.0, 7.0, 8.0)
PUBLISHED_NAMES = {
    "atom_net": "element_layer",
    "bond_net": "bond_layer",
    "pair_net.fc1": "pair_layer",
    "pair_net.bn1": "pair_norm",
    "pair_net.fc3": "readout_layer",
    "fc1": "hidden_layer",
    "bn1": "hidden_norm",
    "fc2": "output_layer",
}
"""Layers of the published weights by our names."""
BATCH = 16
"""Crystals that the plain form embeds together."""


def fast_path_differences(batch: CrystalBatch) -> dict[str, Any]:
    """Return the largest difference of any number of any embedding at each cutoff (Å).

    The published weights, which belong to 5 Å, serve at every cutoff, with the basis of that cutoff.
    """
    differences = {}
    for cutoff in CUTOFFS:
        network = published_network(cutoff)
        fast = network.compile().embed(batch)
        plain = plain_embeddings(network, batch)
        has_pairs = ~np.isnan(plain[:, 0])
        assert np.array_equal(has_pairs, ~np.isnan(fast[:, 0]))
        differences[f"{cutoff:g}"] = float(np.abs(fast - plain)[has_pairs].max())
        print(f"accuracy of the fast path, {cutoff:g} Å: {differences[f'{cutoff:g}']:.1e}")
    return {
        "largest_embedding_difference_by_cutoff": differences,
        "of": "the fast path to the plain form in float64, published weights, all crystals of HOIP",
    }


def published_network(cutoff: float) -> TGNN:
    """Return the network with the published weights of HOIP."""
    published = np.load(data_folder() / "reference" / "emrl_hoip_weights.npz")
    network = TGNN(element_features(default_csv(), "reference"), cutoff, "reference")
    state = {}
    for name in published:
        layer, part = name.rsplit(".", 1)
        if layer in PUBLISHED_NAMES and part != "num_batches_tracked":
            state[f"{PUBLISHED_NAMES[layer]}.{part}"] = torch.from_numpy(published[name])
    network.load_state_dict(state)
    return network.eval()


def plain_embeddings(network: TGNN, batch: CrystalBatch) -> NDArray[np.float64]:
    """Return the embeddings (B, width) by the plain form in float64; NaN without a pair."""
    elements, centers = network.elements.double(), network.centers.double()
    plain = PlainTGNN(elements.shape[1], len(centers), network.width).double()
    plain.load_state_dict(network.state_dict(), strict=False)
    plain.eval()
    found = np.full((batch.n_crystals, network.width), np.nan)
    pairs = find_pairs(batch, network.cutoff)
    kept = np.flatnonzero(pairs.n_pairs)
    for first in range(0, len(kept), BATCH):
        crystals = kept[first : first + BATCH]
        part = batch.take(crystals)
        pairs = find_pairs(part, network.cutoff)
        rows = pair_rows(part.atomic_numbers, pairs, elements, centers, network.gaussian_width)
        with torch.no_grad():
            found[crystals] = plain(rows, pairs.n_pairs.tolist()).numpy()
    return found
