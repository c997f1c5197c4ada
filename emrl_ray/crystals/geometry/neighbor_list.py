"""Neighbours in a crystal: the pairs of sites within a distance, all periodic images counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry import kernels
from emrl_ray.crystals.geometry.lattice import compact_cells, plane_spacings, reduced_lattice

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


class Overlap(NamedTuple):
    """Two sites of a crystal, the closest of it."""

    crystal: int
    first: int
    second: int
    """Sites of the crystal, counted from 0; twice the same for a site and its own image."""
    distance: float
    """Å."""


def find_overlaps(batch: CrystalBatch, min_distance: float) -> list[Overlap]:
    """Return the crystals that have two sites nearer than `min_distance` (Å), in order.

    Periodic images count. The cells must be finite and of a volume above zero.
    """
    tiny = _near_own_images(batch, min_distance)
    rest = np.setdiff1d(np.arange(batch.n_crystals), [overlap.crystal for overlap in tiny])
    searched = batch.take(rest) if tiny else batch
    pairs = unordered_pairs(searched, min_distance)
    near = np.flatnonzero(pairs.distance < min_distance)
    which = np.searchsorted(pairs.bounds, near, side="right") - 1
    starts = searched.offsets[:-1][which]
    sites = np.sort([pairs.first[near] - starts, pairs.second[near] - starts], axis=0)
    distance = pairs.distance[near]
    by_distance = np.lexsort((*sites[::-1], distance, which))
    _, closest = np.unique(which[by_distance], return_index=True)
    overlaps = [
        Overlap(int(rest[which[k]]), int(sites[0, k]), int(sites[1, k]), float(distance[k]))
        for k in by_distance[closest]
    ]
    return sorted(tiny + overlaps)


def _near_own_images(batch: CrystalBatch, min_distance: float) -> list[Overlap]:
    """Return an overlap for each cell with a lattice vector that is too short.

    Few cells have planes as near as that. They are taken out first, because a search
    within them may visit any number of images.
    """
    narrow = np.flatnonzero(
        plane_spacings(batch.lattice).min(axis=1, initial=np.inf) < min_distance
    )
    shortest = [np.linalg.norm(reduced_lattice(batch.lattice[crystal])[0]) for crystal in narrow]
    return [
        Overlap(int(crystal), 0, 0, float(length))
        for crystal, length in zip(narrow, shortest, strict=True)
        if length < min_distance and batch.n_atoms[crystal]
    ]
