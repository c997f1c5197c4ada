"""Folders that an early version left: finished ones are read, interrupted ones are gone on with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.cli import main
from emrl_ray.commands.predict import predict
from emrl_ray.config import PredictConfig
from emrl_ray.io.parquet import read_table
from tests.support.parsing_here import parse_here
from tests.support.stored_folders import COMMANDS, HALF, call, take_to

ROWS = {
    "library": ".",
    "ingest": ".",
    "featurize": ".",
    "screen": "predictions",
    "nightly": "nights/2026-01-01/screen/predictions",
}
"""Folder below that of a command that holds its rows."""
SAYS = {
    "library": "5 partitions, 5 of them done by an earlier call",
    "featurize": "5 partitions, 5 of them done by an earlier call",
    "nightly": "2026-01-01 is over",
}
"""What a command says of its finished folder, where that is not that nothing is to do."""
KEPT_SLICES = {"slice-000000.parquet", "slice-000001.parquet"}
WRITTEN_AGAIN = {"_manifest.json", "report.html"}
MACHINES_DIFFER = 0.05
"""Relative difference of predictions after a training that other machines may make."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the stored folders, which is the current folder."""
    parse_here(monkeypatch)
    take_to(tmp_path / "stored")
    monkeypatch.chdir(tmp_path / "stored")
    return tmp_path / "stored"


def times(folder: Path) -> dict[str, int]:
    """Return when each file of a folder was last written."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}


def assert_alike(found: pa.Table, stored: pa.Table) -> None:
    """Check that two tables have the same rows; numbers may differ as they do between machines."""
    assert found.schema.equals(stored.schema)
    for name in stored.column_names:
        kept, made = stored.column(name), found.column(name)
        if pa.types.is_floating(kept.type):
            np.testing.assert_allclose(made.to_numpy(), kept.to_numpy(), rtol=1e-3, atol=1e-5)
        elif pa.types.is_nested(kept.type):
            np.testing.assert_allclose(
                *(np.concatenate(each.to_pylist()) for each in (made, kept)), rtol=1e-3, atol=1e-5
            )
        else:
            assert made.equals(kept), name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_finished_folder_is_known_again_and_left_as_it_is(name, here, capsys):
    before = times(here / name)
    assert call(name, name) == 0
    assert SAYS.get(name, "finished, nothing to do") in capsys.readouterr().out
    after = times(here / name)
    assert before.keys() | WRITTEN_AGAIN == after.keys() | WRITTEN_AGAIN
    changed = {file for file in before if before[file] != after[file]}
    assert changed <= WRITTEN_AGAIN


@pytest.mark.parametrize("name", ROWS)
def test_an_interrupted_table_keeps_its_slices_and_ends_as_the_finished_one(name, here, capsys):
    half = here / f"{name}{HALF}"
    kept = {file: time for file, time in times(half).items() if Path(file).name in KEPT_SLICES}
    assert len(kept) >= len(KEPT_SLICES)
    assert call(name, half.name) == 0
    assert "2 of them done by an earlier call" in capsys.readouterr().out
    assert kept.items() <= times(half).items()
    assert_alike(read_table(half / ROWS[name]), read_table(here / name / ROWS[name]))


def test_an_interrupted_training_goes_on_and_predicts_as_the_finished_one(here, capsys):
    assert call("train", f"train{HALF}") == 0
    assert "train: goes on after epoch 3" in capsys.readouterr().out
    curves = [
        json.loads((here / name / "learning_curve.json").read_text())
        for name in ("train", f"train{HALF}")
    ]
    finished, resumed = (predictions(here / name) for name in ("train", f"train{HALF}"))
    np.testing.assert_allclose(resumed, finished, rtol=MACHINES_DIFFER)
    assert [len(curve) for curve in curves] == [6, 6]


def test_a_model_predicts_what_it_predicted(here):
    stored = read_table(here / "screen" / "predictions").sort_by("id").column("prediction")
    np.testing.assert_allclose(predictions(here / "train"), stored.to_numpy(), rtol=1e-4)


def predictions(model: Path) -> np.ndarray:
    """Return what a model predicts for the stored crystals, in the order of their ids."""
    out = model.parent / f"{model.name}.csv"
    predict(PredictConfig(model=str(model), source="library", out=str(out)))
    rows = sorted(csv.DictReader(out.open()), key=lambda row: row["id"])
    return np.array([float(row["prediction"]) for row in rows])


def test_graphs_are_trained_on(here):
    assert main([*COMMANDS["train"].split(), "--graphs", "featurize", "--out", "again"]) == 0
    assert predictions(here / "again") == pytest.approx(
        predictions(here / "train"), rel=MACHINES_DIFFER
    )


def test_a_run_is_reported_and_compared(here):
    assert main(["report", "screen"]) == 0
    best = read_table(here / "screen" / "shortlist.parquet").column("id")[0].as_py()
    assert best in (here / "screen" / "report.html").read_text()
    assert main(["diff", "screen", "nightly/nights/2026-01-01/screen"]) == 0
