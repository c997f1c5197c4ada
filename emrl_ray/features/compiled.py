"""The TGNN for inference: from crystals to embeddings with numpy and compiled loops, no torch.

Batch norm is folded into the tables A and B and into C(d), which is read off a table of the
distance: with knots 5 Å / 8,192 apart an embedding of the published network moves by 3e-6 at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.validation import expected_pairs
from emrl_ray.features import kernels
from emrl_ray.features.basis import WIDTH
from emrl_ray.features.pairs import Pairs, find_pairs, unordered

KNOT_SPACING = 5.0 / 8192
PAIRS_AT_ONCE = 300_000
"""Pairs that `embed` holds at a time: few enough for the cache, enough to hide the cost of a call."""
NORM_EPS = 1e-5
State = Mapping[str, NDArray]


class CompiledTGNN:
    """A trained TGNN as a `Representation`; `networks.tgnn.TGNN.compile` makes it."""

    def __init__(
        self,
        state: State,
        elements: NDArray,
        cutoff: float,
        centers: NDArray,
        threads: int = 1,
    ) -> None:
        """Fold a network's state.

        Args:
            state: the arrays of `TGNN.state_dict()` by name.
            elements: (119, F) features by atomic number.
            cutoff: longest pair distance, Å.
            centers: (G,) centres of the distance basis, Å.
            threads: threads of `embed`.
        """
        self.cutoff, self.threads = cutoff, threads
        state = {name: np.asarray(value, np.float64) for name, value in state.items()}
        atoms = _linear(state, "element_layer", elements.astype(np.float64)).clip(min=0)
        knots = KNOT_SPACING * np.arange(int(cutoff / KNOT_SPACING) + 2)
        gaussians = np.exp(-(((knots[:, None] - centers) / WIDTH) ** 2))
        bonds = _linear(state, "bond_layer", gaussians).clip(min=0)
        scale, shift = _affine(state, "pair_norm")
        weight = state["pair_layer.weight"] * scale[:, None]
        of_center, of_neighbor, of_bond = np.split(
            weight, [atoms.shape[1], 2 * atoms.shape[1]], axis=1
        )
        bias = state["pair_layer.bias"] * scale + shift
        self.center_table = np.ascontiguousarray(atoms @ of_center.T, np.float32)
        self.neighbor_table = np.ascontiguousarray(atoms @ of_neighbor.T, np.float32)
        self.bond_table = np.ascontiguousarray(bonds @ of_bond.T + bias, np.float32)
        self.tail = _tail(state)

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return len(self.tail[-1])

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return the embeddings (B, width); a crystal without a pair gets a row of NaN."""
        part = np.cumsum(expected_pairs(batch, self.cutoff)) // PAIRS_AT_ONCE
        parts = np.split(np.arange(batch.n_crystals), np.flatnonzero(np.diff(part)) + 1)
        return np.concatenate([self._embed(batch.take(indices)) for indices in parts])

    def _embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        return self.embed_pairs(batch.atomic_numbers, find_pairs(batch, self.cutoff))

    def embed_pairs(self, atomic_numbers: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.float32]:
        """Return the embeddings (B, width) of crystals whose pairs are known."""
        into_hidden, hidden_bias, into_output, output_bias = self.tail
        hidden = (self._pooled(atomic_numbers, pairs) @ into_hidden + hidden_bias).clip(min=0)
        output = hidden @ into_output + output_bias
        length = np.linalg.norm(output, axis=1, keepdims=True)
        return (output / np.maximum(length, 1e-12)).astype(np.float32)

    def _pooled(self, atomic_numbers: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.float64]:
        index, bounds = unordered(pairs)
        first = atomic_numbers[pairs.center[index]]
        second = atomic_numbers[pairs.neighbor[index]]
        distance = pairs.distance[index].astype(np.float64, copy=False)
        pooled = np.empty((len(bounds) - 1, self.center_table.shape[1]), np.float64)
        cuts = np.searchsorted(bounds, np.linspace(0, bounds[-1], self.threads + 1)[1:-1])
        edges = [0, *cuts.tolist(), len(bounds) - 1]

        def compute(part: int) -> None:
            kernels.pooled_activations(
                self.center_table,
                self.neighbor_table,
                self.bond_table,
                KNOT_SPACING,
                first,
                second,
                distance,
                bounds,
                edges[part],
                edges[part + 1],
                pooled,
            )

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(compute, range(self.threads)))
        return pooled


def _linear(state: State, layer: str, x: NDArray) -> NDArray:
    return x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]


def _affine(state: State, norm: str) -> tuple[NDArray, NDArray]:
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + NORM_EPS)
    return scale, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale


def _tail(state: State) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return the layers after the readout: two matrices with their biases, batch norm folded in."""
    scale, shift = _affine(state, "hidden_norm")
    into_hidden = state["hidden_layer.weight"] @ state["readout_layer.weight"]
    bias = state["hidden_layer.weight"] @ state["readout_layer.bias"] + state["hidden_layer.bias"]
    return (
        np.ascontiguousarray((into_hidden * scale[:, None]).T),
        bias * scale + shift,
        np.ascontiguousarray(state["output_layer.weight"].T),
        state["output_layer.bias"],
    )
