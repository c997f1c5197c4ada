"""Elements as CGCNN sees them: binned properties, a one for the bin (Xie and Grossman 2018, table S1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrl_ray.features.element_properties import property_columns

NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers at which the periods end."""
BLOCKS = {"s": 0, "p": 1, "d": 2, "f": 3}
GROUPS, PERIODS = 18, 9
VALENCE_ELECTRONS = 12
BINS = 10
BINNED = {
    "electronegativity_pauling": (0.5, 4.0),
    "covalent_radius_bragg_pm": (25.0, 250.0),
    "first_ionization_energy_eV": (1.3, 3.3),
    "electron_affinity_eV": (-3.0, 3.7),
    "atomic_volume_cm3_per_mol": (1.5, 4.3),
}
"""Ends of the ten bins of each property; of the logarithm for those in `LOGARITHMIC`."""
LOGARITHMIC = ("first_ionization_energy_eV", "atomic_volume_cm3_per_mol")


def one_hot_elements(content: bytes) -> NDArray[np.float64]:
    """Return (119, 93) zeros and ones; row Z is element Z and row 0 is zero.

    Group, period, valence electrons and block, then the properties of `BINNED` from the table
    `content` (`features.element_properties`): ten bins each, values beyond the ends in the last, and nothing
    where the property is unknown.
    """
    columns = property_columns(content)
    places = np.array([_place(number) for number in range(1, NOBLE[-1] + 1)])
    group, period, valence, block = places.T
    parts = [
        _one_hot(group - 1, GROUPS),
        _one_hot(period - 1, PERIODS),
        _one_hot(valence - 1, VALENCE_ELECTRONS),
        _one_hot(block, len(BLOCKS)),
    ]
    for name, (low, high) in BINNED.items():
        values = np.log(columns[name]) if name in LOGARITHMIC else columns[name]
        share = (values - low) / (high - low)
        known = np.isfinite(share)
        bins = np.clip(np.floor(np.where(known, share, 0) * BINS), 0, BINS - 1).astype(int)
        parts.append(_one_hot(bins, BINS) * known[:, None])
    rows = np.hstack(parts)
    return np.vstack([np.zeros((1, rows.shape[1])), rows])


def _one_hot(bins: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    return np.eye(count)[np.clip(bins, 0, count - 1)]


def _place(number: int) -> tuple[int, int, int, int]:
    """Return group (3 for the f block), period, valence electrons (at most 12) and block."""
    period = next(row for row, last in enumerate(NOBLE) if number <= last)
    before = number - NOBLE[period - 1]
    after = NOBLE[period] - number
    if before <= 2:
        return before if number != 2 else 18, period, before, BLOCKS["s"]
    if after < 6:
        return 18 - after, period, 8 - after, BLOCKS["p"]
    if after < 16:
        group = 12 - (after - 6)
        return group, period, group, BLOCKS["d"]
    return 3, period, min(before, VALENCE_ELECTRONS), BLOCKS["f"]
