"""What readers of all formats make of the numbers of a cell and its sites: lattice, vectors, occupancy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.parsed import ReadError

OCCUPANCY_TOLERANCE = 1e-3


def is_full(occupancy: float) -> bool:
    """Return whether a site of this occupancy is one whole atom; NaN is none."""
    return abs(occupancy - 1) <= OCCUPANCY_TOLERANCE


def lattice_of(parameters: list[float]) -> NDArray[np.float64]:
    """Return the lattice (3, 3) of a, b, c (Å), α, β, γ (degrees); raises ReadError if there is none.

    c lies along z and a in the xz plane, as pymatgen places them.
    """
    a, b, c, *degrees = parameters
    if not (all(map(math.isfinite, parameters)) and min(parameters) > 0 and max(degrees) < 180):
        raise ReadError(RejectReason.BAD_CELL, f"cell parameters {parameters}")
    cosines = [math.cos(math.radians(angle)) for angle in degrees]
    sines = [math.sin(math.radians(angle)) for angle in degrees]
    cosine = (cosines[0] * cosines[1] - cosines[2]) / (sines[0] * sines[1])  # of γ*
    if not abs(cosine) < 1:
        raise ReadError(RejectReason.BAD_CELL, f"no cell has the angles {degrees}")
    return np.array(
        [
            [a * sines[1], 0.0, a * cosines[1]],
            [-b * sines[0] * cosine, b * sines[0] * math.sqrt(1 - cosine**2), b * cosines[0]],
            [0.0, 0.0, c],
        ]
    )


def vectors(rows: Any, count: int, reason: RejectReason) -> NDArray[np.float64]:
    """Return (count, 3) numbers; raises ReadError with `reason` where they are not there, or not finite."""
    try:
        found = np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.shape != (count, 3) or not np.isfinite(found).all():
        raise ReadError(reason, f"not {count} times three finite numbers")
    return found
