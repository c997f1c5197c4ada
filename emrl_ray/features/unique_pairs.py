"""The distinct pairs of crystals: those of the same elements and distance count as one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.inference.merge_kernels import ELEMENTS, merge_graphs


class UniquePairs(NamedTuple):
    """The U distinct unordered pairs of B crystals, concatenated.

    For all that reads no more of a pair than its elements and its distance. Distances are the same
    if they round to the same multiple of 1e-6 Å.
    """

    first: NDArray[np.int64]
    """(U,) atomic number of one atom."""
    second: NDArray[np.int64]
    """(U,) atomic number of the other."""
    distance: NDArray[np.float64]
    """(U,) Å."""
    times: NDArray[np.float32]
    """(U,) how many unordered pairs it stands for."""
    bounds: NDArray[np.int64]
    """(B + 1,) first distinct pair of each crystal."""


def check_numbers(atomic_numbers: NDArray[np.uint8]) -> None:
    """Raise UserError unless compiled loops, which look nothing up twice, can index by them."""
    highest = int(atomic_numbers.max(initial=0))
    if highest >= ELEMENTS:
        raise UserError(f"atomic number {highest}: must be at most {ELEMENTS - 1}")


def unique_pairs(graphs: Graphs) -> UniquePairs:
    """Return the distinct pairs of every crystal; UserError for atomic numbers that are none."""
    check_numbers(graphs.atomic_numbers)
    most = len(graphs.pairs.center) // 2
    first, second = np.empty(most, np.int64), np.empty(most, np.int64)
    distance, times = np.empty(most), np.empty(most, np.float32)
    bounds = merge_graphs(*graphs.arrays, graphs.max_pairs, first, second, distance, times)
    found = bounds[-1]
    return UniquePairs(first[:found], second[:found], distance[:found], times[:found], bounds)
