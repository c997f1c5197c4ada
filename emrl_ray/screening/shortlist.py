"""The shortlist of a screen: which candidates are on it, and in which order.

The best rows of each file are found first, then the best of those. Among them the same crystal is
shown once, and a chemical system as often as it may be. How many are looked at, and so the memory,
grows with the length of the shortlist, not with the library. Which other ranked rows are the crystals
that are shown is told in the end; of the same crystal the first row of the library is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.parquet import ParquetTable
from emrl_ray.io.paths import Location
from emrl_ray.screening.duplicates import find_duplicates
from emrl_ray.screening.prediction_files import LIBRARY_ROW, each_file, read_rows
from emrl_ray.screening.ranking import NOTHING, RANKED_SCHEMA, Ranking, Tally, best_rows, select
from emrl_ray.screening.selection import Selector

FIRST, MORE, MAX_MULTIPLE = 2, 4, 64
"""So many times the rows of the shortlist are looked at, so many times more if that is too few, and at most."""
MERGED = 64
"""Files whose best rows are merged at a time."""
RANK, DUPLICATES = "rank", "duplicates"
"""Columns of the shortlist: place on it, from 1, and ids of other ranked candidates that are the same crystal."""
LIKELY = 0.5
"""Probability from which on a row is likelier than not to be in the window."""


class Shortlist(NamedTuple):
    """What was chosen."""

    table: pa.Table
    """`rank`, the columns of the predictions, `duplicates`, and the geometry."""
    tally: Tally
    """What became of the candidates."""
    examined: int
    """Best rows that were looked at, to fill the shortlist."""
    repeated: int
    """Of those, the ones that are another row's crystal."""
    cut_short: bool
    """Whether it has fewer rows than were asked for though there were further ones to look at."""
    duplicates_cut: int
    """Rows with so many candidates for a duplicate that not all were compared."""
    likely: int | None
    """Rows that are likelier than not to be in the window, or in all windows; None without."""


def shortlist(
    files: Sequence[Location],
    library: str,
    ranking: Ranking,
    top: int,
    choose: Selector,
    reach: float,
) -> Shortlist:
    """Return the best `top` candidates in one or more prediction files, best first.

    `library` is the crystals table of the candidates. `choose` says which of the best rows, best first, are shown; it is asked for `top` of more and
    more rows until it has enough, or `MAX_MULTIPLE` times as many were looked at. `reach` is how far
    apart on the map the same crystal may lie.
    """
    probability = None if ranking.window is None else ranking.probability
    structures = ParquetTable.of(library)
    every = [*ranking.columns, *ranking.counted]
    best, tally = _ranked(files, every, ranking, FIRST * top)
    rows = read_rows(files, best, structures)
    choice = choose(rows, top, probability)
    examined = best.num_rows
    if not choice.enough and examined < tally.ranked:
        best, _ = _ranked(files, ranking.columns, ranking, MAX_MULTIPLE * top)
        while not choice.enough and examined < best.num_rows:
            examined = min(MORE * examined, best.num_rows)
            rows = read_rows(files, best.slice(0, examined), structures)
            choice = choose(rows, top, probability)
    shown = best.take(choice.rows)
    rows = rows.take(choice.rows).combine_chunks()
    table, duplicates_cut = _table(files, structures, ranking, shown, rows, reach)
    listed = table.num_rows
    likely = None
    if probability is not None:
        likely = int((table.column(probability).to_numpy() >= LIKELY).sum())
    cut_short = listed < top and examined < tally.ranked
    return Shortlist(table, tally, examined, choice.repeated, cut_short, duplicates_cut, likely)


def _ranked(
    files: Sequence[Location], columns: Sequence[str], ranking: Ranking, most: int
) -> tuple[pa.Table, Tally]:
    """Return the best `most` rows of all files (`RANKED_SCHEMA`), and what these columns tell of all (`Tally`)."""
    best, tally, parts = RANKED_SCHEMA.empty_table(), NOTHING, []

    def find(predictions: pa.Table, number: int) -> tuple[pa.Table, Tally]:
        return best_rows(predictions, number, ranking, most)

    for part, counted in each_file(files, columns, find):
        parts.append(part)
        tally += counted
        if len(parts) == MERGED:
            best, parts = select(pa.concat_tables([best, *parts]), most), []
    return select(pa.concat_tables([best, *parts]), most), tally


def _table(
    files: Sequence[Location],
    library: ParquetTable,
    ranking: Ranking,
    shown: pa.Table,
    rows: pa.Table,
    reach: float,
) -> tuple[pa.Table, int]:
    """Return the shortlist of the rows `shown` (`RANKED_SCHEMA`), and of how many not all duplicates were looked for.

    `rows` are the same in full. Of a row and its duplicates the first one of the library is shown, in
    the place that it ranks at.
    """
    duplicates = find_duplicates(files, library, ranking, rows, reach)
    own = shown.append_column(duplicates.rows.schema.field(LIBRARY_ROW), rows.column(LIBRARY_ROW))
    crystal = np.concatenate([np.arange(shown.num_rows), duplicates.shown])
    every = pa.concat_tables([own, duplicates.rows]).append_column("crystal", pa.array(crystal))
    every = every.sort_by([("crystal", "ascending"), (LIBRARY_ROW, "ascending")])
    _, first = np.unique(every.column("crystal").to_numpy(), return_index=True)
    others = np.split(np.array(every.column("id").to_pylist(), object), first[1:])
    best = select(every.take(first), shown.num_rows)
    if not best.select(RANKED_SCHEMA.names).equals(shown):
        rows = read_rows(files, best, library)
    ids = [others[number][1:].tolist() for number in best.column("crystal").to_pylist()]
    place = rows.num_columns - len(GEOMETRY)
    table = rows.add_column(place, DUPLICATES, pa.array(ids, pa.list_(pa.string())))
    ranks = pa.array(np.arange(1, table.num_rows + 1))
    return table.add_column(0, RANK, ranks), duplicates.cut
