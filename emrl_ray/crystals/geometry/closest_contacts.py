"""Contacts: how near the atoms of each two elements come in a crystal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs

CODES = MAX_ATOMIC_NUMBER + 1
REACH = 4.0
"""Å within which atoms are in contact: first neighbours, and second ones of small atoms."""
CRYSTALS_AT_ONCE = 2048
"""Crystals whose pairs are held at a time."""


class Contacts(NamedTuple):
    """The least distance of each two elements in B crystals, C in all, concatenated.

    Crystal b owns the contacts `offsets[b]:offsets[b + 1]`, by ascending `pair`.
    """

    pair: NDArray[np.int32]
    """(C,) the lower atomic number times `CODES` and the higher one."""
    distance: NDArray[np.float64]
    """(C,) Å."""
    offsets: NDArray[np.int64]
    """(B + 1,) first contact of each crystal."""

    @property
    def crystal(self) -> NDArray[np.int64]:
        """(C,) the crystal of each contact."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def find_contacts(batch: CrystalBatch) -> Contacts:
    """Return the contacts within `REACH` of every crystal of a valid batch.

    All periodic images count, an atom's own among them.
    """
    parts = [
        _contacts(batch.slice(start, start + CRYSTALS_AT_ONCE))
        for start in range(0, batch.n_crystals, CRYSTALS_AT_ONCE)
    ]
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)])
    return Contacts(
        np.concatenate([np.zeros(0, np.int32), *(part.pair for part in parts)]),
        np.concatenate([np.zeros(0), *(part.distance for part in parts)]),
        np.cumsum(counts),
    )


def elements_of(pair: int) -> tuple[int, int]:
    """Return the atomic numbers of a pair's code."""
    return divmod(pair, CODES)


def _contacts(batch: CrystalBatch) -> Contacts:
    pairs = unordered_pairs(batch, REACH)
    offsets = np.zeros(batch.n_crystals + 1, np.int64)
    pair = np.empty(len(pairs.first), np.int32)
    distance = np.empty(len(pairs.first))
    found = _shortest(batch.atomic_numbers, *pairs, pair, distance, offsets)
    return Contacts(pair[:found].copy(), distance[:found].copy(), offsets)


@njit(nogil=True, cache=True)
def _shortest(
    numbers: NDArray[np.uint8],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    length: NDArray[np.float64],
    bounds: NDArray[np.int64],
    pair: NDArray[np.int32],
    distance: NDArray[np.float64],
    offsets: NDArray[np.int64],
) -> int:
    """Write the contacts of crystals with pairs (U,), and return how many there are.

    `pair` and `distance`, (U,) as there are at most so many, and `offsets` (B + 1,) receive them.
    """
    shortest = np.full(CODES * CODES, np.inf)
    met = np.empty(CODES * CODES, np.int32)
    found = 0
    for crystal in range(len(bounds) - 1):
        count = 0
        for place in range(bounds[crystal], bounds[crystal + 1]):
            one, other = np.int32(numbers[first[place]]), np.int32(numbers[second[place]])
            code = min(one, other) * CODES + max(one, other)
            if shortest[code] == np.inf:
                met[count] = code
                count += 1
            shortest[code] = min(shortest[code], length[place])
        met[:count].sort()
        for code in met[:count]:
            pair[found], distance[found] = code, shortest[code]
            shortest[code] = np.inf
            found += 1
        offsets[crystal + 1] = found
    return found
