"""Which of the best candidates are shown: each crystal once, and not all from one chemical system."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.contacts import find_contacts
from emrl_ray.crystals.identity import group_duplicates
from emrl_ray.crystals.rows import take_rows
from emrl_ray.crystals.tables import GEOMETRY
from emrl_ray.screening.symbols import symbols

LIBRARY_ROW = "library_row"
"""Column of the predictions: position of the candidate in the library."""
DUPLICATES = "duplicates"
"""Column of the shortlist: ids of further candidates, of those that were looked at, that are the same crystal."""


class Choice(NamedTuple):
    """What is shown of the best rows."""

    table: pa.Table
    """The rows, best first, with the ids of those of the rows given that are the same, and the geometry."""
    repeated: int
    """Rows given that are the crystal of another row."""


class Chooser(NamedTuple):
    """How rows are chosen, best first."""

    library: str
    """Crystals table of the candidates."""
    per_system: int | None = None
    """Most crystals with the same set of elements."""
    embed: Callable[[CrystalBatch], NDArray[np.float32]] | None = None
    """Gives embeddings (B, m): the rows are then, of those given, the ones that lie far apart there."""

    def __call__(self, rows: pa.Table, top: int) -> Choice:
        """Return the choice of `top` rows, or of fewer if there are not so many."""
        positions = rows.column(LIBRARY_ROW).to_numpy()
        crystals = take_rows(self.library, positions, list(GEOMETRY))
        batch = CrystalBatch.from_arrow(crystals)
        group = group_duplicates(batch, find_contacts(batch))
        own = np.arange(len(group))
        shown = own[group == own]
        if self.per_system is not None:
            shown = shown[_among_first(_systems(batch.take(shown)), self.per_system)]
        if self.embed is not None and len(shown) > top:
            shown = shown[far_apart(self.embed(batch.take(shown)), top)]
        shown = shown[:top]
        twins = defaultdict(list)
        for row in own[group != own].tolist():
            twins[int(group[row])].append(rows.column("id")[row].as_py())
        table = rows.take(shown)
        ids = pa.array([twins[row] for row in shown.tolist()], pa.list_(pa.string()))
        table = table.append_column(DUPLICATES, ids)
        for name in GEOMETRY:
            table = table.append_column(
                crystals.schema.field(name), crystals.column(name).take(shown)
            )
        return Choice(table, int((group != own).sum()))


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


def _among_first(names: list[str], count: int) -> NDArray[np.bool_]:
    """Return which names (n,) are among the first `count` of their kind."""
    seen: Counter[str] = Counter()
    first = np.zeros(len(names), bool)
    for place, name in enumerate(names):
        seen[name] += 1
        first[place] = seen[name] <= count
    return first
