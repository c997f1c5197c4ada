"""The shortlist of a screen: which candidates are on it, and in which order.

The best rows of each file are found first, then the best of those: what is held in memory grows
with the length of the shortlist, not with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.config import ConfigError
from emrl_ray.crystals.elements import ATOMIC_NUMBERS, MAX_ATOMIC_NUMBER
from emrl_ray.crystals.storage import Location

ALLOWED = "elements_allowed"
"""Column of the predictions that tells the rows an `ElementFilter` lets pass."""
P_IN_WINDOW = "p_in_window"
"""Column of the predictions with the probability of a value within the window asked for."""

RANKED = ("id", "prediction", P_IN_WINDOW, ALLOWED)
"""Columns that ranking reads."""
READERS = 16
"""Files that are read at a time; a request to an object store is mostly waiting."""
FILES_AT_ONCE = 64
"""Files that are read, and whose best rows are held, between two merges."""


class Ranking(NamedTuple):
    """What makes one candidate better than another.

    With a window: the larger `p_in_window`; among equals the prediction nearer to the middle of the
    window, or further inside where one end is open. Without: the larger prediction, or the
    smaller. Candidates that are equal in all that are ordered by id, then by place in the library.
    """

    window: tuple[float, float] | None = None
    """(low, high) in the unit of the target; an open end is infinite."""
    largest: bool = True
    """Whether the largest prediction is best; says nothing with a window."""


class ElementFilter(NamedTuple):
    """Which elements the crystals of a shortlist may have."""

    excluded: frozenset[int]
    """Atomic numbers that no crystal may have."""
    only: frozenset[int]
    """Atomic numbers that a crystal may have; empty allows all."""

    @property
    def passes_all(self) -> bool:
        """Whether there is nothing to filter by."""
        return not self.excluded and not self.only

    def allows(self, atomic_numbers: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Return (B,) whether each crystal, a list of atomic numbers, has allowed elements alone.

        What is not a known element, or null in place of a crystal, is not allowed.
        """
        forbidden = np.zeros(MAX_ATOMIC_NUMBER + 1, bool)
        forbidden[[0, *self.excluded]] = True
        if self.only:
            forbidden[list(set(range(MAX_ATOMIC_NUMBER + 1)) - self.only)] = True
        crystals = pa.concat_arrays(atomic_numbers.chunks)
        numbers = pc.list_flatten(crystals).cast(pa.int64()).fill_null(0).to_numpy()
        known = np.where((numbers >= 0) & (numbers <= MAX_ATOMIC_NUMBER), numbers, 0)
        allowed = crystals.is_valid().to_numpy(zero_copy_only=False).copy()
        allowed[pc.list_parent_indices(crystals).to_numpy()[forbidden[known]]] = False
        return allowed


class Tally(NamedTuple):
    """What became of the candidates on the way to the shortlist."""

    candidates: int
    excluded: int
    """Candidates that the element filter kept out."""
    unranked: int
    """Candidates, not excluded, without a number to rank by."""

    def __add__(self, other: object) -> Tally:
        """Return the sums of both."""
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def element_filter(excluded: Sequence[str], only: Sequence[str]) -> ElementFilter:
    """Return the filter that the options name by element symbols.

    Raises ConfigError, in one line, at a symbol that is no element or if no element is left.
    """
    for option, names in (("exclude-elements", excluded), ("only-elements", only)):
        for name in names:
            if name not in ATOMIC_NUMBERS:
                raise ConfigError(f"--{option} {name}: no such element, give symbols such as Pb")
    if only and set(only) <= set(excluded):
        raise ConfigError(f"--only-elements {','.join(only)}: all of them are excluded as well")
    return ElementFilter(
        frozenset(ATOMIC_NUMBERS[name] for name in excluded),
        frozenset(ATOMIC_NUMBERS[name] for name in only),
    )


