"""The command as the shell starts it: exit status and what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.models import TARGET, random_crystals


def test_the_module_runs_as_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "emrl_ray", "train", "--epochs", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "emrl-ray train: --epochs x: must be a whole number\n"


def test_the_installed_command_finds_modules_where_it_is_called(tmp_path):
    (tmp_path / "mine.py").write_text("network = 3\n")
    write_parquet(random_crystals(30), resolve(tmp_path / "c"))
    command = Path(sys.executable).with_name("emrl-ray")
    result = subprocess.run(
        [command, "train", "c", "--target", TARGET, "--out", "m", "--network", "mine:network"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "emrl-ray train: --network mine:network: is no Network\n"
