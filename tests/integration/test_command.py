"""The command as the shell starts it: exit status and what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.models import TARGET, random_crystals
from tests.support.paths import ROOT, STORED


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


def test_a_call_of_python_prints_nothing(tmp_path):
    write_parquet(random_crystals(30), resolve(tmp_path / "c.parquet"))
    code = (
        "import sys, emrl_ray\n"
        "result = emrl_ray.predict(model=sys.argv[1], source=sys.argv[2])\n"
        "assert result.passed\n"
    )
    words = [sys.executable, "-c", code, STORED / "model-format-1", tmp_path / "c.parquet"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_type_checker_knows_the_signature_of_a_function(tmp_path):
    code = "import emrl_ray\nemrl_ray.predict(model='m', source='s', threads='two')\n"
    (tmp_path / "user.py").write_text(code)
    words = [sys.executable, "-m", "mypy", tmp_path / "user.py"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert 'Argument "threads" to "predict" has incompatible type "str"' in result.stdout
