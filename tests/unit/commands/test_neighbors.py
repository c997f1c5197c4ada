"""The nearest known crystals: exactly those of a plain search, for files and for known ids."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emrl_ray
from emrl_ray.commands.neighbors import neighbors
from emrl_ray.config import NeighborsConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from emrl_ray.model.uncertainty import NearestNeighborIndex, several_nearest
from tests.support.examples import examples
from tests.support.models import TARGET, make_model, random_crystals

COLUMNS = [
    *("id", "formula", "known_id", "rank"),
    *("nearest_id", "nearest_formula", "nearest_target", "nearest_distance"),
]


def plain(references, queries, count):
    """Measure the distance to every reference and sort; of equals the first comes first."""
    differences = queries[:, None].astype(np.float64) - references.astype(np.float64)
    distances = np.sqrt((differences**2).sum(axis=2))
    index = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return index, np.take_along_axis(distances, index, axis=1)


@examples(60)
@given(
    rows=st.integers(1, 200),
    width=st.sampled_from([1, 2, 16, 40]),
    count=st.integers(1, 12),
    scale=st.sampled_from([1e-15, 1.0, 1e12]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_index_and_distance_are_those_of_a_plain_search(rows, width, count, scale, offset, seed):
    random = np.random.default_rng(seed)
    points = (scale * (random.normal(size=(rows + 20, width)) + offset)).astype(np.float32)
    references, queries = points[:rows], np.concatenate([points[rows:], points[:5]])
    index, distance = several_nearest(references, queries, count)
    expected_index, expected_distance = plain(references, queries, count)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance, expected_distance, rtol=1e-12, atol=0)


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 4), count=st.integers(1, 40))
def test_of_references_that_are_equally_near_the_first_come_first(seed, width, count):
    random = np.random.default_rng(seed)
    on_a_grid = random.integers(0, 3, (100, width)).astype(np.float32)  # many are duplicates
    between = random.integers(0, 6, (20, width)).astype(np.float32) / 2
    index, _ = several_nearest(on_a_grid, between, count)
    np.testing.assert_array_equal(index, plain(on_a_grid, between, count)[0])


def test_the_first_is_the_one_that_predictions_name():
    random = np.random.default_rng(0)
    points = random.normal(size=(500, 32)).astype(np.float32)
    index, distance = several_nearest(points[:400], points[400:], 3)
    one_index, one_distance = NearestNeighborIndex(points[:400]).query(points[400:])
    np.testing.assert_array_equal(index[:, 0], one_index)
    np.testing.assert_allclose(distance[:, 0], one_distance, rtol=1e-12)


def test_what_a_row_gets_does_not_depend_on_the_other_rows():
    random = np.random.default_rng(1)
    points = random.normal(size=(5000, 8)).astype(np.float32)
    known, queries = points[:2500], points[2500:]
    index, distance = several_nearest(known, queries, 4)  # more than are searched at once
    order = random.permutation(len(queries))
    again = several_nearest(known, queries[order], 4)
    np.testing.assert_array_equal(again[0], index[order])
    np.testing.assert_array_equal(again[1], distance[order])
    for row in range(0, len(queries), 97):
        alone = several_nearest(known, queries[row : row + 1], 4)
        np.testing.assert_array_equal(alone[0][0], index[row])
        np.testing.assert_array_equal(alone[1][0], distance[row])


@pytest.mark.parametrize(("rows", "queries"), [(0, 3), (3, 0), (2, 3)])
def test_fewer_references_than_asked_for_are_all_there_are(rows, queries):
    index, distance = several_nearest(
        np.ones((rows, 4), np.float32), np.ones((queries, 4), np.float32), 5
    )
    assert index.shape == distance.shape == (queries, rows)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a crystals table, some of whose crystals have no pairs."""
    place = tmp_path_factory.mktemp("source") / "crystals.parquet"
    write_parquet(random_crystals(40, 3), resolve(place))
    return str(place)


