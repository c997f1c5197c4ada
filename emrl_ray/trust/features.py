"""How far features are from those of the training set."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SHARE = 0.01
"""Of the training crystals are beyond a limit that the others set."""
AXES = 32
"""Principal axes on which features are compared."""
MOST_REFERENCES = 4096
"""Training crystals that stand for all: of more, as many, evenly spread, do."""
ROWS_AT_ONCE = 1024


class FeatureSpace(NamedTuple):
    """Training crystals in the space of their features, standardised and on principal axes."""

    mean: NDArray[np.float32]
    """(f,) of the features."""
    axes: NDArray[np.float32]
    """(f, q) principal axes, in units of the features' standard deviations."""
    references: NDArray[np.float32]
    """(r, q) the training crystals."""
    limit: float
    """Largest distance to the nearest of them."""

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> Self:
        """Return the space of n training crystals with features (n, f); n ≥ 2."""
        values = np.asarray(features, np.float64)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        values = (values - mean) / np.where(deviation > 0, deviation, np.inf)
        axes = np.linalg.eigh(values.T @ values).eigenvectors[:, ::-1][:, :AXES]
        axes = axes / np.where(deviation > 0, deviation, np.inf)[:, None]
        step = -(-len(values) // MOST_REFERENCES)
        references = ((features[::step] - mean) @ axes).astype(np.float32)
        space = cls(mean.astype(np.float32), axes.astype(np.float32), references, np.inf)
        return space._replace(limit=limit(distances_apart(references)))

    def far(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return (B,) whether features (B, f) are further from the nearest reference than the limit."""
        placed = (features - self.mean).astype(np.float32) @ self.axes
        return _distances(placed, self.references) > self.limit


def limit(scores: NDArray[np.floating]) -> float:
    """Return the largest of scores (n,) but for the `SHARE` that is above it."""
    return float(np.quantile(scores, 1 - SHARE, method="higher"))


def distances_apart(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the distance of each of n places (n, q) to the nearest other one.

    Of more than `MOST_REFERENCES` only as many, evenly spread, are asked.
    """
    rows = np.arange(0, len(places), -(-len(places) // MOST_REFERENCES))
    return _distances(places[rows], places, rows)


def _distances(
    places: NDArray[np.float32],
    references: NDArray[np.float32],
    own: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return (B,) the distance of each place to the nearest reference, leaving out its `own` (B,)."""
    nearest = np.empty(len(places), np.float32)
    squared = np.einsum("ij,ij->i", references, references)
    for start in range(0, len(places), ROWS_AT_ONCE):
        part = places[start : start + ROWS_AT_ONCE]
        between = squared - 2 * part @ references.T
        if own is not None:
            between[np.arange(len(part)), own[start : start + len(part)]] = np.inf
        nearest[start : start + len(part)] = between.min(axis=1)
    length = np.einsum("ij,ij->i", places, places)
    return np.sqrt((nearest + length).clip(min=0))
