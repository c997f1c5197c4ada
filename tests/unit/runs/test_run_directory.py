"""What guards an output folder: other options, other inputs, and files that are not ours."""

import hashlib
import json
from pathlib import Path

import pytest

from emrl_ray.config import UserError
from emrl_ray.io.paths import resolve
from emrl_ray.runs.run_directory import RECORD, RunDirectory, refuse_input_as_output


def job(folder: Path, verb: str = "train", inputs: str = "a1", **arguments: int) -> RunDirectory:
    return RunDirectory(verb, resolve(folder), arguments, {"crystals": inputs})


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"holds files but no _run\.json .*another --out$"):
        job(tmp_path, epochs=1).claim(overwrite)
    assert names(tmp_path) == {"thesis.tex"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("record", ['{"verb": "ingest"}', "{}"])
def test_the_folder_of_another_verb_is_refused_and_left_alone(tmp_path, overwrite, record):
    (tmp_path / RECORD).write_text(record)
    (tmp_path / "slice-000000.parquet").write_text("")
    with pytest.raises(UserError, match=r"holds the work of (ingest|another program): use"):
        job(tmp_path, epochs=1).claim(overwrite)
    assert names(tmp_path) == {RECORD, "slice-000000.parquet"}


def test_overwrite_deletes_what_a_job_left_and_nothing_else(tmp_path):
    assert job(tmp_path, epochs=1).claim(False) is False
    (tmp_path / "card.json").write_text("{}")
    (tmp_path / "head_boosted.ubj").write_text("")
    (tmp_path / "_training").mkdir()
    (tmp_path / "_training" / "state").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    assert job(tmp_path, epochs=2).claim(True) is False
    assert names(tmp_path) == {"notes.txt", RECORD}


def test_the_same_job_goes_on_wherever_it_runs(tmp_path):
    job(tmp_path, epochs=1, workers=1).claim(False)
    assert job(tmp_path, epochs=1, workers=4).claim(False) is True


def test_a_job_is_told_what_differs(tmp_path):
    job(tmp_path, epochs=1).claim(False)
    with pytest.raises(UserError, match=r"--epochs was 1, is 2.*use --overwrite or another"):
        job(tmp_path, epochs=2).claim(False)
    with pytest.raises(UserError, match="what --crystals names is not what it was"):
        job(tmp_path, inputs="b2", epochs=1).claim(False)


@pytest.mark.parametrize("inner", ["", "/crystals.parquet"])
def test_an_input_is_never_the_output(tmp_path, inner):
    with pytest.raises(UserError, match=r"--out .*: --crystals .* lies there; use another --out"):
        refuse_input_as_output(str(tmp_path), crystals=f"{tmp_path}{inner}")
    refuse_input_as_output(f"{tmp_path}/model", crystals=str(tmp_path), graphs=None)
    refuse_input_as_output(f"{tmp_path}/a", crystals=f"{tmp_path}/ab")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^--out .*/file: is a file, give a folder$"):
        job(tmp_path / "file").claim(True)
    assert (tmp_path / "file").exists()


def test_the_fingerprint_of_a_run_outlives_the_name_of_an_option_and_of_a_command(tmp_path):
    first = {"verb": "library", "not_known": True, "inputs": {}}
    expected = hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()
    now = RunDirectory("generate", resolve(tmp_path), {"exclude_known": True}, {})
    assert now.fingerprint == expected
