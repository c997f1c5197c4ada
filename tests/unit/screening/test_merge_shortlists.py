"""The best of two shortlists is the shortlist of all candidates of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.screening.merge_shortlists import merge_shortlists
from emrl_ray.screening.prediction_files import LIBRARY_ROW
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.screener import NIGHT
from emrl_ray.screening.selection import Selector
from emrl_ray.screening.shortlist import DUPLICATES, shortlist
from tests.support.models import random_crystals

REACH = 0.01
ROWS, AGAIN = 240, 60
"""Candidates, and those of them that come a second time."""
LARGEST = Ranking(None, True)


def drawn(folder: Path, library: pa.Table, first: int, stop: int, top: int, **options) -> pa.Table:
    """Return the shortlist of rows `first:stop` of a library, as a screen of them alone draws it."""
    part = library.slice(first, stop - first)
    write_parquet(part, resolve(folder) / "library.parquet")
    numbers = [sorted(row) for row in part.column("atomic_numbers").to_pylist()]
    places = np.array([sum(n * 120**k for k, n in enumerate(row)) % 9973 for row in numbers], "f4")
    table = part.select(["id", "formula"])
    columns = {
        "prediction": part.column("volume_per_atom"),
        "map_x": pa.array(places),
        "map_y": pa.array(places),
        LIBRARY_ROW: pa.array(np.arange(part.num_rows)),
    }
    for name, values in columns.items():
        table = table.append_column(name, values)
    write_parquet(table, resolve(folder) / "rows.parquet")
    rows, library = resolve(folder) / "rows.parquet", str(folder / "library.parquet")
    return shortlist([rows], library, LARGEST, top, Selector(**options), REACH).table


def of_night(table: pa.Table, night: str) -> pa.Table:
    return table.add_column(1, NIGHT, pa.repeat(night, table.num_rows))


@pytest.fixture
def library() -> pa.Table:
    """Random crystals, some of which come again, in another file, under another id."""
    once = random_crystals(ROWS)
    random = np.random.default_rng(3)
    again = once.take(random.permutation(ROWS)[:AGAIN])
    names = pa.array([f"again-{row_id}" for row_id in again.column("id").to_pylist()])
    again = again.set_column(0, once.schema.field("id"), names)
    every = pa.concat_tables([once, again])
    return every.take(random.permutation(every.num_rows)).combine_chunks()


@pytest.mark.parametrize("per_system", [None, 1, 3])
@pytest.mark.parametrize("cut", [50, 150, 290])
def test_two_shortlists_are_enough(tmp_path, library, per_system, cut):
    whole = drawn(tmp_path / "whole", library, 0, ROWS + AGAIN, 20, per_system=per_system)
    parts = [
        of_night(drawn(tmp_path / night, library, first, stop, 20, per_system=per_system), night)
        for night, first, stop in (("n1", 0, cut), ("n2", cut, ROWS + AGAIN))
    ]
    found = merge_shortlists(parts, LARGEST, 20, per_system, reach=REACH)
    for name in ("rank", "id", "prediction", "formula", "lattice"):
        assert found.column(name).to_pylist() == whole.column(name).to_pylist(), name
    doubles = [set(ids) for ids in whole.column(DUPLICATES).to_pylist()]
    assert any(doubles)
    known = [set(ids) for ids in found.column(DUPLICATES).to_pylist()]
    assert all(some <= every for some, every in zip(known, doubles, strict=True))
    places = whole.column(LIBRARY_ROW).to_pylist()
    assert found.column(NIGHT).to_pylist() == ["n1" if row < cut else "n2" for row in places]
    own = [row if row < cut else row - cut for row in places]  # each night has a library of its own
    assert found.column(LIBRARY_ROW).to_pylist() == own


def test_an_id_of_another_night_is_another_crystal(tmp_path, library):
    one = of_night(drawn(tmp_path / "one", library, 0, 100, 5), "n1")
    two = of_night(drawn(tmp_path / "two", library, 100, 200, 5), "n2")
    two = two.set_column(two.schema.get_field_index("id"), "id", one.column("id"))
    place = one.schema.get_field_index(DUPLICATES)
    doubles = [pa.array([[name]] * 5, pa.list_(pa.string())) for name in ("of-one", "of-two")]
    lists = [
        table.set_column(place, DUPLICATES, ids)
        for table, ids in zip((one, two), doubles, strict=True)
    ]
    found = (
        merge_shortlists(lists, LARGEST, 10, reach=REACH).select([NIGHT, DUPLICATES]).to_pylist()
    )
    assert {(row[NIGHT], *row[DUPLICATES]) for row in found} == {("n1", "of-one"), ("n2", "of-two")}


def test_a_column_that_was_a_number_one_night_and_text_the_other_becomes_text(tmp_path, library):
    one = of_night(drawn(tmp_path / "one", library, 0, 100, 5), "n1")
    two = of_night(drawn(tmp_path / "two", library, 100, 200, 5), "n2")
    one = one.append_column("source", pa.array([1.5] * 5))
    two = two.append_column("source", pa.array(["here"] * 5))
    found = merge_shortlists([one, two], LARGEST, 10, reach=REACH)
    assert {*found.column("source").to_pylist()} == {"1.5", "here"}


def test_the_best_of_nothing_is_nothing(tmp_path, library):
    one = of_night(drawn(tmp_path / "one", library, 0, 10, 5), "n1").slice(0, 0)
    assert merge_shortlists([one, one], LARGEST, 5, reach=REACH).num_rows == 0
