"""The map of an embedding space: the plane in which the reference embeddings vary most."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class PcaMap(NamedTuple):
    """Mean and first two principal axes of n reference embeddings."""

    mean: NDArray[np.float64]
    """(m,)"""
    axes: NDArray[np.float64]
    """(m, 2); the largest entry of each is positive, so that the map does not turn over by chance."""

    @classmethod
    def of(cls, embeddings: NDArray[np.float32]) -> Self:
        """Return the plane of references (n, m), m ≥ 2."""
        mean = (
            embeddings.mean(axis=0, dtype=np.float64)
            if len(embeddings)
            else np.zeros(embeddings.shape[1])
        )
        centered = embeddings - mean
        axes = np.linalg.eigh(centered.T @ centered).eigenvectors[:, :-3:-1]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        return cls(mean, axes * np.where(largest < 0, -1, 1))

    def project(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the places (B, 2) of embeddings (B, m)."""
        return ((embeddings - self.mean) @ self.axes).astype(np.float32)
