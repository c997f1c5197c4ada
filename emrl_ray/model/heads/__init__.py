"""Regressors on an embedding: one protocol, one registry.

The libraries that fit them (torch, xgboost) are imported where they are used, so that importing
this package, and predicting with a head that does not need them, costs nothing.
"""

from __future__ import annotations

import pathlib
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from emrl_ray.model.heads.boosted import BoostedHead
from emrl_ray.model.heads.linear import LinearHead, ReadoutHead
from emrl_ray.model.heads.neural import NeuralHead


class Head(Protocol):
    """A regressor from embeddings (B, m) to one target (B,), in the target's unit."""

    def __init__(self, seed: int = 0, threads: int = 1) -> None:
        """Make an unfitted head; the same seed, data and threads give the same files."""

    def fit(self, embeddings: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
        """Fit to the rows; raises UserError, in one line, if they cannot be learned from."""

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (B,); a row with a NaN gets a NaN."""

    @property
    def chosen(self) -> dict[str, int]:
        """What the fit chose by itself, for the model's card."""

    def save(self, folder: pathlib.Path) -> None:
        """Write the head's own file into `folder`, which exists."""

    @classmethod
    def load(cls, folder: pathlib.Path, threads: int = 1) -> Self:
        """Return the head that `save` left in `folder`, predicting with `threads` threads."""


HEADS: dict[str, type[Head]] = {
    "linear": LinearHead,
    "neural": NeuralHead,
    "boosted": BoostedHead,
    "readout": ReadoutHead,
}
"""EMRL-LR, EMRL-NN and EMRL-GB by name, and the output layer of a supervised network."""

__all__ = ["HEADS", "BoostedHead", "Head", "LinearHead", "NeuralHead", "ReadoutHead"]
