"""A screen leaves on two workers of Ray what it leaves in this process."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from emrl_ray.commands.screen.command import screen
from emrl_ray.config import ScreenConfig
from tests.support.models import broken, make_model, random_crystals, write_library
from tests.support.processes import assert_same, slices_of

ROWS = 300


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("library")
    return write_library(folder, broken(random_crystals(ROWS, 1, "lib")), [172, 128])


@pytest.fixture(scope="module")
def config(library: str, tmp_path_factory: pytest.TempPathFactory) -> ScreenConfig:
    """Configuration of the run that the tests look at."""
    folder = tmp_path_factory.mktemp("runs")
    return ScreenConfig(
        model=make_model(folder / "model"),
        crystals=library,
        out=str(folder / "run"),
        target_window="15:25",
        exclude_elements=["Pb"],
        top=20,
        block_rows=5,
        max_atoms=5,
    )


@pytest.fixture(scope="module")
def run(config: ScreenConfig) -> Path:
    screen(config)
    return Path(config.out)


def test_overwriting_another_run_gives_the_same_bytes_with_other_workers(
    run, config, library, tmp_path, ray_session
):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"head": "boosted"}))
    partitions = slices_of(other)
    shutil.copy(partitions[0], partitions[-1])
    screen(replace(config, out=str(other), workers=2, overwrite=True))
    assert_same(other, run, library)
    manifests = [json.loads((each / "manifest.json").read_text()) for each in (other, run)]
    assert [manifest["engine"] for manifest in manifests] == ["ray", "local"]
