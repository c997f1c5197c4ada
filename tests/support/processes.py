"""Verbs in processes of their own, to be disturbed; and what an undisturbed screen left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from emrl_ray.io.parquet import read_table
from tests.support.paths import ROOT

FIGURES_VARIABLE = "EMRL_RAY_FIGURES"
"""File that gets a line of JSON with what each fault cost; `make chaos` sets it."""
PATIENCE = 240.0
"""Seconds in which a call must get to where a test waits for it."""
PAUSE = 0.02
"""Seconds between two looks at how far a call got."""


class Call:
    """A call of a verb of `emrl-ray` in a process of its own."""

    verb: str
    patience = PATIENCE

    def __init__(self, options: Mapping[str, Any], variables: Mapping[str, str] | None = None):
        """Start the verb with the options; `variables` come on top of the environment."""
        self.out = Path(options["out"])
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115  # as long as the call
        self._config = tempfile.NamedTemporaryFile("w", suffix=".yaml")  # noqa: SIM115
        json.dump(dict(options), self._config, default=str)
        self._config.flush()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emrl_ray", self.verb, "--config", self._config.name],
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
        try:
            status = self._process.wait(timeout=self.patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return status, self.said

    def until_reached(self, reached: Callable[[], bool]) -> None:
        """Return once it has got so far."""
        assert self.reaches(reached), f"ended before that: {self.said}"

    def reaches(self, reached: Callable[[], bool]) -> bool:
        """Wait until it has got so far; return whether it has not ended before."""
        end = time.monotonic() + self.patience
        while not reached():
            if self._process.poll() is not None:
                return False
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"waited in vain: {self.said}")
            time.sleep(PAUSE)
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL the driver, and the Ray that it started for itself if it did."""
        started = psutil.Process(self.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(started, timeout=30)


class ScreenCall(Call):
    """A call of `emrl-ray screen`."""

    verb = "screen"

    def until(self, partitions: int) -> None:
        """Return once so many partitions are there."""
        self.until_reached(lambda: len(self.partitions()) >= partitions)

    def partitions(self) -> list[Path]:
        """Return the prediction files that are there."""
        return slices_of(self.out)

    def progress(self) -> float:
        """Return the number of partitions that are there."""
        return len(self.partitions())


class TrainCall(Call):
    """A call of `emrl-ray train`."""

    verb = "train"
    patience = 2 * PATIENCE

    def until_checkpoint(self) -> None:
        """Return once Ray Train has registered a checkpoint."""
        self.until_reached(lambda: self.progress() > 0)

    def progress(self) -> float:
        """Return when Ray Train last registered a checkpoint: its record of them is written anew; 0 without."""
        record = self.out / "_training" / "network" / "checkpoint_manager_snapshot.json"
        return record.stat().st_mtime if record.exists() else 0.0


class TuneCall(Call):
    """A call of `emrl-ray tune`."""

    verb = "tune"
    patience = 2 * PATIENCE


def slices_of(run: Path) -> list[Path]:
    """Return the prediction files of a run."""
    return sorted((run / "predictions").glob("slice-*.parquet"))


def assert_same(one: Path, other: Path, library: str) -> None:
    """Check that two runs have the same files, byte by byte, and each row of the library once."""
    for folder in ("predictions", "rejects"):
        assert contents(one / folder) == contents(other / folder)
    for name in ("shortlist.parquet", "shortlist.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for run in (one, other):
        ids = read_table(str(run / "predictions")).column("id").to_pylist()
        ids += read_table(str(run / "rejects")).column("id").to_pylist()
        assert sorted(ids) == sorted(read_table(library).column("id").to_pylist())
        assert json.loads((run / "manifest.json").read_text())["counts"]["rows_in"] == len(ids)
        assert not (run / "_lock.json").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files of a folder hold, by their names."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


class Fault:
    """What happens to a run now, and the seconds that pass until it goes on and is done."""

    def __init__(self, name: str):
        """Begin to count."""
        self._name = name
        self._began = time.monotonic()

    def survived(self, call: ScreenCall | TrainCall) -> str:
        """Return what the call printed, once it has ended well; note when it got further and when it was done."""
        before = call.progress()
        call.reaches(lambda: call.progress() > before)
        extra = time.monotonic() - self._began
        said = call.wait()
        done = time.monotonic() - self._began
        noted({"fault": self._name, "goes_on": round(extra, 2), "done": round(done, 2)})
        return said


def noted(figures: Mapping[str, Any]) -> None:
    """Add a line to the file of figures, if one is asked for, with the name of the test."""
    if file := os.environ.get(FIGURES_VARIABLE):
        test = os.environ["PYTEST_CURRENT_TEST"].split(" ")[0].removeprefix("tests/")
        with Path(file).open("a") as stream:
            stream.write(json.dumps({"test": test, **figures}) + "\n")
