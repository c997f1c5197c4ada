"""EMRL-LR: ordinary least squares."""

from __future__ import annotations

import pathlib
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from emrl_ray.model.heads.holdout import check_rows

SMALLEST = float(np.finfo(np.float32).eps)
"""Singular values below this part of the largest are rounding of a float32 embedding."""


class LinearHead:
    """Ordinary least squares with an intercept; the shortest solution where the rank is deficient."""

    file: ClassVar[str] = "head_linear.safetensors"

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
        """Write the head's file."""
        tensors = {
            "slope": self._slope,
            "intercept": np.array(self._intercept),
            "rank": np.array(self._rank),
        }
        save_file(tensors, folder / self.file)

    @classmethod
    def load(cls, folder: pathlib.Path, threads: int = 1) -> Self:
        """Return the head that `save` left in `folder`."""
        tensors = load_file(folder / cls.file)
        head = cls(threads=threads)
        head._slope = tensors["slope"]
        head._intercept = float(tensors["intercept"])
        head._rank = int(tensors["rank"])
        return head


class ReadoutHead(LinearHead):
    """The output layer that was trained with the network (`training.Readout`)."""

    file: ClassVar[str] = "head_readout.safetensors"

    @classmethod
    def of(cls, slope: NDArray[np.float64], intercept: float) -> Self:
        """Return the head target = slope (m,) · embedding + intercept, in the target's unit."""
        head = cls()
        head._slope, head._intercept = slope, intercept
        head._rank = len(slope)
        return head
