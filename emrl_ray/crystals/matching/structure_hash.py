"""Keys of crystals: 8 bytes that are the same in any cell and order of atoms, to find repeats by.

A key is a hash of the reduced composition and of four numbers that the shape of a crystal determines.
With lengths in units of the cube root of the volume per atom, an atom i of element Z_i has, for each
of four radial functions f, the sum s_i = Σ w(Z_j) f(d_ij) over its neighbours j within `REACH`, w a
weight of the element's own; the number is the mean of w(Z_i) s_i² over the atoms of the cell. These are
moments of the pointwise distance distribution (D. Widdowson, V. Kurlin, NeurIPS 35 (2022)), so they
depend on neither cell, origin nor order of atoms, nor on mirroring, and f goes to zero smoothly, so
that no neighbour appears at once. The volume does not count: that of a candidate is an estimate.

The numbers are compared to `GRID`, relative. One that lies within `MARGIN` of a border between two cells of the
grid may round either way in a copy: such crystals have a second key for the other side.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs

REACH = 2.5
"""Cube roots of the volume per atom: some 65 neighbours an atom."""
NUMBERS = 4
"""f is (1 - (d / REACH)²) to the powers 3, 6, 12 and 24."""
GRID, MARGIN = 1e-9, 1e-11
"""Of the logarithms of the numbers; those of copies agree to 1e-13. At 1e-7 two of 10⁶ strained prototypes
had the numbers of another one by chance."""
ATOMS_AT_ONCE = 16384
"""Atoms whose pairs are held at a time."""
WEIGHTS = 1 + np.mod(np.arange(MAX_ATOMIC_NUMBER + 1) * 0.6180339887498949, 1)
"""Weight of each element: multiples of the golden ratio lie evenly, no two near each other."""
_CHANGES = [np.array(bits) for bits in product((False, True), repeat=NUMBERS) if any(bits)]


class StructureHashes(NamedTuple):
    """The keys of B crystals."""

    own: NDArray[np.uint64]
    """(B,)"""
    second: NDArray[np.uint64]
    """(S,) further keys of crystals that lie next to a border of the grid."""
    crystal: NDArray[np.int64]
    """(S,) whose key each of them is."""


def structure_hashes(batch: CrystalBatch) -> StructureHashes:
    """Return the keys of a valid batch."""
    scaled = np.log(shape_numbers(batch)) / GRID + 0.5
    cell = np.floor(scaled)
    inner = scaled - cell
    border = np.minimum(inner, 1 - inner) < MARGIN / GRID
    neighbor = np.where(inner < 0.5, cell - 1, cell + 1)
    compositions = _composition_hashes(batch)
    second, crystal = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for change in _CHANGES:
        rows = np.flatnonzero(border[:, change].all(axis=1))
        second.append(_hashes(compositions[rows], np.where(change, neighbor, cell)[rows]))
        crystal.append(rows)
    return StructureHashes(
        _hashes(compositions, cell), np.concatenate(second), np.concatenate(crystal)
    )


def first_of_each(keys: StructureHashes) -> NDArray[np.bool_]:
    """Return (B,) whether no earlier crystal has one of the keys of a crystal.

    16 bytes a crystal are held. Two of 10⁶ different crystals have the same key by chance with a
    probability of 3e-8.
    """
    order = np.argsort(keys.own, kind="stable")
    ordered = keys.own[order]
    first = np.ones(len(order), bool)
    first[order[1:]] = ordered[1:] != ordered[:-1]
    if len(order):
        place = np.searchsorted(ordered, keys.second).clip(max=len(order) - 1)
        met = (ordered[place] == keys.second) & (order[place] < keys.crystal)
        first[keys.crystal[met]] = False
    return first


def shape_numbers(batch: CrystalBatch) -> NDArray[np.float64]:
    """Return (B, 4) the numbers that the shape of each crystal determines (see the module)."""
    unit = np.cbrt(np.abs(np.linalg.det(batch.lattice)) / batch.n_atoms)
    batch = batch._replace(lattice=batch.lattice / unit[:, None, None])
    weights = WEIGHTS[batch.atomic_numbers]
    numbers = np.zeros((batch.n_crystals, NUMBERS))
    start = 0
    while start < batch.n_crystals:
        enough = np.searchsorted(batch.offsets, batch.offsets[start] + ATOMS_AT_ONCE, side="right")
        stop = max(start + 1, int(enough) - 1)
        part = batch.slice(start, stop)
        own = weights[batch.offsets[start] : batch.offsets[stop]]
        pairs = unordered_pairs(part, REACH)
        sums = np.zeros((len(own), NUMBERS))
        _add_neighbors(pairs.first, pairs.second, pairs.distance, own, sums)
        squares = own[:, None] * sums**2
        numbers[start:stop] = np.add.reduceat(squares, part.offsets[:-1]) / part.n_atoms[:, None]
        start = stop
    return numbers


@njit(nogil=True, cache=True)
def _add_neighbors(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    distance: NDArray[np.float64],
    weights: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add to `sums` (N, 4) what the pairs (U,) of atoms give both their ends."""
    for pair in range(len(first)):
        value = max(0.0, 1 - (distance[pair] / REACH) ** 2) ** 3
        i, j = first[pair], second[pair]
        for number in range(NUMBERS):
            sums[i, number] += weights[j] * value
            sums[j, number] += weights[i] * value
            value *= value


def _composition_hashes(batch: CrystalBatch) -> NDArray[np.uint64]:
    counts = np.zeros((batch.n_crystals, MAX_ATOMIC_NUMBER + 1), np.uint64)
    crystal = np.repeat(np.arange(batch.n_crystals), batch.n_atoms)
    np.add.at(counts, (crystal, batch.atomic_numbers), 1)
    reduced = counts // np.gcd.reduce(counts, axis=1, keepdims=True)
    return reduced @ _mixed(np.arange(1, MAX_ATOMIC_NUMBER + 2, dtype=np.uint64))


def _hashes(start: NDArray[np.uint64], cells: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return (B,) hashes of `start` (B,) and whole numbers (B, 4)."""
    found = start
    for column in cells.T:
        found = _mixed(found ^ column.astype(np.int64).view(np.uint64))
    return found


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64 of each value (G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
