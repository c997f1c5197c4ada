"""Embed: any source in, the numbers that a model sees each crystal as out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

import emrl_ray
from emrl_ray.commands.embed import embed
from emrl_ray.config import EmbedConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from tests.support.crystal_files import load, salt, write
from tests.support.models import TARGET, make_model, random_crystals, write_library

ROWS = 60
WIDTH = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def embedded(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the embeddings of a library in three files, some of whose crystals have no pairs."""
    folder = tmp_path_factory.mktemp("embed")
    write_library(folder / "library", random_crystals(ROWS, 3), [20, 0, 40])
    options = {"out": str(folder / "e.parquet"), "min_distance": 0, "threads": 1}
    embed(EmbedConfig(model=model, source=str(folder / "library"), **options))
    return folder / "e.parquet"


def matrix(table: pa.Table) -> np.ndarray:
    return table.column("embedding").combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)


def test_a_row_a_crystal_with_the_embedding_of_the_model_and_what_came_in(model, embedded):
    found = read_table(str(embedded))
    assert found.column_names == ["id", "formula", "embedding", TARGET]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), WIDTH)
    assert found.schema.field(TARGET).metadata == {b"unit": b"angstrom^3"}
    crystals = random_crystals(ROWS, 3)
    expected = Model.load(model).embed(CrystalBatch.from_arrow(crystals))
    embeddable = ~np.isnan(expected[:, 0])
    kept = crystals.filter(pa.array(embeddable))
    assert 0 < kept.num_rows < ROWS
    for name in ("id", "formula", TARGET):
        assert found.column(name).to_pylist() == kept.column(name).to_pylist()
    np.testing.assert_allclose(matrix(found), expected[embeddable], atol=1e-6)


def test_every_other_row_is_a_reject_beside_the_file(embedded):
    rejects = pcsv.read_csv(embedded.with_name("e.parquet.rejects.csv"))
    assert read_table(str(embedded)).num_rows + rejects.num_rows == ROWS
    assert set(rejects.column("reason").to_pylist()) == {"no_pairs"}
    assert all("library/part-" in place for place in rejects.column("source").to_pylist())


def test_the_metadata_name_the_model(model, embedded):
    assert pq.read_schema(embedded).metadata == {
        b"emrl-ray": b"embed",
        b"model_fingerprint": folder_fingerprint(model).encode(),
        b"network": b"tgnn",
        b"width": b"16",
    }


def test_each_slice_is_written_before_the_next_is_read(embedded):
    assert pq.read_metadata(embedded).num_row_groups >= 2


def test_a_second_call_gives_the_same_bytes_and_removes_earlier_rejects(
    model, embedded, tmp_path, tmp_path_factory
):
    library, out = embedded.with_name("library"), tmp_path / "e.parquet"
    options = {"model": model, "out": str(out), "min_distance": 0, "threads": 1}
    result = emrl_ray.embed(source=str(library), **options)
    assert out.read_bytes() == embedded.read_bytes()
    assert result.counts.rows_in == ROWS
    elsewhere = tmp_path_factory.mktemp("salt")
    crystals, *_ = load(elsewhere, write(elsewhere, "salt.cif", content=salt(4)))
    write_parquet(crystals, resolve(tmp_path / "salt.parquet"))
    emrl_ray.embed(source=str(tmp_path / "salt.parquet"), **options)
    assert read_table(str(out)).column("formula").to_pylist() == ["NaCl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.parquet", "salt.parquet"]


def test_what_fails_in_the_middle_leaves_the_earlier_file_and_nothing_half_written(model, tmp_path):
    crystals = random_crystals(8, 3)
    write_library(tmp_path / "library", crystals, [4, 4])
    out = tmp_path / "e.parquet"
    out.write_bytes(b"earlier")
    torn = tmp_path / "library" / "part-1.parquet"
    content = torn.read_bytes()
    torn.write_bytes(content[:4] + bytes(len(content) // 3) + content[4 + len(content) // 3 :])
    with pytest.raises(OSError):  # noqa: PT011 - what Arrow says of torn pages differs
        embed(EmbedConfig(model=model, source=str(tmp_path / "library"), out=str(out), threads=1))
    assert out.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.parquet", "library"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "e.csv"}, "--out e.csv: must end in .parquet"),
        ({"source": "nowhere"}, "nowhere: no such file or folder"),
        ({"model": "nowhere"}, r"nowhere: no model there \(card.json is missing\)"),
        ({"source": "none.parquet"}, "none.parquet: no crystals there"),
        ({"source": "taken.parquet"}, "taken.parquet: has a column 'embedding', as the result"),
        ({"source": "taken.parquet", "out": "taken.parquet"}, "is among the files to read"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(model, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    crystals = random_crystals(3, 3)
    write_parquet(crystals.slice(0, 0), resolve("none.parquet"))
    taken = crystals.append_column("embedding", pa.nulls(3, pa.float64()))
    write_parquet(taken, resolve("taken.parquet"))
    given = {"model": model, "source": str(tmp_path), "out": "e.parquet"}
    with pytest.raises((UserError, ValueError, OSError), match=said) as caught:
        embed(EmbedConfig(**given | options))
    assert "\n" not in str(caught.value)
    assert not Path("e.parquet").exists()
