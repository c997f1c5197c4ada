"""`map` as a command of its own process, beside the function of Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import emrl_ray
from emrl_ray.io.parquet import read_table
from tests.support.maps import MADE, ROWS, config, write_inputs
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    write_inputs(folder)
    return folder


def test_the_command_line_and_python_draw_alike_without_ray_or_torch(folder, tmp_path):
    words = ["map", str(folder / "emrl"), str(folder / "gnn"), "--crystals", "library"]
    words += ["--rows", str(ROWS), "--perplexity", "5", "--threads", "1", "--out", "out"]
    script = (
        "import json, sys; from emrl_ray.cli import main\n"
        "assert main(json.loads(sys.argv[1])) == 0\n"
        "assert not {'ray', 'torch'} & sys.modules.keys()\n"
    )
    shutil.copytree(folder / "library", tmp_path / "library")
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"map: {ROWS} rows in = " in done.stdout
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(MADE)
    given = config(folder)
    options = {**vars(given), "out": str(tmp_path / "twin")}
    twin = emrl_ray.map(**options)
    assert twin.rows.equals(read_table(str(tmp_path / "out" / "map.parquet")))
