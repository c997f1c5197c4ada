"""Gaussian bases of the pair distance."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError

Basis = Literal["uniform", "reference"]
WIDTH = 0.2
UNIFORM_CENTERS = 32
REFERENCE_CENTERS = 8
REFERENCE_START = 3.0


class GaussianBasis(NamedTuple):
    """Functions exp(-(d - center)² / width²) of a distance d."""

    centers: NDArray[np.float64]
    """(G,) Å."""
    width: float
    """Å."""


def gaussian_basis(name: Basis, cutoff: float) -> GaussianBasis:
    """Return a basis for distances up to `cutoff` (Å).

    ``reference`` is the published one: 8 centres 3 + (cutoff - 3) k / 8, k = 1..8, blind below
    2.6 Å. ``uniform`` has 32 centres from 0 Å to the cutoff.
    """
    if name == "reference":
        if cutoff <= REFERENCE_START:
            raise UserError(f"--cutoff {cutoff}: the reference basis needs more than 3 Å")
        steps = np.arange(1, REFERENCE_CENTERS + 1) / REFERENCE_CENTERS
        return GaussianBasis(REFERENCE_START + (cutoff - REFERENCE_START) * steps, WIDTH)
    return GaussianBasis(np.linspace(0.0, cutoff, UNIFORM_CENTERS), WIDTH)


def gaussians_every(step: float, cutoff: float) -> GaussianBasis:
    """Return Gaussians `step` (Å) apart and wide, from 0 Å to the first at or past the cutoff."""
    return GaussianBasis(step * np.arange(np.ceil(cutoff / step) + 1), step)
