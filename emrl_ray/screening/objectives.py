"""What a screen asks for: a model, and the values of its target that are wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

P_IN_WINDOW, P_ALL = "p_in_window", "p_all"
"""Columns: probability of a value within an objective's window, and within all objectives' windows."""


class Objective(NamedTuple):
    """One property and what is wanted of it."""

    model: str
    """Model folder."""
    head: str | None = None
    """Regressor, None for the model's best."""
    window: tuple[float, float] | None = None
    """(low, high) in the unit of the target; an open end is infinite."""
    largest: bool = True
    """Whether the largest prediction is best; says nothing with a window."""

    @property
    def window_text(self) -> str | None:
        """The window as LOW:HIGH, an open end empty."""
        if self.window is None:
            return None
        return ":".join("" if math.isinf(end) else f"{end:g}" for end in self.window)


def suffix(number: int) -> str:
    """Return what the columns of objective `number`, from 0, end in: nothing, then _2, _3, ..."""
    return f"_{number + 1}" if number else ""


def joint_probability(
    predictions: pa.Table, objectives: Sequence[Objective]
) -> NDArray[np.float64]:
    """Return (B,) the probability that each row meets all windows, as if errors were independent."""
    parts = [
        predictions.column(P_IN_WINDOW + suffix(number)).to_numpy()
        for number in range(len(objectives))
    ]
    return np.prod(parts, axis=0)
