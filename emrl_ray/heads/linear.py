"""EMRL-LR: ordinary least squares."""

from __future__ import annotations

import pathlib
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from emrl_ray.heads.rows import check_rows

FILE = "head_linear.safetensors"

SMALLEST = float(np.finfo(np.float32).eps)
"""Singular values below this part of the largest are rounding of a float32 embedding."""


class LinearHead:
    """Ordinary least squares with an intercept; the shortest solution where the rank is deficient."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        """Make an unfitted head; least squares draws no random numbers, so `seed` changes nothing."""
        self._slope = np.zeros(0)
        self._intercept = 0.0
        self._rank = 0

    def fit(self, embeddings: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
        """Fit to embeddings (n, m) and targets (n,), n ≥ 1."""
        check_rows("linear", embeddings, targets, least=1)
        rows = embeddings.astype(np.float64)
        center, mean = rows.mean(axis=0), targets.mean()
        slope, _, rank, _ = np.linalg.lstsq(rows - center, targets - mean, rcond=SMALLEST)
        self._slope = slope
        self._intercept = float(mean - center @ slope)
        self._rank = int(rank)

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (B,)."""
        return embeddings.astype(np.float64) @ self._slope + self._intercept

    @property
    def chosen(self) -> dict[str, int]:
        """The rank of the embeddings that were fitted."""
        return {"rank": self._rank}

    def save(self, folder: pathlib.Path) -> None:
        """Write `head_linear.safetensors`."""
        tensors = {
            "slope": self._slope,
            "intercept": np.array(self._intercept),
            "rank": np.array(self._rank),
        }
        save_file(tensors, folder / FILE)

    @classmethod
    def load(cls, folder: pathlib.Path, threads: int = 1) -> Self:
        """Return the head that `save` left in `folder`."""
        tensors = load_file(folder / FILE)
        head = cls(threads=threads)
        head._slope = tensors["slope"]
        head._intercept = float(tensors["intercept"])
        head._rank = int(tensors["rank"])
        return head