def shortlist(files: Sequence[Location], ranking: Ranking, top: int) -> tuple[pa.Table, Tally]:
    """Return the best `top` rows of one or more prediction files, best first, and a tally of all.

    The table has a column `rank`, from 1, then the columns of the files but `elements_allowed`.
    """
    best, tally = _NONE, Tally(0, 0, 0)
    with ThreadPoolExecutor(READERS) as readers:

        def read(number: int) -> tuple[pa.Table, Tally]:
            return best_rows(_read_ranked(files[number]), number, ranking, top)

        for first in range(0, len(files), FILES_AT_ONCE):
            numbers = range(first, min(first + FILES_AT_ONCE, len(files)))
            for part, counted in readers.map(read, numbers):
                best = pa.concat_tables([best, part])
                tally += counted
            best = _select(best, top)
        return _rows(files, best, readers), tally


_NONE = pa.table(
    {
        "score": pa.array([], pa.float64()),
        "tie": pa.array([], pa.float64()),
        "id": pa.array([], pa.string()),
        "file": pa.array([], pa.int64()),
        "row": pa.array([], pa.int64()),
    }
)


def _read_ranked(file: Location) -> pa.Table:
    """Return the columns of a prediction file that rank its rows."""
    with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
        names = [name for name in RANKED if name in parquet.schema_arrow.names]
        return parquet.read(names, use_threads=False)


def best_rows(
    predictions: pa.Table, number: int, ranking: Ranking, top: int
) -> tuple[pa.Table, Tally]:
    """Return the best `top` rows of a table of predictions and what became of the others.

    Of a row the result has `score` (larger is better), `tie` (smaller is better), `id`, `file`
    (the `number` given) and `row` (its position). Nulls and NaN are never among the best.
    """
    prediction = _numbers(predictions.column("prediction"))
    if ranking.window is None:
        score = prediction if ranking.largest else -prediction
        tie = np.zeros(len(score))
    else:
        score = _numbers(predictions.column(P_IN_WINDOW))
        tie = _distance_to_middle(prediction, *ranking.window)
    if ALLOWED in predictions.column_names:
        allowed = predictions.column(ALLOWED).to_numpy()
    else:
        allowed = np.ones(len(score), bool)
    ranked = allowed & ~np.isnan(score) & ~np.isnan(tie)
    rows = np.flatnonzero(ranked)
    table = pa.Table.from_arrays(
        [
            pa.array(score[rows]),
            pa.array(tie[rows]),
            predictions.column("id").take(rows).cast(pa.string()),
            pa.array(np.full(len(rows), number, np.int64)),
            pa.array(rows),
        ],
        schema=_NONE.schema,
    )
    n_allowed = int(allowed.sum())
    tally = Tally(len(score), len(score) - n_allowed, n_allowed - len(rows))
    return _select(table, top), tally


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a numeric column with NaN for null."""
    return column.cast(pa.float64()).to_numpy()


def _distance_to_middle(
    prediction: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """Return how far predictions are from the middle of a window; of an open one, from its end."""
    if np.isinf(high):
        return -prediction
    if np.isinf(low):
        return prediction
    return np.abs(prediction - (low + high) / 2)


def _select(table: pa.Table, top: int) -> pa.Table:
    """Return the best `top` rows, best first."""
    keys = [
        ("score", "descending"),
        *((name, "ascending") for name in ("tie", "id", "file", "row")),
    ]
    return table.take(pc.select_k_unstable(table, top, sort_keys=keys))  # type: ignore[call-overload]


def _rows(files: Sequence[Location], best: pa.Table, readers: Executor) -> pa.Table:
    """Return the rows, in full, that `best` names, in its order."""
    file, row = best.column("file").to_numpy(), best.column("row").to_numpy()
    by_place = np.lexsort((row, file))

    def read(group: NDArray[np.int64]) -> pa.Table:
        place = files[file[group[0]]]
        table = pq.read_table(place.path, filesystem=place.filesystem, use_threads=False)
        return table.take(row[group])

    if best.num_rows:
        groups = np.split(by_place, np.flatnonzero(np.diff(file[by_place])) + 1)
        tables = list(readers.map(read, groups))
        found = pa.concat_tables(tables, promote_options="permissive")
        found = found.take(np.argsort(by_place)).combine_chunks()
    else:
        found = pq.read_schema(files[0].path, filesystem=files[0].filesystem).empty_table()
    if ALLOWED in found.column_names:
        found = found.drop_columns(ALLOWED)
    return found.add_column(0, "rank", pa.array(np.arange(1, best.num_rows + 1)))
