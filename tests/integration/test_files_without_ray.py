"""The commands without Ray read files in processes that a bad file may kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

from emrl_ray.commands.embed import embed
from emrl_ray.commands.evaluate import evaluate
from emrl_ray.commands.neighbors import neighbors
from emrl_ray.commands.predict import predict
from emrl_ray.config import EmbedConfig, EvaluateConfig, NeighborsConfig, PredictConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table
from emrl_ray.model import Model
from tests.support.crystal_files import salt
from tests.support.models import make_model, random_crystals
from tests.support.paths import ROOT

SCRIPT = """
import sys
sys.modules["torch"] = None  # an import of it would fail
print("begins")
from emrl_ray.config import PredictConfig
from emrl_ray.commands.predict import predict
predict(PredictConfig(model=sys.argv[1], source=sys.argv[2], out=sys.argv[3], threads=1))
print("ray" in sys.modules)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def crystals() -> pa.Table:
    return random_crystals(40, 3)


@pytest.fixture(scope="module")
def expected(model: str, crystals: pa.Table) -> pa.Table:
    return Model.load(model).predict(crystals, ValidationLimits(1000, 400_000))[0]


def write_extxyz(folder: Path, crystals: pa.Table) -> None:
    """Write each crystal as a file of its own."""
    batch = CrystalBatch.from_arrow(crystals)
    folder.mkdir()
    for index, name in enumerate(crystals.column("id").to_pylist()):
        one = batch.take([index])
        atoms = [
            " ".join([SYMBOLS[number - 1], *(f"{x:.12f}" for x in position)])
            for number, position in zip(
                one.atomic_numbers, one.frac_coords @ one.lattice[0], strict=True
            )
        ]
        lattice = " ".join(f"{x:.12f}" for x in one.lattice.reshape(-1))
        head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T"'
        (folder / f"{name}.xyz").write_text("\n".join([str(len(atoms)), head, *atoms, ""]))


def test_a_folder_of_files_gives_the_same_and_a_reject_for_each_bad_file(
    model, crystals, expected, tmp_path, capsys
):
    folder, out = tmp_path / "new", tmp_path / "predictions.parquet"
    write_extxyz(folder, crystals)
    (folder / "empty.cif").write_text("")
    (folder / "torn.cif").write_bytes(b"\xff\xfe\xfa")
    (folder / "notes.txt").write_text("not a crystal")
    result = predict(PredictConfig(model=model, source=str(folder), out=str(out), threads=1))
    found = read_table(str(out))
    assert found.column("id").to_pylist() == expected.column("id").to_pylist()
    np.testing.assert_allclose(
        found.column("prediction").to_numpy(), expected.column("prediction").to_numpy(), rtol=1e-4
    )
    rejects = pcsv.read_csv(tmp_path / "predictions.parquet.rejects.csv").to_pylist()
    reasons = {row["id"]: row["reason"] for row in rejects}
    assert reasons["empty"] == "empty"
    assert reasons["torn"] == "not_utf8"
    assert len(rejects) == 42 - found.num_rows == result.rejects.num_rows
    said = capsys.readouterr().out
    assert f"42 rows in = {found.num_rows} rows out + {len(rejects)} rejects (no_pairs" in said
    assert "1 other files were skipped" in said


def test_a_plain_script_predicts_files_without_ray_or_torch_and_runs_once(
    model, crystals, expected, tmp_path
):
    write_extxyz(tmp_path / "new", crystals)
    script, out = tmp_path / "script.py", tmp_path / "p.csv"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, model, tmp_path / "new", out],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "begins"
    assert lines.count("begins") == 1
    assert lines[-1] == "False"
    assert pcsv.read_csv(out).num_rows == expected.num_rows


def test_files_without_a_crystal_leave_an_empty_table_and_do_not_pass(model, tmp_path):
    (tmp_path / "empty.cif").write_text("")
    out = tmp_path / "e.parquet"
    config = EmbedConfig(model=model, source=str(tmp_path / "empty.cif"), out=str(out), threads=1)
    assert not embed(config).passed
    assert read_table(str(out)).num_rows == 0


def test_a_path_comes_before_an_id(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = Model.load(model).reference.column("id")[0].as_py()
    folder = tmp_path / name
    folder.mkdir()
    (folder / "salt.cif").write_text(salt(4))
    result = neighbors(NeighborsConfig(model=model, source=name, count=1, threads=1))
    assert result.neighbors.column("id").to_pylist() == ["salt"]


def test_a_csv_of_cifs_with_the_values_is_evaluated(model, tmp_path):
    lines = ["id,cif,volume_per_atom", f'a,"{salt(4)}",20.5', f'b,"{salt(3.9)}",', "c,nonsense,3"]
    (tmp_path / "known.csv").write_text("\n".join(lines) + "\n")
    result = evaluate(
        EvaluateConfig(
            model=model, crystals=str(tmp_path / "known.csv"), min_distance=0.0, threads=1
        )
    )
    assert result.predictions.column("true_value").to_pylist() == [20.5]
    reasons = {row["id"]: row["reason"] for row in result.rejects.to_pylist()}
    assert reasons["b"] == "missing_target"
    assert result.passed
    assert len(reasons) == 2
