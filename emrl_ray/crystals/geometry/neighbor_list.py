"""Neighbours in a crystal: the pairs of sites within a distance, all periodic images counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry import kernels
from emrl_ray.crystals.geometry.lattice import compact_cells

MORE, SPARE = 1.2, 1024
"""There is memory at first for so many times the pairs that are expected, and some more."""


class UnorderedPairs(NamedTuple):
    """The U pairs of sites within a distance of B crystals, each pair once, concatenated.

    A site pairs with its own periodic images (first = second), never with itself at distance 0.
    """

    first: NDArray[np.int32]
    """(U,) index of a site among those of the batch."""
    second: NDArray[np.int32]
    """(U,) index of the other."""
    distance: NDArray[np.float64]
    """(U,) Å."""
    bounds: NDArray[np.int64]
    """(B + 1,) first pair of each crystal."""


def expected_pairs(batch: CrystalBatch, cutoff: float) -> NDArray[np.float64]:
    """Return (B,) the ordered pairs within `cutoff` (Å) of atoms evenly spread in their cells.

    N atoms in the volume V have (N²/V) (4/3) π cutoff³ of them.
    """
    with np.errstate(all="ignore"):
        volume = np.abs(np.linalg.det(batch.lattice))
        return batch.n_atoms.astype(float) ** 2 / volume * (4 / 3) * np.pi * cutoff**3


def unordered_pairs(batch: CrystalBatch, cutoff: float) -> UnorderedPairs:
    """Return the pairs of sites within `cutoff` (Å) of every crystal; the cells need a volume."""
    batch = compact_cells(batch)
    room = int(MORE * expected_pairs(batch, cutoff).sum() / 2) + SPARE
    first, second, distance = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0)
    bounds = np.zeros(batch.n_crystals + 1, np.int64)
    crystal = 0
    while crystal < batch.n_crystals:
        first, second, distance = (
            np.concatenate([part[: bounds[crystal]], np.empty(room, part.dtype)])
            for part in (first, second, distance)
        )
        crystal = kernels.search_on(
            crystal,
            batch.lattice,
            batch.frac_coords,
            batch.offsets,
            cutoff,
            first,
            second,
            distance,
            bounds,
        )
        room *= 2
    found = bounds[-1]
    return UnorderedPairs(first[:found], second[:found], distance[:found], bounds)
