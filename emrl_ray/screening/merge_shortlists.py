"""The shortlist of several screens: the best of two shortlists that were drawn in the same way.

Who is on the shortlist of all candidates is on that of a part of them: whatever beats a row there, or keeps it
off for its crystal or its chemical system, does so among all. So two shortlists are enough to draw
the next from, however many candidates they stand for, night after night. (Only --diverse
chooses from what it chose before.)
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.screening.prediction_files import LIBRARY_ROW
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.selection import Selector
from emrl_ray.screening.shortlist import DUPLICATES, RANK, shortlist


def merge_shortlists(
    lists: Sequence[pa.Table],
    ranking: Ranking,
    top: int,
    per_system: int | None = None,
    embed: Callable[[CrystalBatch], NDArray[np.float32]] | None = None,
    reach: float = 0.0,
) -> pa.Table:
    """Return the best `top` rows of shortlists with a column `night`, in the order of the nights.

    What follows `top` is that of the screens (`shortlist`, `Selector`). Of a crystal on several lists
    the first one is shown; the ids of the others, and those of their duplicates, become its
    `duplicates`.
    """
    rows = pa.concat_tables(_alike(lists), promote_options="permissive").combine_chunks()
    with tempfile.TemporaryDirectory() as folder:
        file, library = resolve(f"{folder}/rows.parquet"), f"{folder}/library.parquet"
        write_parquet(_numbered(rows), file)
        write_parquet(rows.select(["id", *GEOMETRY]), resolve(library))
        chooser = Selector(per_system, embed)
        found = shortlist([file], library, ranking, top, chooser, reach).table
    shown = found.column(LIBRARY_ROW).to_pylist()
    others = [[_number(name) for name in names] for names in found.column(DUPLICATES).to_pylist()]
    doubles = pa.array(_doubles(rows, shown, others), pa.list_(pa.string()))
    ranked = rows.take(pa.array(shown, pa.int64())).set_column(0, RANK, found.column(RANK))
    return ranked.set_column(ranked.schema.get_field_index(DUPLICATES), DUPLICATES, doubles)


def _numbered(rows: pa.Table) -> pa.Table:
    """Return rows of shortlists as predictions of a library that they are the rows of.

    As ids are unique within a night alone, each has its number behind it, which keeps their order.
    """
    numbers = range(rows.num_rows)
    ids = [
        f"{name}\0{row:09d}"
        for name, row in zip(rows.column("id").to_pylist(), numbers, strict=True)
    ]
    numbered = rows.drop_columns([RANK, DUPLICATES, *GEOMETRY])
    for name, values in (
        ("id", pa.array(ids, pa.string())),
        (LIBRARY_ROW, pa.array(numbers, pa.int64())),
    ):
        numbered = numbered.set_column(numbered.schema.get_field_index(name), name, values)
    return numbered


def _number(name: str) -> int:
    """Return the row that an id of `_numbered` is of."""
    return int(name.rpartition("\0")[2])


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


def _doubles(
    rows: pa.Table, shown: Sequence[int], others: Sequence[Sequence[int]]
) -> list[list[str]]:
    """Return the duplicates of the rows shown: their own, `others` found now, and the duplicates of those."""
    ids = rows.column("id").to_pylist()
    known = [names or [] for names in rows.column(DUPLICATES).to_pylist()]
    found = []
    for row, same in zip(shown, others, strict=True):
        names = [*known[row], *(ids[other] for other in same)]
        names += [name for other in same for name in known[other]]
        found.append(list(dict.fromkeys(names)))
    return found
