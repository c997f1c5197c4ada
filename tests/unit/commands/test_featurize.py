"""Featurize: the graphs of a table, a reject for each crystal without, and a call that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emrl_ray.commands.featurize import featurize
from emrl_ray.config import FeaturizeConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.graphs import Graphs
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from tests.support.models import CUTOFF, broken, random_crystals

ROWS = 50
FAULTS = {10: "bad_cell", 20: "no_atoms", 30: "bad_coordinates", 40: "no_pairs"}
"""Rows that `broken` gives a fault, and the reasons."""


@pytest.fixture
def crystals(tmp_path: Path) -> str:
    place = tmp_path / "crystals.parquet"
    write_parquet(broken(random_crystals(ROWS)), resolve(place))
    return str(place)


def config(crystals: str, out: Path) -> FeaturizeConfig:
    return FeaturizeConfig(
        crystals=crystals, out=str(out), cutoff=CUTOFF, min_distance=0.0, block_rows=8
    )


def test_a_graph_holds_the_pairs_of_its_crystal_and_each_other_row_is_a_reject(crystals, tmp_path):
    valid = random_crystals(ROWS).take([row for row in range(ROWS) if row not in FAULTS])
    expected = Graphs.from_crystals(CrystalBatch.from_arrow(valid), CUTOFF)
    paired = np.flatnonzero(expected.pairs.n_pairs)
    ids = np.array(valid.column("id").to_pylist())

    result = featurize(config(crystals, tmp_path / "graphs"))
    assert (result.counts.rows_in, result.counts.rows_out) == (ROWS, len(paired))
    table = read_table(result.graphs)
    assert table.column("id").to_pylist() == ids[paired].tolist()
    found, expected = Graphs.from_table(table, CUTOFF), expected.take(paired)
    np.testing.assert_array_equal(found.pairs.neighbor, expected.pairs.neighbor)
    np.testing.assert_allclose(found.pairs.distance, expected.pairs.distance, rtol=1e-6)
    rejects = read_table(tmp_path / "graphs" / "_rejects").to_pylist()
    lonely = set(ids) - set(ids[paired])
    assert {row["id"]: row["reason"] for row in rejects} == {
        **{f"c{row:05d}": reason for row, reason in FAULTS.items()},
        **dict.fromkeys(lonely, "no_pairs"),
    }
    assert lonely
    manifest = json.loads((tmp_path / "graphs" / "_manifest.json").read_text())
    assert manifest["counts"]["rows_out"] == table.num_rows


def test_a_call_goes_on_where_an_earlier_one_stopped_and_leaves_the_same_bytes(crystals, tmp_path):
    out = tmp_path / "graphs"
    featurize(config(crystals, out))
    whole = {file.name: file.read_bytes() for file in out.glob("*.parquet")}
    assert len(whole) == -(-ROWS // 8)
    lost, kept = sorted(whole)[2], sorted(whole)[3]
    (out / lost).unlink()
    time = (out / kept).stat().st_mtime_ns
    featurize(config(crystals, out))
    assert {file.name: file.read_bytes() for file in out.glob("*.parquet")} == whole
    assert (out / kept).stat().st_mtime_ns == time


def test_a_column_with_the_name_of_a_graph_column_is_refused(tmp_path):
    table = random_crystals(3)
    place = tmp_path / "crystals.parquet"
    write_parquet(table.append_column("distance", table.column("volume_per_atom")), resolve(place))
    with pytest.raises(ValueError, match=r"has a column 'distance', as graphs have; rename it$"):
        featurize(config(str(place), tmp_path / "graphs"))
