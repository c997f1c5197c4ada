"""What a screen asks for: a model, and the values of its target that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import UserError
from emrl_ray.config.base import window_text
from emrl_ray.model import Card

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
        return window_text(self.window)


def refuse_the_same(
    objectives: Sequence[Objective], cards: Sequence[Card], fingerprints: Sequence[str]
) -> None:
    """Raise UserError, in one line, at two objectives that no probability of both can be told for.

    That is at two windows for one model, told by the fingerprint of its folder, whose errors are
    the same, and at windows for one target, unit and level of theory that have no value in common.
    """
    for one, other in combinations(range(len(objectives)), 2):
        first, second = objectives[one], objectives[other]
        if fingerprints[one] == fingerprints[other]:
            raise UserError(
                f"{second.model}: two windows for the {cards[one].target} of one model, "
                f"{first.window_text} and {second.window_text}; give one window, of the values in both"
            )
        if first.window is None or second.window is None:
            continue
        (low, high), (low2, high2) = first.window, second.window
        if _meaning(cards[one]) == _meaning(cards[other]) and max(low, low2) > min(high, high2):
            raise UserError(
                f"no {cards[one].target} is in both target windows, "
                f"{first.window_text} and {second.window_text}"
            )


def _meaning(card: Card) -> tuple[str | None, ...]:
    """Return what a model's numbers are: target, unit, level of theory."""
    return card.target, card.unit, card.theory


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
