"""Screens in processes of their own, to be disturbed; and what an undisturbed one left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from emrl_ray.crystals.storage import read_table

ROOT = Path(__file__).parent.parent
FIGURES_VARIABLE = "EMRL_RAY_FIGURES"
"""File that gets a line of JSON with what each fault cost; `make chaos` sets it."""
PATIENCE = 240.0
"""Seconds in which a call must get to where a test waits for it."""


class Call:
    """A call of `emrl-ray screen` in a process of its own."""

    def __init__(self, options: Mapping[str, Any], variables: Mapping[str, str] | None = None):
        """Start a screen with the options; `variables` come on top of the environment."""
        self.out = Path(options["out"])
        words = [word for name, value in options.items() for word in _words(name, value)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emrl_ray", "screen", *words],
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def wait(self) -> str:
        """Return what it printed, once it has ended well."""
        status, said = self.end()
        assert status == 0, said
        return said

    def end(self) -> tuple[int, str]:
        """Return its exit status and what it printed."""
        said, _ = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, said

    def until(self, slices: int) -> None:
        """Return once so many slices are there."""
        end = time.monotonic() + PATIENCE
        while len(slices_of(self.out)) < slices:
            assert self._process.poll() is None, self._process.communicate()[0]
            assert time.monotonic() < end, "no slices appeared"
            time.sleep(0.002)

    def runs_until(self, moment: float) -> bool:
        """Wait until a moment of the monotonic clock; return whether the call still runs then."""
        while time.monotonic() < moment:
            if self._process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def slices(self) -> list[Path]:
        """Return the prediction files that are there."""
        return slices_of(self.out)

    def kill(self) -> None:
        """SIGKILL the driver, and the Ray that it started for itself if it did."""
        started = psutil.Process(self.pid).children(recursive=True)
        self._process.kill()
        self._process.communicate()
        for process in started:
            process.kill()
        psutil.wait_procs(started, timeout=30)


def _words(name: str, value: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}", str(value)]


def slices_of(run: Path) -> list[Path]:
    """Return the prediction files of a run."""
    return sorted((run / "predictions").glob("slice-*.parquet"))


def workers_below(pid: int) -> list[psutil.Process]:
    """Return the processes that compute slices, of the Ray node below a process."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        words = process.cmdline()
        if words and words[0].startswith("ray::") and "MapWorker" in words[0]:
            found.append(process)
    return found


def assert_same(one: Path, other: Path, library: str) -> None:
    """Check that two runs have the same files, byte by byte, and each row of the library once."""
    for folder in ("predictions", "rejects"):
        assert _contents(one / folder) == _contents(other / folder)
    for name in ("shortlist.parquet", "shortlist.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for run in (one, other):
        ids = read_table(str(run / "predictions")).column("id").to_pylist()
        ids += read_table(str(run / "rejects")).column("id").to_pylist()
        assert sorted(ids) == sorted(read_table(library).column("id").to_pylist())
        assert json.loads((run / "manifest.json").read_text())["counts"]["rows_in"] == len(ids)
        assert not (run / "_lock.json").exists()


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def recovered(fault: str, began: float) -> None:
    """Note the seconds since a fault, at the end of the run that survived it."""
    noted({"fault": fault, "seconds": round(time.monotonic() - began, 2)})


def noted(figures: Mapping[str, Any]) -> None:
    """Add a line to the file of figures, if one is asked for."""
    if file := os.environ.get(FIGURES_VARIABLE):
        with Path(file).open("a") as stream:
            stream.write(json.dumps(figures) + "\n")
