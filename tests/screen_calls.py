"""Verbs in processes of their own, to be disturbed; and what an undisturbed screen left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
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

    verb = "screen"
    patience = PATIENCE

    def __init__(self, options: Mapping[str, Any], variables: Mapping[str, str] | None = None):
        """Start the verb with the options; `variables` come on top of the environment."""
        self.out = Path(options["out"])
        words = [word for name, value in options.items() for word in _words(name, value)]
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115  # as long as the call
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emrl_ray", self.verb, *words],
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """What it printed so far."""
        return Path(self._log.name).read_text()

    def wait(self) -> str:
        """Return what it printed, once it has ended well."""
        status, said = self.end()
        assert status == 0, said
        return said

    def end(self) -> tuple[int, str]:
        """Return its exit status and what it printed."""
        status = self._process.wait(timeout=self.patience)
        return status, self.said

    def until(self, slices: int) -> None:
        """Return once so many slices are there."""
        self.until_reached(lambda: len(slices_of(self.out)) >= slices)

    def until_reached(self, reached: Callable[[], bool]) -> None:
        """Return once it has got so far."""
        end = time.monotonic() + self.patience
        while not reached():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < end, self.said
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
        self._process.wait()
        for process in started:
            process.kill()
        psutil.wait_procs(started, timeout=30)


def _words(name: str, value: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}", str(value)]


class TrainCall(Call):
    """A call of `emrl-ray train` in a process of its own."""

    verb = "train"
    patience = 2 * PATIENCE

    def until_checkpoint(self) -> None:
        """Return once Ray Train has registered a checkpoint: its record of them is there."""
        record = self.out / "_training" / "network" / "checkpoint_manager_snapshot.json"
        self.until_reached(record.exists)


def slices_of(run: Path) -> list[Path]:
    """Return the prediction files of a run."""
    return sorted((run / "predictions").glob("slice-*.parquet"))


def workers_below(pid: int, kind: str = "MapWorker") -> list[psutil.Process]:
    """Return the processes that compute slices, or workers of another kind, of the Ray below a process."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        words = process.cmdline()
        if words and words[0].startswith("ray::") and kind in words[0]:
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