def test_each_crystal_of_a_source_has_its_nearest_with_true_value_and_distance(model, source):
    result = neighbors(NeighborsConfig(model=model, source=source, count=3, threads=1))
    opened, crystals = Model.load(model), random_crystals(40, 3)
    embeddings = opened.embed(CrystalBatch.from_arrow(crystals))
    embeddable = ~np.isnan(embeddings[:, 0])
    index, distance = plain(opened.reference_embeddings, embeddings[embeddable], 3)
    table = result.neighbors
    assert table.column_names == COLUMNS
    assert table.schema.field("nearest_target").metadata == {b"unit": b"angstrom^3"}
    ids = crystals.filter(pa.array(embeddable)).column("id").to_pylist()
    assert table.column("id").to_pylist() == [name for name in ids for _ in range(3)]
    assert table.column("rank").to_pylist() == [1, 2, 3] * len(ids)
    known = opened.reference.take(index.reshape(-1))
    for column, name in zip(COLUMNS[4:7], ("id", "formula", TARGET), strict=True):
        assert table.column(column).to_pylist() == known.column(name).to_pylist()
    np.testing.assert_allclose(
        table.column("nearest_distance").to_numpy(), distance.reshape(-1), rtol=1e-4, atol=1e-7
    )
    assert len(ids) + result.rejects.num_rows == 40


def test_a_known_crystal_is_named_by_its_id_and_is_no_neighbor_of_its_own(model, capsys):
    opened = Model.load(model)
    row = 7
    name = opened.reference.column("id")[row].as_py()
    result = neighbors(NeighborsConfig(model=model, source=name, count=4, threads=1))
    embeddings = opened.reference_embeddings
    index, _ = plain(embeddings, embeddings[[row]], 60)
    expected = opened.reference.take([at for at in index[0] if at != row][:4])
    assert result.neighbors.column("nearest_id").equals(expected.column("id"))
    assert set(result.neighbors.column("id").to_pylist()) == {name}
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == f"values: {TARGET} in angstrom^3"
    headings = "id formula known rank nearest its formula its value distance"
    assert " ".join(lines[1].split()) == headings
    assert len(lines) == 6
    assert "neighbors: 1 rows in = 1 rows out + 0 rejects" in said.err


def test_a_training_crystal_under_another_id_is_known(model, tmp_path):
    known = Model.load(model).reference.column("id").slice(0, 2).to_pylist()
    rows = [row for row in random_crystals(80).to_pylist() if row["id"] in known]
    rows = [dict(row, id=f"my-{row['id']}") for row in rows] + random_crystals(3, 9).to_pylist()
    source = tmp_path / "crystals.parquet"
    write_parquet(pa.Table.from_pylist(rows, schema=random_crystals(1).schema), resolve(source))
    result = neighbors(NeighborsConfig(model=model, source=str(source), count=1, threads=1))
    found = {row["id"]: row["known_id"] for row in result.neighbors.to_pylist()}
    assert {name: found[f"my-{name}"] for name in known} == {name: name for name in known}
    assert all(found[name] is None for name in found if not name.startswith("my-"))


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_the_ending_of_the_file_is_its_format(model, source, tmp_path, ending):
    out = tmp_path / f"n.{ending}"
    result = emrl_ray.neighbors(model=model, source=source, count=2, out=str(out), threads=1)
    rows = {
        "csv": lambda: pcsv.read_csv(out).to_pylist(),
        "json": lambda: json.loads(out.read_text()),
        "parquet": lambda: read_table(str(out)).to_pylist(),
    }[ending]()
    assert rows == result.neighbors.to_pylist()
    rejects = pcsv.read_csv(tmp_path / f"n.{ending}.rejects.csv")
    assert set(rejects.column("reason").to_pylist()) == {"no_pairs"}
    assert rejects.num_rows == result.rejects.num_rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": ""}, "^the source is empty: give a path"),
        ({"count": 0}, "--count 0: must be at least 1"),
        ({"out": "n.xlsx"}, "--out n.xlsx: must end in .parquet, .csv, .json"),
        ({"model": "nowhere"}, r"nowhere: no model there \(card.json is missing\)"),
        (
            {"source": "mp-1"},
            "mp-1: no such file or folder, nor the id of one of the 5. reference crystals of ",
        ),
        ({"source": "no/*.cif"}, "no/.*: there is no folder"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(model, source, options, said):
    with pytest.raises((UserError, ValueError, OSError), match=said) as caught:
        neighbors(NeighborsConfig(**{"model": model, "source": source} | options))
    assert "\n" not in str(caught.value)


def test_a_model_without_reference_crystals_is_refused(model, source, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    reference = bare / "reference.parquet"
    write_parquet(read_table(str(reference)).slice(0, 0), resolve(reference))
    with pytest.raises(UserError, match="bare: the model holds no reference crystals"):
        neighbors(NeighborsConfig(model=str(bare), source=source))
