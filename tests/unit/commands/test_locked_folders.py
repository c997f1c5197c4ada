"""A folder that another call writes to is refused by each command that writes one in parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrl_ray import cli
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.runs.lock import FolderLock
from tests.support.models import CUTOFF, TARGET, make_model, random_crystals

COMMANDS = {
    "ingest": "ingest {crystals}",
    "featurize": f"featurize {{crystals}} --cutoff {CUTOFF}",
    "generate": "generate --count 10",
    "train": f"train {{crystals}} --target {TARGET} --cutoff {CUTOFF} --width 16 --epochs 1",
    "screen": "screen {model} {crystals} --maximize",
    "tune": f"tune {{crystals}} --target {TARGET} --cutoff {CUTOFF} --margin 0.1:0.2",
    "fetch": "fetch --optimade https://localhost:1 --all",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("locked")
    write_parquet(random_crystals(40, 3), resolve(place / "crystals.parquet"))
    make_model(place / "model")
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_another_call_writes_to_is_refused(command, place, tmp_path, capsys):
    out = tmp_path / "out"
    words = COMMANDS[command].format(crystals=place / "crystals.parquet", model=place / "model")
    with FolderLock(resolve(out), command):
        assert cli.main([*words.split(), "--out", str(out)]) == 2
    assert f"{out} is in use: {command} (process " in capsys.readouterr().err
    assert not out.exists()
