"""Hyperparameters by the name of the data set that they suit (Na 2022, SI Table 2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Hyperparameters of one data set (Na 2022, SI Table 2)."""

    margin: float
    learning_rate: float
    l2: float
    batch_size: int
    cutoff: float


PRESETS: dict[str, Preset] = {
    "MPB": Preset(0.2, 5e-4, 5e-6, 48, 5.0),
    "MPS-FE": Preset(0.2, 5e-4, 5e-6, 48, 5.0),
    "MPS-BG": Preset(0.08, 5e-4, 5e-4, 48, 4.0),
    "MPL-FE": Preset(0.2, 5e-4, 5e-4, 16, 5.0),
    "MPL-BG": Preset(0.08, 5e-4, 5e-4, 16, 5.0),
    "HOIP": Preset(0.2, 5e-4, 5e-6, 32, 5.0),
    "NLHM": Preset(0.2, 5e-4, 5e-6, 32, 5.0),
}
"""SI Table 2 by name."""
