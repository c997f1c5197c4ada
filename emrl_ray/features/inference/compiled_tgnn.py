"""The TGNN for inference: from crystals to embeddings with numpy and compiled loops, no torch.

Batch norm is folded into the tables A and B and into C(d), which is read off a table of the
distance, linearly between knots. C(d) has a kink where a bond feature starts or stops to be
positive; the knot nearest to each is moved there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.lattice import compact_cells
from emrl_ray.crystals.geometry.neighbor_list import expected_pairs
from emrl_ray.features.distance_basis import WIDTH
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.inference import kernels as inference_kernels
from emrl_ray.features.unique_pairs import check_numbers

KNOT_SPACING = 5.0 / 4096
"""Å. Embeddings of the published network move by less than 5e-6; each doubling of it triples that."""
CRYSTALS_AT_ONCE = 8192
"""Crystals whose hidden vectors, 2 kB each, `embed` holds at a time."""
MIN_ROOM = 16_384
"""Pairs of a crystal that the first call of the loops has memory for."""
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
        knots, bonds = _bond_features(state, cutoff, centers)
        scale, shift = _affine(state, "pair_norm")
        weight = state["pair_layer.weight"] * scale[:, None]
        of_center, of_neighbor, of_bond = np.split(
            weight, [atoms.shape[1], 2 * atoms.shape[1]], axis=1
        )
        bias = state["pair_layer.bias"] * scale + shift
        self.tables = inference_kernels.Tables(
            np.ascontiguousarray(atoms @ of_center.T, np.float32),
            np.ascontiguousarray(atoms @ of_neighbor.T, np.float32),
            np.ascontiguousarray(bonds @ of_bond.T + bias, np.float32),
            knots,
            KNOT_SPACING,
        )
        self.tail = _tail(state)

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return len(self.tail[-1])

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return the embeddings (B, width); a crystal without a pair gets a row of NaN.

        Raises UserError for atomic numbers that are none; `crystals.validation` finds all else.
        """
        parts = [self._finish(pooled) for pooled in self._pooled(batch)]
        return np.concatenate([np.zeros((0, self.width), np.float32), *parts])

    def embed_with_features(
        self, batch: CrystalBatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `embed` and the hidden vectors (B, f) before the readout."""
        features = np.concatenate([self._empty(0), *self._pooled(batch)])
        return self._finish(features), features.astype(np.float32)

    def _pooled(self, batch: CrystalBatch) -> Iterator[NDArray[np.float64]]:
        """Yield the hidden vectors of some crystals after others."""
        check_numbers(batch.atomic_numbers)
        for start in range(0, batch.n_crystals, CRYSTALS_AT_ONCE):
            yield self._pool(batch.slice(start, start + CRYSTALS_AT_ONCE))

    def _pool(self, batch: CrystalBatch) -> NDArray[np.float64]:
        batch = compact_cells(batch)
        costs = expected_pairs(batch, self.cutoff)
        pooled = self._empty(batch.n_crystals)

        def compute(start: int, stop: int) -> None:
            room = MIN_ROOM
            while start < stop:
                start = inference_kernels.pool_crystals(
                    self.tables,
                    self.cutoff,
                    batch.lattice,
                    batch.frac_coords,
                    batch.atomic_numbers,
                    batch.offsets,
                    start,
                    stop,
                    room,
                    pooled,
                )
                room *= 2

        self._in_threads(compute, costs)
        return pooled

    def embed_graphs(self, graphs: Graphs) -> NDArray[np.float32]:
        """Return the embeddings (B, width) of crystals whose pairs are known."""
        check_numbers(graphs.atomic_numbers)
        pooled = self._empty(graphs.n_crystals)

        def compute(start: int, stop: int) -> None:
            inference_kernels.pool_graphs(
                self.tables, *graphs.arrays, start, stop, graphs.max_pairs, pooled
            )

        self._in_threads(compute, graphs.pairs.n_pairs)
        return self._finish(pooled)

    def _empty(self, n_crystals: int) -> NDArray[np.float64]:
        return np.empty((n_crystals, self.tables.bond.shape[1]))

    def _in_threads(self, compute: Callable[[int, int], None], costs: NDArray) -> None:
        """Call `compute` on runs of crystals that cost about the same, one a thread."""
        if self.threads == 1 or not len(costs):
            return compute(0, len(costs))
        total = np.cumsum(costs)
        goals = total[-1:] * np.arange(1, self.threads) / self.threads
        edges = [0, *np.searchsorted(total, goals).tolist(), len(costs)]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(compute, edges[:-1], edges[1:]))
        return None

    def _finish(self, pooled: NDArray[np.float64]) -> NDArray[np.float32]:
        into_hidden, hidden_bias, into_output, output_bias = self.tail
        hidden = (pooled @ into_hidden + hidden_bias).clip(min=0)
        output = hidden @ into_output + output_bias
        length = np.linalg.norm(output, axis=1, keepdims=True)
        return (output / np.maximum(length, 1e-12)).astype(np.float32)


def _bond_features(
    state: State, cutoff: float, centers: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return knots (K,), Å, up to the cutoff, and the bond features e(d) there, (K, 64)."""

    def before_activation(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        gaussians = np.exp(-(((distance[:, None] - centers) / WIDTH) ** 2))
        return _linear(state, "bond_layer", gaussians)

    knots = np.arange(int(cutoff / KNOT_SPACING) + 2, dtype=np.float64) * KNOT_SPACING
    level = before_activation(knots)
    knot, feature = np.nonzero((level[:-1] > 0) != (level[1:] > 0))
    below, above = level[knot, feature], level[knot + 1, feature]
    kinks = knots[knot] + KNOT_SPACING * below / (below - above)
    nearest = np.rint(kinks / KNOT_SPACING).astype(int)
    knots[nearest[nearest > 0]] = kinks[nearest > 0]
    return knots, before_activation(knots).clip(min=0)


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
