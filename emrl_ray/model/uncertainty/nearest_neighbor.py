"""The nearest known crystal of each prediction, by Euclidean distance in embedding space.

A learned embedding varies along few directions, and the search lives on that. References are sorted
along the direction in which they vary most and stand in blocks; a query visits blocks outwards from
its own place until the next one is further away than the nearest reference so far. Within a block
a sketch of each reference, `SKETCH` numbers for m, bounds its distance from below, and only those
whose bound is near enough are measured in full. So the result is exact, and what a query costs
hardly grows with the number of references. Queries far from all of them cost more: a look at every
sketch, at worst at every reference.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError

SKETCH = 16
"""Numbers of a sketch: coordinates on the leading principal axes, and the length of the rest."""
BLOCK = 64
"""References of a block."""
ROWS_AT_ONCE = 1024
"""Rows that are sketched together: what is held in memory beside the references and the result."""
ROUNDING = 1e-6
"""Error of a distance of sketches, in lengths of the vectors: the length of the rest is the root of a
difference, so an error of 1e-13 in the difference counts in full where the rest is nearly zero."""
FAST = {"reassoc", "contract"}


class NearestNeighborIndex:
    """The nearest of n reference embeddings for any number of others; exact at any n."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        """Sort and sketch the references (n, m), n ≥ 0; raises UserError unless all are finite."""
        references = np.ascontiguousarray(embeddings, np.float32)
        if references.ndim != 2 or not np.isfinite(references).all():
            raise UserError(f"nearest known: {references.shape}: finite embeddings (n, m) needed")
        self._width = references.shape[1]
        self._center, self._axes = _principal_axes(references)
        sketches = np.concatenate([self._sketch(part) for part in _parts(references)])
        order = np.argsort(sketches[:, 0], kind="stable")
        # The last block is filled up with copies of the last reference, which change no result.
        self._order = np.concatenate([order, np.repeat(order[-1:], -len(order) % BLOCK)])
        self._references = references[self._order]
        blocks = sketches[self._order].reshape(-1, BLOCK, sketches.shape[1])
        self._blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))
        self._reach = float(np.linalg.norm(sketches, axis=1).max(initial=0))

    def query(
        self, embeddings: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return (index, distance), (B,) each, of the reference nearest to each embedding (B, m).

        Distances are computed in float64. Of references that are equally near it is the one with
        the lowest index. What a row gets does not depend on the other rows. A row that is not
        finite gets index -1 and distance NaN, as does any row where there are no references.
        """
        queries = np.ascontiguousarray(embeddings, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._width:
            raise UserError(f"nearest known: {queries.shape}: must be (B, {self._width})")
        index = np.full(len(queries), -1, np.int64)
        distance = np.full(len(queries), np.nan)
        if len(self._blocks) == 0:
            return index, distance
        for first in range(0, len(queries), ROWS_AT_ONCE):
            finite = np.isfinite(queries[first : first + ROWS_AT_ONCE]).all(axis=1)
            rows = first + np.flatnonzero(finite)
            sketches = self._sketch(queries[rows])
            along = np.argsort(sketches[:, 0])  # neighbours visit the same blocks, in the cache
            rows, sketches = rows[along], sketches[along]
            slack = ROUNDING * (self._reach + np.linalg.norm(sketches, axis=1))
            index[rows], distance[rows] = _search(
                self._blocks, self._references, self._order, sketches, queries[rows], slack
            )
        return index, distance

    def _sketch(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return sketches (B, s): the distance of two is at most that of their embeddings.

        The leading coordinates in a rotated system, then the length of all that is left: of two
        vectors the difference of lengths is at most the length of the difference.
        """
        centered = embeddings - self._center
        leading = centered @ self._axes
        squared_rest = np.einsum("ij,ij->i", centered, centered)
        squared_rest -= np.einsum("ij,ij->i", leading, leading)
        return np.column_stack([leading, np.sqrt(squared_rest.clip(min=0))])


def _parts(embeddings: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the rows in parts of at most `ROWS_AT_ONCE`; one empty part for no rows."""
    return np.split(embeddings, range(ROWS_AT_ONCE, len(embeddings), ROWS_AT_ONCE))


def _principal_axes(
    embeddings: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (m,) and the leading principal axes (m, at most `SKETCH` - 1)."""
    center = embeddings.mean(axis=0, dtype=np.float64) if len(embeddings) else np.zeros(1)
    width = embeddings.shape[1]
    covariance = np.zeros((width, width))
    for part in _parts(embeddings):
        centered = part - center
        covariance += centered.T @ centered
    axes = np.linalg.eigh(covariance).eigenvectors[:, ::-1]
    return center, np.ascontiguousarray(axes[:, : SKETCH - 1])


@njit(nogil=True, cache=True)
def _search(
    blocks: NDArray[np.float64],
    references: NDArray[np.float32],
    order: NDArray[np.int64],
    sketches: NDArray[np.float64],
    queries: NDArray[np.float32],
    slack: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (index, distance), (B,) each, of the nearest reference.

    Shapes: blocks (K, s, BLOCK), K ≥ 1, ascending in the first of the s numbers; references
    (K · BLOCK, m) and order (K · BLOCK,), their indices, in the same order; sketches (B, s) and
    queries (B, m); slack (B,), what rounding may add to a distance of sketches.
    """
    index = np.empty(len(queries), np.int64)
    distance = np.empty(len(queries))
    bounds = np.empty(BLOCK)
    begins, ends = blocks[:, 0, 0].copy(), blocks[:, 0, BLOCK - 1].copy()
    for row in range(len(queries)):
        sketch, query = sketches[row], queries[row]
        nearest, least, limit = order[0], np.inf, np.inf
        right = np.searchsorted(begins, sketch[0])
        left = right - 1
        while True:
            gap_left = max(sketch[0] - ends[left], 0.0) if left >= 0 else np.inf
            gap_right = begins[right] - sketch[0] if right < len(blocks) else np.inf
            gap = min(gap_left, gap_right)
            if gap == np.inf or gap * gap > limit:
                break
            if gap_left <= gap_right:
                block = left
                left -= 1
            else:
                block = right
                right += 1
            _squared_bounds(sketch, blocks[block], bounds)
            for place in range(BLOCK):
                if bounds[place] <= limit:
                    candidate = block * BLOCK + place
                    squared = _squared_distance(query, references[candidate])
                    if squared < least or (squared == least and order[candidate] < nearest):
                        nearest, least = order[candidate], squared
                        limit = (np.sqrt(squared) + slack[row]) ** 2
        index[row], distance[row] = nearest, np.sqrt(least)
    return index, distance


@njit(nogil=True, cache=True, fastmath=FAST)
def _squared_bounds(
    sketch: NDArray[np.float64], block: NDArray[np.float64], bounds: NDArray[np.float64]
) -> None:
    """Write the squared distances (BLOCK,) of a sketch (s,) from those of a block (s, BLOCK)."""
    bounds[:] = 0
    for number in range(len(block)):
        for place in range(BLOCK):
            gap = sketch[number] - block[number, place]
            bounds[place] += gap * gap


@njit(nogil=True, cache=True, fastmath=FAST)
def _squared_distance(query: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the squared distance of two embeddings (m,), in float64."""
    total = 0.0
    for number in range(len(query)):
        gap = np.float64(query[number]) - np.float64(reference[number])
        total += gap * gap
    return total


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
