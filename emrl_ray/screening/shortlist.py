"""The shortlist of a screen: which candidates are on it, and in which order.

The best rows of each file are found first, then the best of those. Among them the same crystal is
shown once, and a chemical system as often as it may be. How many are looked at, and so the memory,
grows with the length of the shortlist, not with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.crystals.storage import Location
from emrl_ray.screening.choice import Chooser
from emrl_ray.screening.filters import EXCLUDED_BY
from emrl_ray.screening.ranking import BEST, NOTHING, Ranking, Tally, best_rows, select

READERS = 16
"""Files that are read at a time; a request to an object store is mostly waiting."""
FILES_AT_ONCE = 64
"""Files that are read, and whose best rows are held, between two merges."""
FIRST, MORE, MOST = 2, 4, 64
"""So many times the rows of the shortlist are looked at, so many times more if that is too few, and at most."""
RANK = "rank"
"""Column of the shortlist: place on it, from 1."""


class Shortlist(NamedTuple):
    """What was chosen."""

    table: pa.Table
    """`rank`, the columns of the predictions, `duplicates`, and the geometry."""
    tally: Tally
    """What became of the candidates."""
    examined: int
    """Best rows that were looked at; what is farther down is the duplicate of none."""
    repeated: int
    """Of those, the ones that are another row's crystal."""
    cut_short: bool
    """Whether it has fewer rows than were asked for though there were further ones to look at."""


def shortlist(
    files: Sequence[Location],
    ranking: Ranking,
    top: int,
    choose: Chooser,
) -> Shortlist:
    """Return the best `top` candidates in one or more prediction files, best first.

    `choose` says which of the best rows, best first, are shown; it is asked for `top` of more and
    more rows until it finds them, or `MOST` times as many were looked at.
    """
    with ThreadPoolExecutor(READERS) as readers:
        best, tally = _ranked(files, ranking, FIRST * top, readers)
        choice, examined = choose(_rows(files, best, readers), top), best.num_rows
        if choice.table.num_rows < top and examined < tally.ranked:
            best, _ = _ranked(files, ranking, MOST * top, readers)
            while choice.table.num_rows < top and examined < best.num_rows:
                examined = min(MORE * examined, best.num_rows)
                choice = choose(_rows(files, best.slice(0, examined), readers), top)
    listed = choice.table.num_rows
    table = choice.table.add_column(0, RANK, pa.array(np.arange(1, listed + 1)))
    return Shortlist(
        table, tally, examined, choice.repeated, listed < top and examined < tally.ranked
    )


def _ranked(
    files: Sequence[Location], ranking: Ranking, most: int, readers: Executor
) -> tuple[pa.Table, Tally]:
    """Return the best `most` rows of all files (`BEST`), and a tally of all."""
    best, tally = BEST.empty_table(), NOTHING

    def read(number: int) -> tuple[pa.Table, Tally]:
        return best_rows(_read_ranked(files[number], ranking), number, ranking, most)

    for first in range(0, len(files), FILES_AT_ONCE):
        numbers = range(first, min(first + FILES_AT_ONCE, len(files)))
        for part, counted in readers.map(read, numbers):
            best = pa.concat_tables([best, part])
            tally += counted
        best = select(best, most)
    return best, tally


def _read_ranked(file: Location, ranking: Ranking) -> pa.Table:
    """Return the columns of a prediction file that rank its rows."""
    with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
        names = [name for name in ranking.columns if name in parquet.schema_arrow.names]
        return parquet.read(names, use_threads=False)


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
    return found.drop_columns(EXCLUDED_BY) if EXCLUDED_BY in found.column_names else found
