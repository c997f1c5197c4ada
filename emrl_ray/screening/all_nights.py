"""The shortlist of several screens: the best of two shortlists that were drawn in the same way.

Who is on the shortlist of all candidates is on that of a part of them: whatever beats a row there, or keeps it
off for its crystal or its chemical system, does so among all. So two shortlists are enough to draw
the next from, however many candidates they stand for, night after night. (Only --diverse
chooses from what it chose before.)
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.storage import locate, write_parquet
from emrl_ray.crystals.tables import GEOMETRY
from emrl_ray.screening.choice import LIBRARY_ROW, Chooser
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.shortlist import DUPLICATES, RANK, shortlist


def best_of(
    lists: Sequence[pa.Table],
    ranking: Ranking,
    top: int,
    per_system: int | None = None,
    embed: Callable[[CrystalBatch], NDArray[np.float32]] | None = None,
    reach: float = 0.0,
) -> pa.Table:
    """Return the best `top` rows of shortlists with a column `night`, in the order of the nights.

    What follows `top` is that of the screens (`shortlist`, `Chooser`). Of a crystal on several lists
    the first one is shown; the ids of the others, and those of their duplicates, become its
    `duplicates`.
    """
    rows = pa.concat_tables(_alike(lists), promote_options="permissive").combine_chunks()
    positions = pa.array(np.arange(rows.num_rows))
    place = rows.schema.get_field_index(LIBRARY_ROW)
    numbered = rows.drop_columns([RANK, DUPLICATES, *GEOMETRY])
    numbered = numbered.set_column(
        numbered.schema.get_field_index(LIBRARY_ROW), LIBRARY_ROW, positions
    )
    with tempfile.TemporaryDirectory() as folder:
        file, library = locate(f"{folder}/rows.parquet"), f"{folder}/library.parquet"
        write_parquet(numbered, file)
        write_parquet(rows.select(["id", *GEOMETRY]), locate(library))
        chooser = Chooser(library, per_system, embed)
        found = shortlist([file], ranking, top, chooser, reach).table
    shown = found.column(LIBRARY_ROW).combine_chunks()
    kept = rows.take(shown)
    ranked = kept.set_column(0, RANK, found.column(RANK))
    ranked = ranked.set_column(place, LIBRARY_ROW, kept.column(LIBRARY_ROW))
    doubles = _doubles(kept, found.column(DUPLICATES).to_pylist(), _by_id(rows))
    place = ranked.schema.get_field_index(DUPLICATES)
    return ranked.set_column(place, DUPLICATES, pa.array(doubles, pa.list_(pa.string())))


def _alike(lists: Sequence[pa.Table]) -> list[pa.Table]:
    """Return shortlists that can be put one below the other: a column of several types becomes text."""
    types = defaultdict(set)
    for table in lists:
        for field in table.schema:
            types[field.name].add(field.type)
    texts = [name for name, kinds in types.items() if len(kinds - {pa.null()}) > 1]
    return [_as_text(table, texts).replace_schema_metadata(None) for table in lists]


def _as_text(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        if name in table.column_names:
            place, column = table.schema.get_field_index(name), table.column(name)
            table = table.set_column(place, name, column.cast(pa.string()))
    return table


def _by_id(rows: pa.Table) -> Mapping[str, list[str]]:
    """Return the duplicates of all rows of an id."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows.select(["id", DUPLICATES]).to_pylist():
        found[row["id"]] += row[DUPLICATES] or []
    return found


def _doubles(
    shown: pa.Table, others: Sequence[Sequence[str]], known: Mapping[str, list[str]]
) -> list[list[str]]:
    """Return the duplicates of the rows shown: their own, `others` found now, and the duplicates of those."""
    found = []
    for row, ids in zip(shown.select([DUPLICATES]).to_pylist(), others, strict=True):
        own = row[DUPLICATES] or []
        found.append(
            list(dict.fromkeys([*own, *ids, *(each for name in ids for each in known[name])]))
        )
    return found
