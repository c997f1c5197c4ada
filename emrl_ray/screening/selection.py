"""Which of the best candidates are shown: each crystal once, and not all from one chemical system."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import symbols
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching.matcher import group_duplicates
from emrl_ray.crystals.schema import GEOMETRY

POOL = 2
"""So many times the rows of the shortlist are chosen from if they are to lie far apart."""
MIN_FRACTION = 0.5
"""Share of the probability of the last row of a plain shortlist that a row which lies far apart must have."""


class Selection(NamedTuple):
    """What is shown of the best rows."""

    rows: NDArray[np.int64]
    """Positions among the rows given, ascending: best first."""
    repeated: int
    """Rows given that are the crystal of another row."""
    enough: bool
    """Whether there were as many to choose from as there should be: further rows change nothing."""


class Selector(NamedTuple):
    """How rows are chosen, best first."""

    per_system: int | None = None
    """Most crystals with the same set of elements."""
    embed: Callable[[CrystalBatch], NDArray[np.float32]] | None = None
    """Gives embeddings (B, m): the rows are then, of the best that may be shown, `POOL` times as
    many as are shown, the ones that lie far apart there."""

    def __call__(self, rows: pa.Table, top: int, probability: str | None = None) -> Selection:
        """Return the choice of `top` rows, or of fewer if there are not so many.

        `rows` have the geometry; `probability` is the column that they are ordered by, None if it is
        no probability.
        """
        batch = CrystalBatch.from_arrow(rows.select(GEOMETRY))
        group = group_duplicates(batch, find_contacts(batch))
        own = np.arange(len(group))
        shown = own[group == own]
        if self.per_system is not None:
            _, system = np.unique(_systems(batch.take(shown)), return_inverse=True)
            seen = np.zeros(len(shown), np.int64)
            shown = shown[among_first(system, self.per_system, seen)]
        most = top if self.embed is None else POOL * top
        shown = shown[:most]
        enough = len(shown) == most
        if self.embed is not None and len(shown) > top:
            if probability is not None:
                chance = rows.column(probability).to_numpy()[shown]
                shown = shown[chance >= MIN_FRACTION * chance[top - 1]]
            shown = shown[far_apart(self.embed(batch.take(shown)), top)]
        return Selection(shown, int((group != own).sum()), enough)


def far_apart(embeddings: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return (count,) rows, ascending: the first, then in turn the one farthest from those chosen.

    `embeddings` (B, m), B ≥ count ≥ 1; rows may be equal, and none is taken twice. Farthest-point
    sampling (Gonzalez, Theor. Comput. Sci. 38, 293 (1985)).
    """
    chosen = np.zeros(count, np.int64)
    distance = np.full(len(embeddings), np.inf)
    for place in range(1, count):
        step = np.linalg.norm(embeddings - embeddings[chosen[place - 1]], axis=1)
        distance = np.minimum(distance, step)
        distance[chosen[:place]] = -1
        chosen[place] = distance.argmax()
    return np.sort(chosen)


def _systems(batch: CrystalBatch) -> list[str]:
    """Return the chemical system of each crystal, as Cs-I-Pb."""
    return ["-".join(sorted(set(names))) for names in symbols(batch)]


def among_first(kinds: NDArray[np.int64], count: int, seen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n,) which of n things are among the first `count` of their kinds (n,), from 0.

    `seen` (k,) says how many of each kind came before these, which are counted on.
    """
    order = np.argsort(kinds, kind="stable")
    grouped = kinds[order]
    place = np.arange(len(kinds)) - np.searchsorted(grouped, grouped) + seen[grouped]
    first = np.zeros(len(kinds), bool)
    first[order] = place < count
    seen += np.bincount(kinds, minlength=len(seen))
    return first
