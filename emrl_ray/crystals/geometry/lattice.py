"""Unit cells: distances of lattice planes, and the reduced basis of a skewed lattice."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch

SKEWNESS = 4.0
"""Above this `compact_cells` takes another basis; reduced cells reach 2, and of the structures of the
Materials Project one in a hundred has more."""


def plane_spacings(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B, 3) distances of the lattice planes (100), (010), (001) of B lattices, Å."""
    return 1 / np.linalg.norm(np.linalg.inv(lattice), axis=1)


def compact_cells(batch: CrystalBatch) -> CrystalBatch:
    """Return the same crystals, with the basis of strongly skewed lattices reduced.

    A search that goes through whole images of the cell visits volume / (product of the plane
    spacings) times as many as there need be: 1 for a rectangular cell, without bound for a skewed one.
    """
    volume = np.abs(np.linalg.det(batch.lattice))
    skewed = np.flatnonzero(volume > SKEWNESS * plane_spacings(batch.lattice).prod(axis=1))
    if not len(skewed):
        return batch.read_only()
    lattice, coords = batch.lattice.copy(), batch.frac_coords.copy()
    for crystal in skewed:
        atoms = slice(*batch.offsets[crystal : crystal + 2])
        lattice[crystal] = reduced_lattice(batch.lattice[crystal])
        change = batch.lattice[crystal] @ np.linalg.inv(lattice[crystal])
        coords[atoms] = (coords[atoms] - np.floor(coords[atoms])) @ np.rint(change)
    return batch._replace(lattice=lattice, frac_coords=coords).read_only()


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
