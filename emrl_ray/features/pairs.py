"""The pairs of atoms within a cutoff, for everyone who needs them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch, ragged_take
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs
from emrl_ray.crystals.schema import Reject, RejectReason, Stage


class Pairs(NamedTuple):
    """The ordered pairs (i, j, image) within a cutoff of B crystals, P in all, concatenated.

    Crystal b owns the pairs `offsets[b]:offsets[b + 1]`. The first half of a crystal's pairs has
    each unordered pair once, the second half has the same ones reversed, in the same order (but for
    what `half_list` and `nearest_neighbor_graph` leave). An atom pairs with its own periodic images, never with
    itself at distance 0.
    """

    center: NDArray[np.int32]
    """(P,) index of atom i among the atoms of the batch."""
    neighbor: NDArray[np.int32]
    """(P,) index of atom j among the atoms of the batch."""
    distance: NDArray[np.floating]
    """(P,) Å."""
    offsets: NDArray[np.int64]
    """(B + 1,) first pair of each crystal."""

    @property
    def n_pairs(self) -> NDArray[np.int64]:
        """(B,) ordered pairs of each crystal."""
        return np.diff(self.offsets)


def find_pairs(batch: CrystalBatch, cutoff: float) -> Pairs:
    """Return the ordered pairs within `cutoff` (Å) of every crystal of a valid batch.

    All periodic images count. A crystal without neighbours has no pairs.
    """
    first, second, distance, bounds = unordered_pairs(batch, cutoff)
    counts = np.diff(bounds)
    one_way = np.arange(bounds[-1]) + np.repeat(bounds[:-1], counts)
    other_way = one_way + np.repeat(counts, counts)
    pairs = Pairs(
        np.empty(2 * len(first), np.int32),
        np.empty(2 * len(first), np.int32),
        np.empty(2 * len(first)),
        2 * bounds,
    )
    pairs.center[one_way], pairs.center[other_way] = first, second
    pairs.neighbor[one_way], pairs.neighbor[other_way] = second, first
    pairs.distance[one_way] = pairs.distance[other_way] = distance
    return pairs


def filter_cutoff(pairs: Pairs, cutoff: float) -> Pairs:
    """Return the pairs no longer than `cutoff` (Å)."""
    keep = pairs.distance <= cutoff
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Pairs(
        pairs.center[keep], pairs.neighbor[keep], pairs.distance[keep], kept[pairs.offsets]
    )


def half_list(pairs: Pairs) -> Pairs:
    """Return each unordered pair once, the first half of every crystal's."""
    half = pairs.offsets // 2
    counts = np.diff(half)
    kept = np.arange(half[-1]) + np.repeat(pairs.offsets[:-1] - half[:-1], counts)
    return Pairs(pairs.center[kept], pairs.neighbor[kept], pairs.distance[kept], half)


def reject_without_pairs(
    crystals: pa.Table, lonely: NDArray[np.bool_], cutoff: float, source: str, stage: Stage
) -> tuple[pa.Table, list[Reject]]:
    """Return the rows of a table that have a pair, and a reject for each that is `lonely` (B,)."""
    if not lonely.any():
        return crystals, []
    detail = f"no two atoms within {cutoff} Å"
    ids = crystals.column("id").filter(pa.array(lonely)).to_pylist()
    rejects = [Reject(name, source, stage, RejectReason.NO_PAIRS, detail) for name in ids]
    return crystals.take(np.flatnonzero(~lonely)), rejects


def take_pairs(pairs: Pairs, atom_offsets: NDArray[np.int64], crystals: NDArray[np.int64]) -> Pairs:
    """Return the pairs of `crystals`, renumbered for a batch of these crystals alone.

    `atom_offsets` (B + 1,) are those of the batch that `pairs` belongs to.
    """
    elements, offsets = ragged_take(pairs.offsets, crystals)
    n_atoms = np.diff(atom_offsets)[crystals]
    first_atoms = np.cumsum(n_atoms) - n_atoms
    shift = np.repeat(first_atoms - atom_offsets[crystals], np.diff(offsets)).astype(np.int32)
    return Pairs(
        pairs.center[elements] + shift,
        pairs.neighbor[elements] + shift,
        pairs.distance[elements],
        offsets,
    )
