"""Evaluate: predictions against known values, every number as a plain sum over the rows gives it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pytest

import emrl_ray
from emrl_ray.commands.evaluate import evaluate
from emrl_ray.config import EvaluateConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from emrl_ray.reports.evaluation.parity import MAX_POINTS, parity
from emrl_ray.reports.evaluation.summary import measured, sentences
from tests.support.crystal_files import salt
from tests.support.models import TARGET, make_model, random_crystals, write_library

ROWS = 120
UNLABELLED = [2, 3, 50]
FILES = [
    *("by_element.csv", "metrics.json", "parity.png", "parity.svg"),
    *("predictions.parquet", "rejects.csv"),
]


def labelled(**metadata: str) -> pa.Table:
    """Return crystals of which the first 80 are those that the model was made of.

    Three have no target.
    """
    known, others = random_crystals(80, 0), random_crystals(ROWS - 80, 5, prefix="new")
    table = pa.concat_tables([known, others]).combine_chunks()
    values = table.column(TARGET).to_numpy().copy()
    values[UNLABELLED[1:]] = np.nan
    array = pa.array(values, mask=np.arange(ROWS) == UNLABELLED[0])
    field = pa.field(TARGET, pa.float64(), metadata={"unit": "angstrom^3"} | metadata)
    return table.set_column(table.column_names.index(TARGET), field, array)


def options(model: str, crystals: Path | str, **changes) -> EvaluateConfig:
    given = {"model": model, "crystals": str(crystals), "min_distance": 0.0, "threads": 1}
    return EvaluateConfig(**given | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, a library in two files, and an evaluation of one on the other."""
    folder = tmp_path_factory.mktemp("evaluate")
    make_model(folder / "model")
    write_library(folder / "library", labelled(), [70, 50])
    evaluate(options(str(folder / "model"), folder / "library", out=str(folder / "out")))
    return folder


@pytest.fixture(scope="module")
def model(folder) -> str:
    return str(folder / "model")


@pytest.fixture(scope="module")
def rows(folder) -> pa.Table:
    return read_table(str(folder / "out" / "predictions.parquet"))


@pytest.fixture(scope="module")
def metrics(folder) -> dict:
    return json.loads((folder / "out" / "metrics.json").read_text())


def test_the_folder_holds_numbers_tables_and_pictures(folder):
    assert sorted(path.name for path in (folder / "out").iterdir()) == FILES
    assert (folder / "out" / "parity.png").read_bytes()[:4] == b"\x89PNG"


def test_rows_in_are_those_scored_and_the_rejects(folder, rows, metrics):
    rejects = pcsv.read_csv(folder / "out" / "rejects.csv").to_pylist()
    assert rows.num_rows + len(rejects) == metrics["rows_in"] == ROWS
    assert metrics["scored"] == rows.num_rows
    without = [row["id"] for row in rejects if row["reason"] == "missing_target"]
    assert without == labelled().column("id").take(UNLABELLED).to_pylist()
    assert metrics["rejects"]["missing_target"] == 3
    assert metrics["rejects"]["no_pairs"] == len(rejects) - 3 > 0
    assert all("library/part-" in row["source"] for row in rejects)


