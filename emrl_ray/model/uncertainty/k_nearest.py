"""The k nearest known crystals, by Euclidean distance in embedding space; exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DISTANCES_AT_ONCE = 1 << 22
"""Distances that are held in memory, 8 bytes each."""


def several_nearest(
    references: NDArray[np.float32], queries: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (index, distance), (B, k) each, of the k references nearest to each query, nearest first.

    References (n, m) and queries (B, m) are finite; k is `count`, or n where there are fewer.
    Distances are computed in float64; of references that are equally near the one with the lower
    index comes first. What a row gets does not depend on the other rows.
    """
    known = references.astype(np.float64)
    k = min(count, len(known))
    index = np.empty((len(queries), k), np.int64)
    distance = np.empty((len(queries), k))
    squared = np.einsum("ij,ij->i", known, known)
    step = max(1, DISTANCES_AT_ONCE // max(len(known), 1))
    for first in range(0, len(queries) if k else 0, step):
        part = queries[first : first + step].astype(np.float64)
        rough = np.einsum("ij,ij->i", part, part)[:, None] + squared - 2 * (part @ known.T)
        slack = _rounding(part, squared)
        kth = np.partition(rough, k - 1, axis=1)[:, k - 1]
        near = rough <= (kth + 2 * slack)[:, None]
        for row, query in enumerate(part):
            candidates = np.flatnonzero(near[row])
            exact = np.sqrt(((known[candidates] - query) ** 2).sum(axis=1))
            nearest = np.argsort(exact, kind="stable")[:k]
            index[first + row], distance[first + row] = candidates[nearest], exact[nearest]
    return index, distance


def _rounding(queries: NDArray[np.float64], squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B,), what rounding may change of |q|² + |r|² - 2 q·r; `squared` (n,) are the |r|².

    A sum of m products errs by at most m ulp of the sum of their sizes, which |q| · |r| bounds.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries)) + np.sqrt(squared.max())
    return 4 * (queries.shape[1] + 4) * np.finfo(np.float64).eps * lengths**2
