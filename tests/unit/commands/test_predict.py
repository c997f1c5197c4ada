"""Predict: any source in, a table out, on this machine alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

from emrl_ray.commands.embed import embed
from emrl_ray.commands.neighbors import neighbors
from emrl_ray.commands.predict import predict
from emrl_ray.config import EmbedConfig, NeighborsConfig, PredictConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import NEAREST, PREDICTION_COLUMNS, Model
from tests.support.models import make_model, random_crystals

COLUMNS = ["id", "formula", *PREDICTION_COLUMNS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def crystals() -> pa.Table:
    return random_crystals(40, 3)


@pytest.fixture(scope="module")
def expected(model: str, crystals: pa.Table) -> pa.Table:
    return Model.load(model).predict(crystals, ValidationLimits(1000, 400_000))[0]


def test_a_crystals_table_gives_the_predictions_of_the_model(model, crystals, expected, tmp_path):
    source = tmp_path / "crystals.parquet"
    write_parquet(crystals, resolve(source))
    result = predict(PredictConfig(model=model, source=str(source), threads=1))
    assert result.predictions.column_names == [*COLUMNS, "volume_per_atom"]
    assert result.predictions.column("id").to_pylist() == expected.column("id").to_pylist()
    np.testing.assert_allclose(
        result.predictions.column("prediction").to_numpy(),
        expected.column("prediction").to_numpy(),
        rtol=1e-6,
    )
    assert result.predictions.num_rows + result.rejects.num_rows == 40
    assert set(result.rejects.column("reason").to_pylist()) == {"no_pairs"}
    assert all(str(source) in place for place in result.rejects.column("source").to_pylist())


def test_predictions_are_written_as_csv_and_json_with_nothing_left_of_earlier_rejects(
    model, crystals, expected, tmp_path
):
    source = tmp_path / "crystals.parquet"
    write_parquet(
        crystals.filter(pa.compute.is_in(crystals["id"], expected["id"].combine_chunks())),
        resolve(source),
    )
    for ending in ("csv", "json"):
        (tmp_path / f"p.{ending}.rejects.csv").write_text("old")
        out = tmp_path / f"p.{ending}"
        predict(PredictConfig(model=model, source=str(source), out=str(out), threads=1))
        assert not (tmp_path / f"p.{ending}.rejects.csv").exists()
    table = pcsv.read_csv(tmp_path / "p.csv")
    rows = json.loads((tmp_path / "p.json").read_text())
    assert table.column_names == list(rows[0]) == [*COLUMNS, "volume_per_atom"]
    assert table.column("id").to_pylist() == [row["id"] for row in rows]
    np.testing.assert_allclose(
        table.column("prediction").to_numpy(), [row["prediction"] for row in rows]
    )


def test_without_a_file_a_table_goes_to_stdout_and_the_account_to_stderr(
    model, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("COLUMNS", raising=False)  # the width of whoever runs the tests
    source = tmp_path / "crystals.parquet"
    write_parquet(random_crystals(70, 3), resolve(source))
    result = predict(PredictConfig(model=model, source=str(source), head="boosted", threads=1))
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("volume_per_atom in angstrom^3, regressor boosted; ")
    headings = "id formula prediction lower upper outside nearest its formula its value distance"
    assert " ".join(lines[1].split()) == headings
    assert max(map(len, lines)) <= 120
    first = result.predictions.slice(0, 1).to_pylist()[0]
    assert lines[2].split()[:3] == [first["id"], first["formula"], f"{first['prediction']:.4f}"]
    assert lines[-1] == f"... {result.predictions.num_rows - 50} more, --out FILE keeps them all"
    assert "70 rows in" in said.err
    first = result.rejects.slice(0, 1).to_pylist()[0]
    assert f"predict: rejected {first['id']}, {first['reason']} {first['detail']} (" in said.err


def test_the_nearest_known_crystal_comes_with_its_true_value_and_distance(model, expected):
    opened = Model.load(model)
    known = opened.reference.to_pylist()
    references = np.array([row["embedding"] for row in known])
    embeddings = opened.embed(CrystalBatch.from_arrow(random_crystals(40, 3)))
    embeddings = embeddings[~np.isnan(embeddings[:, 0])]
    for row, embedding in zip(expected.to_pylist(), embeddings, strict=True):
        distances = np.linalg.norm(references - embedding.astype(np.float64), axis=1)
        nearest = known[distances.argmin()]
        assert row["nearest_id"] == nearest["id"]
        assert row["nearest_formula"] == nearest["formula"]
        assert row["nearest_target"] == nearest["volume_per_atom"]
        assert row["nearest_distance"] == pytest.approx(distances.min(), rel=1e-9)
    for name in ("prediction", "nearest_target"):
        assert expected.schema.field(name).metadata == {b"unit": b"angstrom^3"}
    assert expected.schema.field("nearest_distance").metadata is None


def test_a_training_crystal_is_the_nearest_to_itself(model):
    found, _ = Model.load(model).predict(random_crystals(80, 0), ValidationLimits(1000, 400_000))
    known = set(Model.load(model).reference.column("id").to_pylist())
    rows = [row for row in found.to_pylist() if row["id"] in known]
    assert len(rows) > 20
    for row in rows:
        assert (row["nearest_id"], row["nearest_target"]) == (row["id"], row["volume_per_atom"])
        assert row["nearest_distance"] < 1e-4


def test_without_reference_rows_the_nearest_is_null(model, expected, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    reference = bare / "reference.parquet"
    write_parquet(read_table(str(reference)).slice(0, 0), resolve(reference))
    found, _ = Model.load(str(bare)).predict(
        random_crystals(40, 3), ValidationLimits(1000, 400_000)
    )
    nearest = [*NEAREST, "known_id"]
    assert all(found.column(name).null_count == found.num_rows for name in nearest)
    own = [*nearest, "in_domain", "domain_reason", "map_x", "map_y"]
    assert found.drop_columns(own).equals(expected.drop_columns(own))
    assert found.schema == expected.schema


def test_the_reference_rows_are_read_at_the_first_prediction(model, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    reference = damaged / "reference.parquet"
    opened = Model.load(str(damaged))
    content = reference.read_bytes()
    reference.write_bytes(b"PAR1" + bytes(len(content) // 2) + content[len(content) // 2 + 4 :])
    with pytest.raises(ValueError, match="damaged: a damaged model") as caught:
        opened.predict(random_crystals(3, 3), ValidationLimits(1000, 400_000))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["volume_per_atom", "embedding"])
def test_a_reference_without_a_column_or_none_at_all_is_a_damaged_model(model, tmp_path, column):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    reference = damaged / "reference.parquet"
    write_parquet(read_table(str(reference)).drop_columns(column), resolve(reference))
    with pytest.raises(ValueError, match=f"a damaged model: .*{column}"):
        Model.load(str(damaged))
    reference.unlink()
    with pytest.raises(ValueError, match=r"a damaged model: .*reference\.parquet"):
        Model.load(str(damaged))


@pytest.mark.parametrize("name", COLUMNS[2:])
def test_a_table_with_a_column_named_as_ours_is_refused(model, crystals, name):
    taken = crystals.append_column(name, pa.nulls(40))
    with pytest.raises(ValueError, match=f"new: has a column '{name}', as predictions have"):
        Model.load(model).predict(taken, ValidationLimits(1000, 400_000), source="new")


def test_the_source_is_never_written_over(model, crystals, tmp_path):
    source = tmp_path / "crystals.parquet"
    write_parquet(crystals, resolve(source))
    before = source.read_bytes()
    for given in (source, tmp_path):
        with pytest.raises(UserError, match=r"--out .*crystals.parquet: is among the files"):
            predict(PredictConfig(model=model, source=str(given), out=str(source)))
    assert source.read_bytes() == before


def test_a_column_named_as_ours_is_refused_with_the_name_of_its_source(model, crystals, tmp_path):
    source = tmp_path / "crystals.parquet"
    write_parquet(crystals.append_column("lower", pa.nulls(40)), resolve(source))
    with pytest.raises(ValueError, match=r"crystals.parquet: has a column 'lower'"):
        predict(PredictConfig(model=model, source=str(source)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "p.xlsx"}, r"--out p.xlsx: must end in .parquet, .csv, .json"),
        ({"source": "nowhere"}, "nowhere: no such file or folder"),
        ({"model": "nowhere"}, r"nowhere: no model there \(card.json is missing\)"),
        ({"head": "best"}, "--head best: the model has linear, boosted"),
        ({"source": ""}, "^the source is empty: give a path"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(model, tmp_path, options, said):
    with pytest.raises((UserError, ValueError, OSError), match=said) as caught:
        predict(PredictConfig(**{"model": model, "source": str(tmp_path), **options}))
    assert "\n" not in str(caught.value)


def test_files_beside_each_other_have_rejects_of_their_own_and_the_terminal_names_them(
    model, crystals, tmp_path, capsys
):
    source, whole = tmp_path / "crystals.parquet", tmp_path / "whole.parquet"
    write_parquet(crystals, resolve(source))
    known = Model.load(model).reference.column("id").slice(0, 3)
    training = random_crystals(80, 0)
    rows = pa.compute.is_in(training.column("id"), known.combine_chunks())
    write_parquet(training.filter(rows), resolve(whole))
    for name, given in (("p.CSV", source), ("p.json", whole)):
        predict(PredictConfig(model=model, source=str(given), out=str(tmp_path / name), threads=1))
    assert pcsv.read_csv(tmp_path / "p.CSV.rejects.csv").num_rows > 0
    assert not (tmp_path / "p.json.rejects.csv").exists()
    assert pcsv.read_csv(tmp_path / "p.CSV").column_names[:2] == ["id", "formula"]
    said = capsys.readouterr().out
    assert f"predict: rejects in {tmp_path}/p.CSV.rejects.csv\n" in said
    assert "p.json.rejects" not in said


def test_the_terminal_shows_training_crystals_and_whether_all_are_in_the_domain(
    model, tmp_path, capsys
):
    source = tmp_path / "crystals.parquet"
    write_parquet(random_crystals(80, 0), resolve(source))
    result = predict(PredictConfig(model=model, source=str(source), threads=1))
    outside = result.predictions.column("in_domain").to_pylist().count(False)
    title, headings, *_ = capsys.readouterr().out.splitlines()
    count = f"{outside:,} of {result.predictions.num_rows:,} outside" if outside else "all in"
    assert title.endswith(f"regressor linear; {count} the domain")
    assert {"known", "nearest"} <= set(headings.split())
    inside = result.predictions.filter(pa.compute.field("in_domain")).column("id").to_pylist()
    crystals = random_crystals(80, 0)
    rows = pa.compute.is_in(crystals.column("id"), pa.array(inside[:3]))
    write_parquet(crystals.filter(rows), resolve(source))
    predict(PredictConfig(model=model, source=str(source), threads=1))
    assert capsys.readouterr().out.splitlines()[0].endswith("regressor linear; all in the domain")


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("folder.csv", "is a folder, give a file"),
        ("file/p.csv", "/file is not a folder"),
        ("shut/new/p.csv", "nothing may be written to .*/shut"),
    ],
)
def test_where_nothing_can_be_written_is_told_before_any_work(
    model, crystals, tmp_path, monkeypatch, out, said
):
    source = tmp_path / "crystals.parquet"
    write_parquet(crystals, resolve(source))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "shut")
    monkeypatch.setattr(Model, "load", lambda *given: 1 / 0)
    place = f"{tmp_path}/{out}"
    options = {"model": model, "source": str(source), "out": place}
    for work in (
        lambda: predict(PredictConfig(**options)),
        lambda: neighbors(NeighborsConfig(**options)),
        lambda: embed(EmbedConfig(**options | {"out": place.replace("csv", "parquet")})),
    ):
        if "folder" in out:
            (tmp_path / "folder.parquet").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=rf"^--out {tmp_path}/.*{said}"):
            work()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("head_boosted.ubj", "head_boosted.ubj holds no trees of XGBoost"),
        ("elements.csv", r"elements.csv: must have the rows 1..118 in order"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_of_a_model_that_was_cut_off_is_told_in_one_line(model, tmp_path, file, said, share):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    content = (damaged / file).read_bytes()
    (damaged / file).write_bytes(content[: int(share * len(content))])
    source = tmp_path / "crystals.parquet"
    write_parquet(random_crystals(3), resolve(source))
    with pytest.raises(ValueError, match=said) as caught:
        predict(PredictConfig(model=str(damaged), source=str(source), head="boosted"))
    assert "\n" not in str(caught.value)