def test_a_row_is_a_prediction_of_the_model_with_the_true_value_and_the_error(model, rows):
    crystals = labelled()
    kept = crystals.filter(pa.compute.is_in(crystals["id"], rows["id"].combine_chunks()))
    expected, _ = Model.load(model).predict(kept, ValidationLimits(1000, 400_000))
    own = ["true_value", "error"]
    assert rows.column_names[:5] == ["id", "formula", "true_value", "prediction", "error"]
    assert rows.drop_columns(own).column_names == expected.drop_columns(TARGET).column_names
    assert rows.column("id").to_pylist() == expected.column("id").to_pylist()
    true = rows.column("true_value").to_numpy()
    np.testing.assert_array_equal(true, kept.column(TARGET).to_numpy())
    for name in ("prediction", "lower", "upper", "nearest_target"):
        np.testing.assert_allclose(rows[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6)
    np.testing.assert_array_equal(
        rows.column("error").to_numpy(), rows.column("prediction").to_numpy() - true
    )
    for name in own:
        assert rows.schema.field(name).metadata == {b"unit": b"angstrom^3"}


def test_the_numbers_are_those_of_the_rows(rows, metrics, model):
    true, predicted = rows["true_value"].to_numpy(), rows["prediction"].to_numpy()
    errors = predicted - true
    assert metrics["mae"] == pytest.approx(np.abs(errors).mean())
    rest = (errors**2).sum() / ((true - true.mean()) ** 2).sum()
    assert metrics["r2"] == pytest.approx(1 - rest)
    lower, upper = rows["lower"].to_numpy(), rows["upper"].to_numpy()
    held = (lower <= true) & (true <= upper)
    assert metrics["intervals"]["coverage"] == pytest.approx(held.mean())
    assert metrics["intervals"]["mean_width"] == pytest.approx((upper - lower).mean())
    inside = rows.column("in_domain").to_numpy()
    assert metrics["domain"]["inside"]["rows"] == inside.sum()
    assert metrics["domain"]["outside"]["rows"] == (~inside).sum()
    assert metrics["unit"] == "angstrom^3"
    assert metrics["model_fingerprint"] == folder_fingerprint(model)


def test_the_floors_are_means_over_the_training_rows(model, rows, metrics):
    known = Model.load(model).reference.to_pylist()
    mean = np.mean([row[TARGET] for row in known])
    by_formula = {
        formula: np.mean([row[TARGET] for row in known if row["formula"] == formula])
        for formula in {row["formula"] for row in known}
    }
    true = rows["true_value"].to_numpy()
    guessed = np.array([by_formula.get(name, mean) for name in rows["formula"].to_pylist()])
    assert metrics["floors"]["mean"]["mae"] == pytest.approx(np.abs(true - mean).mean())
    assert metrics["floors"]["composition"]["mae"] == pytest.approx(np.abs(true - guessed).mean())


def test_crystals_that_the_model_has_seen_are_scored_and_counted(
    model, rows, metrics, folder, capsys
):
    opened = Model.load(model)
    trained = set(opened.reference.column("id").to_pylist())
    kept = opened.held_out.filter(pc.field("part") == "calibration").column("id").to_pylist()
    parts = {
        "training_rows": np.array([name in trained for name in rows["id"].to_pylist()]),
        "calibration_rows": np.array([name in kept for name in rows["id"].to_pylist()]),
    }
    parts["not_seen"] = ~parts["training_rows"] & ~parts["calibration_rows"]
    errors = np.abs(rows["error"].to_numpy())
    for part, chosen in parts.items():
        assert metrics[part]["rows"] == chosen.sum() > (20 if part == "training_rows" else 10)
        assert metrics[part]["mae"] == pytest.approx(errors[chosen].mean())
    evaluate(options(model, folder / "library"))
    said = capsys.readouterr().out
    for part, chosen in parts.items():
        assert re.search(rf"{part.replace('_', ' ')} +{chosen.sum()} crystals, MAE", said)
    assert "the model was fitted to them" in said
    assert "the intervals were made of them" in said


def test_crystals_under_other_ids_are_counted_as_what_they_are(model, folder, metrics, tmp_path):
    crystals = labelled()
    other = pa.array([f"other-{row}" for row in range(ROWS)])
    write_parquet(crystals.set_column(0, "id", other), resolve(tmp_path / "renamed.parquet"))
    again = evaluate(options(model, tmp_path / "renamed.parquet")).metrics
    for part in ("training_rows", "calibration_rows", "not_seen"):
        assert again[part] == pytest.approx(metrics[part])


def test_an_element_has_the_mean_over_the_crystals_that_contain_it(folder, rows):
    crystals = labelled()
    kept = crystals.take(pa.compute.index_in(rows["id"], crystals["id"].combine_chunks()))
    batch = CrystalBatch.from_arrow(kept)
    errors = rows["error"].to_numpy()
    true = rows["true_value"].to_numpy()
    held = (rows["lower"].to_numpy() <= true) & (true <= rows["upper"].to_numpy())
    found = pcsv.read_csv(folder / "out" / "by_element.csv").to_pylist()
    assert {row["element"] for row in found} == {"O", "Fe", "Cs", "Pb"}
    for row in found:
        number = SYMBOLS.index(row["element"]) + 1
        has = [
            number in batch.atomic_numbers[first:last]
            for first, last in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
        ]
        assert row["rows"] == sum(has)
        assert row["mae"] == pytest.approx(np.abs(errors[has]).mean())
        assert row["bias"] == pytest.approx(errors[has].mean())
        assert row["coverage"] == pytest.approx(held[has].mean())
    assert [row["mae"] for row in found] == sorted((row["mae"] for row in found), reverse=True)


def test_the_pictures_carry_unit_and_numbers_and_are_the_same_bytes_again(folder, metrics, model):
    svg = (folder / "out" / "parity.svg").read_text()
    axis = "volume per atom (angstrom^3)"
    assert f"true {axis}" in svg
    assert f"predicted {axis}" in svg
    assert f"MAE {metrics['mae']:.3g} angstrom^3" in svg
    before = {name: (folder / "out" / name).read_bytes() for name in FILES}
    emrl_ray.evaluate(
        model=model,
        crystals=str(folder / "library"),
        out=str(folder / "out"),
        min_distance=0.0,
        threads=1,
    )
    assert {name: (folder / "out" / name).read_bytes() for name in FILES} == before


def test_few_rows_have_intervals_in_the_picture_and_many_are_counted():
    random = np.random.default_rng(0)
    true = random.normal(size=MAX_POINTS + 1)
    predicted = true + 0.1 * random.normal(size=len(true))
    ends = predicted - 0.2, predicted + 0.2
    few = [values[:30] for values in ends]
    with_intervals = parity(true[:30], predicted[:30], tuple(few), "gap (eV)", "").svg
    without = parity(true[:30], predicted[:30], None, "gap (eV)", "").svg
    assert with_intervals.count(b"<path") - without.count(b"<path") >= 30
    assert b"bars: intervals" in with_intervals
    assert b"bars: intervals" not in without
    endless = tuple(np.full(30, end) for end in (-np.inf, np.inf))
    assert parity(true[:30], predicted[:30], endless, "gap (eV)", "").svg == without
    many = parity(true, predicted, ends, "gap (eV)", "").svg
    assert b">crystals<" in many
    assert b">crystals<" not in without


def test_what_was_printed_is_what_was_measured(folder, metrics, capsys, model):
    result = evaluate(options(model, folder / "library", head="boosted"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("volume per atom (angstrom^3): regressor boosted of ")
    error = f"{result.metrics['mae']:.4f} angstrom^3"
    assert any(re.fullmatch(rf"  MAE +{re.escape(error)}", line) for line in lines)
    assert any(re.match(r"  worst elements +\w+ \d+\.\d{4} \(\d+\), ", line) for line in lines)
    assert lines[-1].startswith(
        f"evaluate: {ROWS} rows in = {result.predictions.num_rows} rows out + "
    )


def scored(**columns: list) -> pa.Table:
    """Return four rows as `measured` takes them."""
    rows = {"id": list("abcd"), "formula": ["NaCl"] * 4, "true_value": [0.0, 1.0, 2.0, 3.0]}
    rows |= {"prediction": [0.1, 1.0, 2.0, 4.0], "lower": [0.0] * 4, "upper": [3.5] * 4}
    rows["known_id"] = pa.nulls(4, pa.string())
    return pa.table(rows | columns)


REFERENCE = pa.table({"id": ["a", "z"], "formula": ["NaCl", "KCl"], "true_value": [0.0, 1.0]})
NO_IDS = pa.array([], pa.string())


def test_where_the_model_knows_its_domain_errors_in_and_out_of_it_are_told_apart():
    found = measured(scored(in_domain=[True, True, True, False]), REFERENCE, NO_IDS)
    assert found["domain"]["inside"]["mae"] == pytest.approx(0.1 / 3)
    assert found["domain"]["outside"] == {"rows": 1, "mae": 1.0, "coverage": 1.0}
    elements = pa.table({"element": ["Na"], "rows": [4], "mae": [0.3]})
    said = "\n".join(sentences(found, elements, "eV"))
    assert re.search(r"in domain +3 crystals, MAE 0\.0333 eV", said)
    assert re.search(r"out of domain +1 crystals, MAE 1\.0000 eV", said)


@pytest.mark.parametrize("columns", [{}, {"in_domain": pa.nulls(4, pa.bool_())}])
def test_a_model_that_knows_no_domain_says_nothing_of_it(columns):
    assert measured(scored(**columns), REFERENCE, NO_IDS)["domain"] is None


def test_rows_are_what_their_id_or_their_structure_says_and_training_comes_first():
    rows = scored(known_id=["k", "k", "z", None])
    found = measured(rows, REFERENCE, pa.array(["a", "k"]))
    assert found["training_rows"] == {"rows": 2, "mae": pytest.approx(0.05), "coverage": 1.0}
    assert found["calibration_rows"] == {"rows": 1, "mae": 0.0, "coverage": 1.0}
    assert found["not_seen"] == {"rows": 1, "mae": 1.0, "coverage": 1.0}


def test_without_intervals_or_reference_there_are_none_in_the_numbers():
    bare = scored(lower=pa.nulls(4, pa.float64()), upper=pa.nulls(4, pa.float64()))
    found = measured(bare, REFERENCE.slice(0, 0), NO_IDS)
    assert found["intervals"] is None
    assert found["floors"] is None
    assert found["training_rows"] == {"rows": 0, "mae": None, "coverage": None}
    infinite = measured(scored(lower=[-np.inf] * 4, upper=[np.inf] * 4), REFERENCE, NO_IDS)
    assert infinite["intervals"] == {"confidence": 0.9, "coverage": 1.0, "mean_width": None}


def test_a_target_of_another_name_or_kind_of_number_is_compared(model, tmp_path):
    values = pa.array(np.arange(10), pa.int32())
    table = random_crystals(10, 5).drop_columns(TARGET).append_column("measured", values)
    write_parquet(table, resolve(tmp_path / "t.parquet"))
    result = evaluate(options(model, tmp_path / "t.parquet", target="measured"))
    expected = dict(zip(table["id"].to_pylist(), range(10), strict=True))
    for row in result.predictions.to_pylist():
        assert row["true_value"] == expected[row["id"]]
    assert "measured" not in result.predictions.column_names


def test_another_level_of_theory_is_said_and_compared(folder, tmp_path, capsys):
    copy = tmp_path / "model"
    shutil.copytree(folder / "model", copy)
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | {"theory": "PBE"}))
    write_parquet(labelled(theory="HSE06"), resolve(tmp_path / "t.parquet"))
    assert evaluate(options(str(copy), tmp_path / "t.parquet")).passed
    said = capsys.readouterr().out
    assert "evaluate: volume_per_atom is by HSE06, the model learned PBE" in said


def test_crystals_that_cannot_be_predicted_make_an_evaluation_that_does_not_pass(
    model, tmp_path, capsys
):
    write_parquet(random_crystals(5, 5), resolve(tmp_path / "x.parquet"))
    result = evaluate(options(model, tmp_path / "x.parquet", max_pairs=1, out=str(tmp_path / "o")))
    assert not result.passed
    assert result.rejects.num_rows == 5
    assert not (tmp_path / "o").exists()
    assert "evaluate: 5 rows in = 0 rows out + 5 rejects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "gap"}, "no known values of 'gap' to compare with; its numeric columns: vol"),
        ({"crystals": "bare.parquet"}, "bare.parquet: no known values of 'volume_per_atom' to co"),
        ({"crystals": "new"}, r"it has no column of numbers \(ingest --targets joins a CSV"),
        ({"crystals": "none.parquet"}, "none.parquet: no crystals there"),
        ({"crystals": "nulls.parquet"}, "nulls.parquet: none of its 3 crystals has a volume_per"),
        ({"crystals": "nm.parquet"}, r"nm.parquet: volume_per_atom is in nm\^3, .*model predicts"),
        ({"crystals": "error.parquet"}, "error.parquet: has a column 'error', as the result"),
        ({"crystals": "upper.parquet"}, "upper.parquet: has a column 'upper', as predictions"),
        ({"crystals": "nowhere"}, "nowhere: no such file or folder"),
        ({"model": "nowhere"}, r"nowhere: no model there \(card.json is missing\)"),
        ({"head": "best"}, "--head best: the model has linear, boosted"),
        (
            {"out": "taken"},
            "--out taken: holds metrics.json and is no evaluation: use another folder",
        ),
        ({"out": "nm.parquet"}, "--out nm.parquet: is a file, give a folder"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(model, tmp_path, monkeypatch, changes, said):
    monkeypatch.chdir(tmp_path)
    crystals = random_crystals(3, 5)
    nulls = crystals.drop_columns(TARGET).append_column(TARGET, pa.nulls(3, pa.float64()))
    field = pa.field(TARGET, pa.float64(), metadata={"unit": "nm^3"})
    tables = {
        "good": crystals,
        "bare": crystals.drop_columns(TARGET),
        "none": crystals.slice(0, 0),
        "nulls": nulls,
        "nm": crystals.set_column(5, field, crystals.column(TARGET)),
        "error": crystals.append_column("error", pa.nulls(3)),
        "upper": crystals.append_column("upper", pa.nulls(3)),
    }
    for name, table in tables.items():
        write_parquet(table, resolve(f"{name}.parquet"))
    for name in ("new", "taken"):
        Path(name).mkdir()
    Path("new", "salt.cif").write_text(salt(4))
    Path("taken", "metrics.json").write_text("{}")
    given = {"model": model, "crystals": "good.parquet", "out": "out"} | changes
    with pytest.raises((UserError, ValueError, OSError), match=said) as caught:
        evaluate(options(**given))
    assert "\n" not in str(caught.value)
    assert not Path("out").exists()
    assert Path("taken", "metrics.json").read_text() == "{}"
