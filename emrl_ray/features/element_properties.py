"""Element properties as the network's input (Na 2022, SI Table 1)."""

from __future__ import annotations

import csv
import io
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER

AFFINITY = "electron_affinity_eV"
Filling = Literal["mean", "reference"]


def default_csv() -> bytes:
    """Return the package's own element table, a CSV of Z = 1..118 with empty cells where unknown."""
    return resources.files("emrl_ray.features").joinpath("data/elements.csv").read_bytes()


def element_features(content: bytes, filling: Filling) -> NDArray[np.float64]:
    """Return (119, F) standardised properties; row Z is element Z and row 0 is zero.

    `content` is a CSV as of `default_csv`; its columns after `symbol` keep their order, but the
    atomic number comes first.

    ``reference`` is the published form: unknown is 0, then each column is standardised over all
    118 elements (population standard deviation); F = 9.

    ``mean`` standardises over the known values, puts unknown ones at the mean, and appends a
    column of 0/1 (unknown) for each column that has any. Negative electron affinities, the
    extrapolated ones of closed shells, count as unknown.
    """
    names, raw = _read(content)
    unknown = np.isnan(raw)
    if filling == "reference":
        filled = np.where(unknown, 0.0, raw)
        rows = (filled - filled.mean(axis=0)) / filled.std(axis=0)
    else:
        unknown |= (raw < 0) & np.array([name == AFFINITY for name in names])
        known = np.where(unknown, np.nan, raw)
        scaled = (known - np.nanmean(known, axis=0)) / np.nanstd(known, axis=0)
        flags = unknown[:, unknown.any(axis=0)].astype(float)
        rows = np.hstack([np.where(unknown, 0.0, scaled), flags])
    return np.vstack([np.zeros((1, rows.shape[1])), rows])


def property_columns(content: bytes) -> dict[str, NDArray[np.float64]]:
    """Return each property (118,) of Z = 1..118 by its name, NaN where it is unknown."""
    names, values = _read(content)
    return dict(zip(names, values.T, strict=True))


def _read(content: bytes) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the properties and their values; UserError, in one line, if damaged."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode()), strict=True)
        rows = [row for row in reader if None not in row.values()]  # None: cut off
        names = [name for name in reader.fieldnames or () if name != "symbol"]
        values = np.array([[float(row[name] or "nan") for name in names] for row in rows])
        numbers = values[:, names.index("atomic_number")]
    except (ValueError, IndexError, csv.Error):
        numbers = np.zeros(0)
    if not np.array_equal(numbers, np.arange(1, MAX_ATOMIC_NUMBER + 1)):
        raise UserError(f"elements.csv: must have the rows 1..{MAX_ATOMIC_NUMBER} in order")
    return names, values
