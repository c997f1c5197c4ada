"""Sites that lie on top of each other: the closest two of every crystal, where they overlap."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch

PAIRS_AT_ONCE = 1_000_000
"""Pairs of sites that are held in memory at a time (some 50 bytes each)."""


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

    Where the lattice planes are more than 2 `min_distance` apart, no site meets its own image and
    the image nearest in fractional coordinates is the only one that can overlap. Other cells,
    which are rare, are reduced first and searched image by image.
    """
    wide = _plane_spacings(batch.lattice).min(axis=1, initial=np.inf) > 2 * min_distance
    sizes = batch.n_atoms
    found: list[Overlap] = []
    for size in np.unique(sizes[wide & (sizes > 1)]):
        crystals = np.flatnonzero(wide & (sizes == size))
        step = max(1, 2 * PAIRS_AT_ONCE // int(size) ** 2)
        for start in range(0, len(crystals), step):
            found += _in_wide_cells(batch, crystals[start : start + step], min_distance)
    for crystal in np.flatnonzero(~wide & (sizes > 0)):
        found += _in_narrow_cell(batch, int(crystal), min_distance)
    return sorted(found)


def reduced_lattice(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a Minkowski-reduced basis (3, 3) of the same lattice; its first row is the shortest.

    Pairwise reduction as of Lagrange, and the sums of all three (Semaev, Lect. Notes Comput. Sci.
    2146, 181 (2001)).
    """
    basis = lattice
    while True:
        basis = basis[np.argsort(np.linalg.norm(basis, axis=1))]
        a, b, c = basis
        rest_b = b - np.rint(b @ a / (a @ a)) * a
        if _shorter(rest_b, b):
            basis = np.stack([a, rest_b, c])
            continue
        rest_c = _nearest_plane_rest(a, b, c)
        if not _shorter(rest_c, c):
            return basis
        basis = np.stack([a, b, rest_c])


def _shorter(vector: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool(vector @ vector < (other @ other) * (1 - 1e-9))


def _nearest_plane_rest(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shortest of c less the four lattice points of a and b around its projection."""
    gram = np.array([[a @ a, a @ b], [a @ b, b @ b]])
    i, j = np.floor(np.linalg.solve(gram, np.array([a @ c, b @ c])))
    rests = [c - (i + k) * a - (j + m) * b for k, m in product((0, 1), repeat=2)]
    return min(rests, key=lambda rest: float(rest @ rest))


def _plane_spacings(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B, 3) distances of the lattice planes (100), (010), (001) of B lattices, Å."""
    return 1 / np.linalg.norm(np.linalg.inv(lattice), axis=1)


def _in_wide_cells(
    batch: CrystalBatch, crystals: NDArray[np.integer], min_distance: float
) -> list[Overlap]:
    """Search crystals of one size together."""
    size = int(batch.n_atoms[crystals[0]])
    first, second = np.triu_indices(size, 1)
    coords = batch.frac_coords[batch.offsets[crystals][:, None] + np.arange(size)]
    along_a = coords[:, first, 0] - coords[:, second, 0]
    along_a -= np.rint(along_a)
    reach = min_distance / _plane_spacings(batch.lattice[crystals])[:, :1]
    rows, pairs = np.nonzero(np.abs(along_a) < reach)  # few, so that all else costs little
    first, second = first[pairs], second[pairs]
    difference = coords[rows, first] - coords[rows, second]
    difference -= np.rint(difference)
    distance = np.linalg.norm(
        np.einsum("pi,pij->pj", difference, batch.lattice[crystals[rows]]), axis=1
    )
    close = np.flatnonzero(distance < min_distance)
    close = close[np.argsort(distance[close], kind="stable")]
    _, nearest = np.unique(rows[close], return_index=True)
    return [
        Overlap(
            int(crystals[rows[pair]]), int(first[pair]), int(second[pair]), float(distance[pair])
        )
        for pair in close[nearest]
    ]


def _in_narrow_cell(batch: CrystalBatch, crystal: int, min_distance: float) -> list[Overlap]:
    atoms = slice(*batch.offsets[crystal : crystal + 2])
    lattice = reduced_lattice(batch.lattice[crystal])
    shortest = float(np.linalg.norm(lattice[0]))
    if shortest < min_distance:
        return [Overlap(crystal, 0, 0, shortest)]
    coords = batch.frac_coords[atoms] @ batch.lattice[crystal] @ np.linalg.inv(lattice)
    images = np.array(list(product((-1, 0, 1), repeat=3)))  # enough: planes >= shortest / sqrt(2)
    nearest: list[Overlap] = []
    for site in range(len(coords) - 1):
        difference = coords[site + 1 :] - coords[site]
        difference = (difference - np.rint(difference))[:, None] + images
        distance = np.linalg.norm(difference @ lattice, axis=2).min(axis=1)
        other = int(distance.argmin())
        nearest.append(Overlap(crystal, site, site + 1 + other, float(distance[other])))
    closest = min(nearest, key=lambda overlap: overlap.distance, default=None)
    return [closest] if closest and closest.distance < min_distance else []
