"""How far features are from those of the training set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from emrl_ray.model.uncertainty.nearest_neighbor import NearestNeighborIndex, several_nearest

SHARE = 0.01
"""Of the training crystals are beyond a limit that the others set."""
AXES = 32
"""Principal axes on which features are compared."""
MIN_UNIT = 0.1
"""Least unit of a feature, in medians of the others': one that no training crystal shows counts too."""
MAX_REFERENCES = 4096
"""Training crystals that stand for all: of more, as many, evenly spread, do."""


@dataclass(frozen=True)
class FeatureSpace:
    """Training crystals in the space of their features, in units of each, on principal axes."""

    mean: NDArray[np.float64]
    """(f,) of the features."""
    unit: NDArray[np.float64]
    """(f,) standard deviations, of features that hardly vary the least unit."""
    axes: NDArray[np.float64]
    """(f, q) principal axes."""
    references: NDArray[np.float32]
    """(r, q + 1) the training crystals (`place`)."""
    limit: float
    """Largest distance to the nearest of them."""

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> Self:
        """Return the space of n training crystals with features (n, f); n ≥ 2."""
        values = np.asarray(features, np.float64)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        varying = deviation[deviation > 0]
        usual = float(np.median(varying)) if len(varying) else 1.0
        unit = np.maximum(deviation, MIN_UNIT * usual)
        values = (values - mean) / unit
        axes = np.linalg.eigh(values.T @ values).eigenvectors[:, ::-1][:, :AXES]
        references = _place(values[:: -(-len(values) // MAX_REFERENCES)], axes)
        return cls(mean, unit, axes, references, limit(distances_apart(references)))

    def far(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return (B,) whether features (B, f) are further from the nearest reference than the limit."""
        _, distance = self._search.query(_place((features - self.mean) / self.unit, self.axes))
        return distance > self.limit

    @cached_property
    def _search(self) -> NearestNeighborIndex:
        return NearestNeighborIndex(self.references)


def limit(scores: NDArray[np.floating]) -> float:
    """Return the largest of scores (n,) but for the `SHARE` that is above it."""
    return float(np.quantile(scores, 1 - SHARE, method="higher"))


def distances_apart(places: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance of each of n ≥ 2 places (n, q) to the nearest other one; exact.

    Of more than `MAX_REFERENCES` only as many, evenly spread, are asked.
    """
    asked = places[:: -(-len(places) // MAX_REFERENCES)]
    _, distance = several_nearest(places, asked, 2)
    return distance[:, 1]  # the nearest is the place itself, or one like it


def _place(values: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (B, q + 1), values (B, f) on the axes (f, q), and the length of what is off them all.

    What no training crystal shows lies off the axes; two crystals are at least as far apart as
    these numbers say.
    """
    along = values @ axes
    off = np.einsum("ij,ij->i", values, values) - np.einsum("ij,ij->i", along, along)
    return np.column_stack([along, np.sqrt(off.clip(min=0))]).astype(np.float32)
