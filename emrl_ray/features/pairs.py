"""The pairs of atoms within a cutoff, for everyone who needs them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch, ragged_take
from emrl_ray.crystals.tables import Reject, RejectReason, Stage

TOLERANCE = 1e-8
"""Distances up to the cutoff and this (Å) count."""


class Pairs(NamedTuple):
    """The ordered pairs (i, j, image) within a cutoff of B crystals, P in all, concatenated.

    Crystal b owns the pairs `offsets[b]:offsets[b + 1]`. The first half of a crystal's pairs has
    each unordered pair once, the second half has the same ones reversed, in the same order. An atom
    pairs with its own periodic images, never with itself at distance 0.
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
    # Here, because training from a graphs table does without it.
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions, periodic = cartesian(batch), np.ones(3, np.int64)
    halves = []
    for index, (first, last) in enumerate(pairwise(batch.offsets)):
        points = positions[first:last]
        lattice = np.ascontiguousarray(batch.lattice[index])
        i, j, image, distance = find_points_in_spheres(
            points, points, cutoff, periodic, lattice, TOLERANCE
        )
        half = (i < j) | ((i == j) & _is_forward(image))
        halves.append((i[half] + first, j[half] + first, distance[half]))
    return _mirrored(halves)


def _is_forward(image: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of the images (P, 3) to count, one of each pair of opposite ones, not (0, 0, 0)."""
    return image @ np.array([1e12, 1e6, 1.0]) > 0


def cartesian(batch: CrystalBatch) -> NDArray[np.float64]:
    """Return the Cartesian coordinates (N, 3), Å, of the atoms, each moved into its cell."""
    crystal = np.repeat(np.arange(batch.n_crystals), batch.n_atoms)
    wrapped = batch.frac_coords - np.floor(batch.frac_coords)
    return np.einsum("ni,nij->nj", wrapped, batch.lattice[crystal])


def unordered(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (indices, offsets (B + 1,)) of the first halves: each unordered pair once."""
    halves = pairs.n_pairs // 2
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(halves)])
    starts = np.repeat(pairs.offsets[:-1] - bounds[:-1], halves)
    return starts + np.arange(bounds[-1]), bounds


def within(pairs: Pairs, cutoff: float) -> Pairs:
    """Return the pairs no longer than `cutoff` (Å)."""
    keep = pairs.distance <= cutoff
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Pairs(
        pairs.center[keep], pairs.neighbor[keep], pairs.distance[keep], kept[pairs.offsets]
    )


def reject_lonely(
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


def _mirrored(halves: list[tuple[NDArray, NDArray, NDArray]]) -> Pairs:
    centers = [np.concatenate([i, j]) for i, j, _ in halves]
    neighbors = [np.concatenate([j, i]) for i, j, _ in halves]
    distances = [np.concatenate([distance, distance]) for _, _, distance in halves]
    counts = [0, *(len(center) for center in centers)]
    return Pairs(
        np.concatenate([np.zeros(0, np.int32), *centers]).astype(np.int32),
        np.concatenate([np.zeros(0, np.int32), *neighbors]).astype(np.int32),
        np.concatenate([np.zeros(0), *distances]),
        np.cumsum(counts, dtype=np.int64),
    )
