"""The wheel that the image is built of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile

from tests.support.paths import ROOT


def test_the_image_gets_what_a_whole_wheel_is_built_of(tmp_path):
    """What .dockerignore lets through is what COPY names, and the wheel has every file of the package."""
    copied = re.findall(r"(?m)^COPY (?:--\S+ )*(.+) \S+$", (ROOT / "Dockerfile").read_text())
    names = {name for line in copied for name in line.split()}
    let_through = re.findall(r"(?m)^!(\S+)$", (ROOT / ".dockerignore").read_text())
    assert names == set(let_through)
    for name in names:
        place = ROOT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / name)
    (tmp_path / "out").mkdir()
    built = subprocess.run(
        [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('out')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [file for file in (ROOT / "emrl_ray").rglob("*") if file.is_file()]
    kept = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert kept <= packed
