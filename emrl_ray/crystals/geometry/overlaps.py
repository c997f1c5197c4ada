"""Sites that lie on top of each other: the closest two of every crystal, where they overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.lattice import plane_spacings, reduced_lattice
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs


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
