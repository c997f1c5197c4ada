"""The shortlist: order, filters, and that merging slice by slice changes nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import locate, write_csv, write_parquet
from emrl_ray.report.shortlist import (
    ElementFilter,
    Ranking,
    Tally,
    element_filter,
    shortlist,
)

LARGEST = Ranking(None, True)
SMALLEST = Ranking(None, False)


def predictions(values, ids=None, **columns):
    ids = ids or [f"c{index}" for index in range(len(values))]
    return pa.table({"id": ids, "prediction": pa.array(values, pa.float64()), **columns})


def listed(folder, tables, ranking, top=10):
    files = []
    for index, table in enumerate(tables):
        files.append(locate(folder) / f"slice-{index:06d}.parquet")
        write_parquet(table, files[-1])
    return shortlist(files, ranking, top)


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
    assert tally == Tally(candidates=3, excluded=0, unranked=2)
    in_window = predictions([1.0, 1.0], p_in_window=pa.array([None, math.nan], pa.float64()))
    found, tally = listed(tmp_path, [in_window], Ranking((0.0, 1.0)))
    assert found.num_rows == 0
    assert tally.unranked == 2


def test_the_element_filter_keeps_rows_out_and_its_column_does_not_show(tmp_path):
    table = predictions([1.0, 2.0, 3.0], elements_allowed=[True, False, True])
    found, tally = listed(tmp_path, [table], LARGEST)
    assert ids(found) == ["c2", "c0"]
    assert "elements_allowed" not in found.column_names
    assert tally == Tally(candidates=3, excluded=1, unranked=0)


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
    write_csv(table, locate(tmp_path / "t.csv"))
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
    assert element_filter([], []).passes_all
    for excluded, only, said in [
        (["pb"], [], "--exclude-elements pb: no such element, give symbols such as Pb"),
        ([], ["Xx"], "--only-elements Xx: no such element, give symbols such as Pb"),
        (["Cs", "Pb"], ["Cs"], "--only-elements Cs: all of them are excluded as well"),
    ]:
        with pytest.raises(ConfigError) as caught:
            element_filter(excluded, only)
        assert str(caught.value) == said
