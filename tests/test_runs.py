"""What guards an output folder: other options, other inputs, and files that are not ours."""

import pytest

from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import locate
from emrl_ray.pipelines.runs import RECORD, open_folder


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"holds files but no _run\.json .*another --out$"):
            open_folder(locate(tmp_path), {"epochs": 1}, overwrite)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwrite_deletes_what_a_job_left_and_nothing_else(tmp_path):
    assert open_folder(locate(tmp_path), {"epochs": 1}, False) is False
    (tmp_path / "card.json").write_text("{}")
    (tmp_path / "_training").mkdir()
    (tmp_path / "_training" / "state").write_text("")
    (tmp_path / "slice-000000.parquet").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    assert open_folder(locate(tmp_path), {"epochs": 2}, True) is False
    assert {file.name for file in tmp_path.iterdir()} == {"notes.txt", RECORD}


def test_the_same_job_goes_on_and_another_is_told_what_differs(tmp_path):
    folder = locate(tmp_path)
    inputs = {"crystals": "a1"}
    open_folder(folder, {"epochs": 1, "workers": 1}, False, inputs)
    assert open_folder(folder, {"epochs": 1, "workers": 4}, False, inputs) is True
    with pytest.raises(ConfigError, match=r"--epochs was 1, is 2.*use --overwrite or another"):
        open_folder(folder, {"epochs": 2, "workers": 1}, False, inputs)
    with pytest.raises(ConfigError, match="what --crystals names is not what it was"):
        open_folder(folder, {"epochs": 1}, False, {"crystals": "b2"})
