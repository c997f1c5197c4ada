"""The shortlist: order, filters, and that merging partition by partition changes nothing."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

from emrl_ray.config import UserError
from emrl_ray.io.atomic import write_csv
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.screening.duplicates import _Marks
from emrl_ray.screening.filters import EXCLUDED_BY, ElementFilter, element_filter, excluded_by
from emrl_ray.screening.prediction_files import LIBRARY_ROW
from emrl_ray.screening.ranking import Ranking, Tally
from emrl_ray.screening.selection import Selector, far_apart
from emrl_ray.screening.shortlist import shortlist
from tests.support.models import random_crystals

LARGEST = Ranking(None, True)
SMALLEST = Ranking(None, False)
REACH = 0.01


def predictions(values, ids=None, **columns):
    ids = ids or [f"c{index}" for index in range(len(values))]
    return pa.table({"id": ids, "prediction": pa.array(values, pa.float64()), **columns})


def listed(folder, tables, ranking, top=10, **options):
    """Return `found` for tables, as its table and its tally."""
    result = found_in(folder, tables, ranking, top, **options)
    return result.table, result.tally


def found_in(folder, tables, ranking, top=10, **options):
    """Return the shortlist of tables whose rows, in order, are those of a library of random crystals."""
    crystals = random_crystals(sum(table.num_rows for table in tables))
    library, marks = resolve(folder) / "library.parquet", marks_of(crystals)
    write_parquet(crystals, library)
    files, first = [], 0
    for index, table in enumerate(tables):
        files.append(resolve(folder) / f"slice-{index:06d}.parquet")
        positions = np.arange(first, first + table.num_rows)
        write_parquet(marked(table, positions, marks), files[-1])
        first += table.num_rows
    return shortlist(files, library.path, ranking, top, Selector(**options), REACH)


def marks_of(library):
    """Return what tells the rows of a library apart: formula, place on the map."""
    numbers = [str(sorted(row)) for row in library.column("atomic_numbers").to_pylist()]
    place = {name: index for index, name in enumerate(sorted(set(numbers)))}
    places = pa.array([place[name] for name in numbers], pa.float32())
    return pa.table({"map_x": places, "map_y": places, "formula": library.column("formula")})


def marked(table, positions, marks):
    """Return predictions with the marks of the rows of a library that they are of."""
    for name, column in zip(marks.column_names, marks.take(positions).columns, strict=True):
        table = table.append_column(name, column)
    return table.append_column(LIBRARY_ROW, pa.array(positions))


def ids(table):
    return table.column("id").to_pylist()


def test_the_largest_prediction_comes_first_and_the_smallest_on_request(tmp_path):
    tables = [predictions([1.0, 3.0], ["a", "b"]), predictions([2.0, 4.0], ["c", "d"])]
    most, _ = listed(tmp_path, tables, LARGEST, top=3)
    assert ids(most) == ["d", "b", "c"]
    assert most.column("rank").to_pylist() == [1, 2, 3]
    least, _ = listed(tmp_path, tables, SMALLEST, top=3)
    assert ids(least) == ["a", "c", "b"]


def test_a_window_ranks_by_probability_then_by_distance_to_its_middle_then_by_id(tmp_path):
    table = predictions(
        [1.0, 1.4, 1.6, 1.5, 1.4],
        ["low", "z", "near", "middle", "a"],
        p_in_window=[0.9, 0.5, 0.5, 0.2, 0.5],
    )
    found, _ = listed(tmp_path, [table], Ranking((1.0, 2.2)))
    assert ids(found) == ["low", "near", "a", "z", "middle"]


@pytest.mark.parametrize(
    ("window", "order"), [((1.0, math.inf), ["c", "b", "a"]), ((-math.inf, 9.0), ["a", "b", "c"])]
)
def test_in_an_open_window_the_prediction_further_inside_comes_first(tmp_path, window, order):
    table = predictions([2.0, 3.0, 4.0], ["a", "b", "c"], p_in_window=[1.0, 1.0, 1.0])
    found, _ = listed(tmp_path, [table], Ranking(window))
    assert ids(found) == order


def test_nan_and_null_are_never_ranked_but_counted(tmp_path):
    table = predictions([math.nan, None, 1.0], ["nan", "null", "number"])
    found, tally = listed(tmp_path, [table], LARGEST)
    assert ids(found) == ["number"]
    assert tally == Tally(3, Counter(), 2, Counter(domain=0, known=0))
    in_window = predictions([1.0, 1.0], p_in_window=pa.array([None, math.nan], pa.float64()))
    found, tally = listed(tmp_path, [in_window], Ranking((0.0, 1.0)))
    assert found.num_rows == 0
    assert tally.unranked == 2


def test_what_a_filter_excludes_is_counted_and_its_column_does_not_show(tmp_path):
    table = predictions([1.0, 2.0, 3.0], **{EXCLUDED_BY: [None, "elements", None]})
    found, tally = listed(tmp_path, [table], LARGEST)
    assert ids(found) == ["c2", "c0"]
    assert EXCLUDED_BY not in found.column_names
    assert tally == Tally(3, Counter(elements=1), 0, Counter(domain=0, known=0))
    assert tally.ranked == 2


def test_a_row_is_excluded_by_the_first_filter_that_it_does_not_pass():
    passed = {
        "known": np.array([True, False, False, True]),
        "elements": np.array([True, True, False, True]),
    }
    assert excluded_by(passed, 4).to_pylist() == [None, "known", "elements", None]
    assert excluded_by({}, 2).to_pylist() == [None, None]


def test_merging_slices_gives_what_sorting_the_whole_library_gives(tmp_path):
    random = np.random.default_rng(0)
    values = random.integers(0, 50, 2000) / 10  # many ties
    chance = random.integers(0, 4, 2000) / 3
    names = [f"id-{number:05d}" for number in random.permutation(2000)]
    whole = predictions(values, names, p_in_window=chance, extra=np.arange(2000))
    order = sorted(range(2000), key=lambda row: (-chance[row], abs(values[row] - 2.0), names[row]))
    for size in (7, 150, 2000):
        tables = [whole.slice(start, size) for start in range(0, 2000, size)]
        found, tally = listed(tmp_path / str(size), tables, Ranking((1.0, 3.0)), top=123)
        assert ids(found) == [names[row] for row in order[:123]]
        assert found.column("extra").to_pylist() == order[:123]
        assert tally.candidates == 2000


def test_equal_candidates_with_one_id_keep_their_places_in_the_library(tmp_path):
    tables = [
        predictions([1.0, 1.0], ["same", "same"], place=[0, 1]),
        predictions([1.0, 1.0], ["same", "same"], place=[2, 3]),
    ]
    found, _ = listed(tmp_path, tables, LARGEST, top=3)
    assert found.column("place").to_pylist() == [0, 1, 2]


def test_the_shortlist_has_all_columns_that_came_in(tmp_path):
    field = pa.field("volume", pa.float64(), metadata={"unit": "angstrom^3"})
    tables = [
        predictions([1.0], ["a"]).append_column(field, pa.array([[7.0]][0])),
        predictions([2.0], ["b"], note=["only in this file"]),
    ]
    found, _ = listed(tmp_path, tables, LARGEST)
    assert found.column("note").to_pylist() == ["only in this file", None]
    assert found.column("volume").to_pylist() == [None, 7.0]


def test_a_list_becomes_json_text_in_csv(tmp_path):
    table = pa.table({"id": ["a", "b"], "sites": [[1, 2], None], "x": [0.5, None]})
    write_csv(table, resolve(tmp_path / "t.csv"))
    found = pcsv.read_csv(tmp_path / "t.csv")
    assert json.loads(found.column("sites")[0].as_py()) == [1, 2]
    assert found.column("x").to_pylist() == [0.5, None]


def test_elements_are_filtered_by_atomic_number_also_in_broken_rows():
    crystals = pa.chunked_array(
        [
            pa.array([[0], [26, 8], [55, 82, 53]], pa.list_(pa.int64())).slice(1),
            pa.array([[82], None, [], [200], [8, None]], pa.list_(pa.int64())),
        ]
    )
    without_lead = ElementFilter(frozenset([82]), frozenset()).allows(crystals)
    assert without_lead.tolist() == [True, False, False, False, True, False, False]
    oxides = ElementFilter(frozenset(), frozenset([26, 8])).allows(crystals)
    assert oxides.tolist() == [True, False, False, False, True, False, False]


def test_elements_are_named_by_their_symbols():
    assert element_filter(["Pb"], ["Cs", "Sn"]) == ElementFilter(
        frozenset([82]), frozenset([55, 50])
    )
    assert element_filter([], []) == ElementFilter(frozenset(), frozenset())
    for excluded, only, said in [
        (["pb"], [], "--exclude-elements pb: no such element; did you mean Pb?"),
        ([], ["Xx"], "--only-elements Xx: no such element; give symbols, as Pb"),
        (["Cs", "Pb"], ["Cs"], "--only-elements Cs: all of them are excluded as well"),
    ]:
        with pytest.raises(UserError) as caught:
            element_filter(excluded, only)
        assert str(caught.value) == said


def library_with_twins(folder):
    """Write a library of 6 crystals of which 4 and 5 are 1 and 2 again, in a doubled cell; return it."""
    six = random_crystals(4, seed=3)
    rows = six.to_pylist()
    for place in (1, 2):
        row = dict(rows[place], id=f"again-{place}")
        cell = np.reshape(row["lattice"], (3, 3))
        coords = np.reshape(row["frac_coords"], (-1, 3)) / [1, 2, 1]
        row["frac_coords"] = (
            np.concatenate([coords + np.array([0, 0.5, 0]), coords]).ravel().tolist()
        )
        row["atomic_numbers"] = row["atomic_numbers"] * 2
        row["lattice"] = (cell * [[1], [2], [1]]).ravel().tolist()
        rows.append(row)
    library = resolve(folder) / "library.parquet"
    write_parquet(pa.Table.from_pylist(rows, schema=six.schema), library)
    return library.path, pa.table({"id": [row["id"] for row in rows], LIBRARY_ROW: range(6)})


def test_a_crystal_that_is_there_twice_is_chosen_once(tmp_path):
    crystals = read_table(library_with_twins(tmp_path)[0])
    choice = Selector()(crystals.take([4, 3, 1, 5, 2, 0]), 3)
    assert choice.rows.tolist() == [0, 1, 3]
    assert (choice.repeated, choice.enough) == (2, True)
    assert not Selector()(crystals.take([4, 3, 1]), 3).enough


def test_a_chemical_system_is_shown_as_often_as_it_may_be(tmp_path):
    values = np.arange(60.0)
    found, _ = listed(tmp_path, [predictions(values)], LARGEST, top=5, per_system=1)
    systems = [frozenset(numbers) for numbers in found.column("atomic_numbers").to_pylist()]
    assert len(set(systems)) == len(systems) == 5
    assert found.column("prediction")[0].as_py() == 59.0


def test_what_is_looked_at_grows_with_the_shortlist_and_not_with_the_library(tmp_path):
    values = np.arange(2000.0)  # of four elements: 15 chemical systems
    found = found_in(tmp_path, [predictions(values)], LARGEST, top=20, per_system=1)
    assert found.table.num_rows == 15
    assert found.examined == 64 * 20
    assert found.cut_short
    fewer = found_in(tmp_path, [predictions(values)], LARGEST, top=15, per_system=1)
    assert fewer.table.num_rows == 15
    assert fewer.examined < 64 * 15
    assert not fewer.cut_short


def test_a_shortlist_that_looked_at_all_is_not_cut_short(tmp_path):
    found = found_in(tmp_path, [predictions(np.arange(100.0))], LARGEST, top=20, per_system=1)
    assert (found.examined, found.cut_short) == (100, False)


def of_twins(folder, values, ranking=LARGEST, top=1, places=None):
    """Return the shortlist of the library with twins, all of whose rows have these predictions."""
    library, rows = library_with_twins(folder)
    formulas = read_table(library).column("formula").to_pylist()
    formulas[4:] = formulas[1:3]
    rows = rows.append_column("prediction", pa.array(values, pa.float64()))
    rows = rows.append_column("formula", pa.array(formulas))
    places = [0, 1, 2, 3, 1.003, 2.003] if places is None else places
    for name in ("map_x", "map_y"):
        rows = rows.append_column(name, pa.array(places, pa.float32()))
    files = []
    for index, (first, last) in enumerate([(0, 2), (2, 5), (5, 6)]):
        files.append(resolve(folder) / f"slice-{index:06d}.parquet")
        write_parquet(rows.slice(first, last - first), files[-1])
    return shortlist(files, library, ranking, top, Selector(), REACH)


@pytest.mark.parametrize("value_of_the_twin", [8.9, 1.0])
def test_duplicates_are_found_however_far_down_they_rank(tmp_path, value_of_the_twin):
    found = of_twins(tmp_path, [7.0, 9.0, 3.0, 2.0, value_of_the_twin, 4.0])
    assert (found.examined, found.duplicates_cut) == (2, 0)
    assert ids(found.table) == ["c00001"]
    assert found.table.column("duplicates").to_pylist() == [["again-1"]]


def test_of_the_same_crystal_the_first_row_of_the_library_is_shown_in_its_own_place(tmp_path):
    found = of_twins(tmp_path, [7.0, 6.9, 3.0, 2.0, 9.0, 4.0], top=3)
    assert ids(found.table) == ["c00000", "c00001", "c00002"]
    assert found.table.column("duplicates").to_pylist() == [[], ["again-1"], ["again-2"]]
    assert found.table.column("rank").to_pylist() == [1, 2, 3]
    assert found.table.column("prediction").to_pylist() == [7.0, 6.9, 3.0]
    crystals = random_crystals(4, seed=3)
    for name in ("lattice", "atomic_numbers", "frac_coords"):
        assert found.table.column(name).to_pylist() == crystals.column(name).to_pylist()[:3]


def test_rows_with_the_place_of_another_crystal_are_no_duplicates(tmp_path):
    found = of_twins(tmp_path, [7.0, 9.0, 3.0, 2.0, 8.0, 4.0], top=2, places=[0.0] * 6)
    assert ids(found.table) == ["c00001", "c00000"]
    assert found.table.column("duplicates").to_pylist() == [["again-1"], []]


def test_what_is_not_ranked_is_no_duplicate(tmp_path):
    found = of_twins(tmp_path, [7.0, 9.0, 3.0, 2.0, math.nan, 4.0])
    assert found.table.column("duplicates").to_pylist() == [[]]


def test_no_more_than_so_many_are_compared_with_a_crystal_and_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("emrl_ray.screening.duplicates.MAX_NEIGHBORS", 1)
    crystal = random_crystals(1)
    library, file = resolve(tmp_path / "library.parquet"), resolve(tmp_path / "slice.parquet")
    write_parquet(pa.concat_tables([crystal] * 4), library)
    table = predictions([1.0, 2.0, 3.0, 4.0])
    write_parquet(marked(table, np.arange(4), marks_of(read_table(library.path))), file)
    found = shortlist([file], library.path, LARGEST, 1, Selector(), REACH)
    assert (ids(found.table), found.duplicates_cut) == (["c0"], 1)
    assert found.table.column("duplicates").to_pylist() == [["c3"]]


def test_pairs_are_those_of_a_plain_comparison():
    random = np.random.default_rng(0)

    def rows(count, first):
        places = random.random((count, 2)).astype(np.float32)
        return pa.table(
            {
                "formula": random.choice(["A", "B", None], count),
                "map_x": places[:, 0],
                "map_y": places[:, 1],
                LIBRARY_ROW: np.arange(first, first + count),
            }
        )

    shown, others = rows(40, 0), rows(300, 20)
    pairs = _Marks.of(shown, 0.1).pairs(others)
    expected = {
        (row, number)
        for row, one in enumerate(others.to_pylist())
        for number, two in enumerate(shown.to_pylist())
        if one["formula"] == two["formula"]
        and one[LIBRARY_ROW] >= 40
        and all(abs(one[name] - two[name]) <= 0.1 for name in ("map_x", "map_y"))
    }
    assert set(zip(pairs.row.tolist(), pairs.shown.tolist(), strict=True)) == expected
    assert len(pairs.row) == len(expected) > 50


def test_rows_that_filters_would_keep_out_are_counted_where_none_was_asked_for(tmp_path):
    table = predictions(
        [1.0, 2.0, 3.0, 4.0],
        in_domain=[True, False, None, False],
        in_domain_2=[False, True, True, False],
        known_id=["a", None, "b", "c"],
        p_all=[0.4, 0.5, 0.6, 0.7],
        **{EXCLUDED_BY: [None, None, None, "elements"]},
    )
    window = (0.0, 9.0)
    found = found_in(tmp_path, [table.drop_columns("p_all")], LARGEST)
    assert found.tally.let_in == Counter(domain=1, known=2)
    assert found.likely is None
    found = found_in(tmp_path, [table], Ranking(window, objectives=2))
    assert found.tally.let_in == Counter(domain=2, known=2)
    assert found.likely == 2


def test_diverse_rows_are_never_less_than_half_as_likely_as_the_last_of_the_plain_list(tmp_path):
    """Every other row lies far off, and the less likely a row, the farther off."""
    chance = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.31, 0.29, 0.2, 0.1, 0.0])

    def embed(batch):
        return np.arange(batch.n_crystals, dtype=np.float32)[:, None] ** 2

    table = predictions(chance, p_in_window=chance)
    found = found_in(tmp_path, [table], Ranking((0.0, 9.0)), top=4, embed=embed)
    assert ids(found.table) == ["c0", "c3", "c4", "c5"]
    plain = found_in(tmp_path, [table], LARGEST, top=4, embed=embed)
    assert "c7" in ids(plain.table)
    assert not {"c8", "c9"} & set(ids(plain.table))


@pytest.mark.parametrize("options", [{}, {"per_system": 2}, {"embed": lambda batch: None}])
def test_nothing_ranked_gives_an_empty_shortlist(tmp_path, options):
    table = predictions([1.0, 2.0], **{EXCLUDED_BY: ["elements", "elements"]})
    found = found_in(tmp_path, [table], LARGEST, **options)
    assert (found.table.num_rows, found.examined, found.cut_short) == (0, 0, False)
    assert {"rank", "duplicates", "atomic_numbers"} <= set(found.table.column_names)


def test_equal_embeddings_are_chosen_once_each():
    places = np.zeros((6, 2), np.float32)
    places[4] = 1.0
    assert far_apart(places, 2).tolist() == [0, 4]
    assert len(set(far_apart(places, 5).tolist())) == 5


def test_far_apart_rows_begin_with_the_best_and_lie_farther_apart_than_the_first():
    random = np.random.default_rng(0)
    places = np.concatenate([np.zeros((20, 2)), random.random((5, 2)) + 5]).astype(np.float32)
    chosen = far_apart(places, 4)
    assert chosen[0] == 0
    assert len(set(chosen.tolist())) == 4
    assert (chosen[1:] >= 20).all()
