"""The nights of a folder: which there are, what each has read, and how it ended.

A night notes the files that it reads before it reads them, and says how it ended last. A file is read
once it stands in the notes of a night that ended; those of a night that was cut short are that night's
to read, when it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.io.atomic import write_json
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import Location, names_in, read_json, remove, resolve

NIGHTS, BEST, SUMMARY = "nights", "best", "summary.json"


class Status(StrEnum):
    """How a night ended, or that it has not."""

    SCREENED = "screened"
    NOTHING_NEW = "nothing new"
    NOTHING_PREDICTED = "nothing predicted"
    FAILED = "failed"
    RUNNING = "running"


ENDED = {Status.SCREENED, Status.NOTHING_PREDICTED}
"""Those of a night that is over and keeps what it read; any other goes on when it is called again."""


class NightlyRun(NamedTuple):
    """The folder of a night."""

    out: str
    """Path or URI of the folder of all nights."""
    name: str

    @property
    def root(self) -> str:
        """Path or URI of its own folder."""
        return f"{self.out}/{NIGHTS}/{self.name}"

    @property
    def crystals(self) -> str:
        """Path or URI of its crystals table."""
        return f"{self.root}/crystals"

    @property
    def screen(self) -> str:
        """Path or URI of its run."""
        return f"{self.root}/screen"

    @property
    def best(self) -> str:
        """Path or URI of the folder with the shortlist of all nights up to it."""
        return f"{self.out}/{BEST}/{self.name}"

    @property
    def status(self) -> Status | None:
        """How it ended; None of a night that said nothing yet."""
        summary = self.summary()
        return None if summary is None else Status(summary["status"])

    def summary(self) -> dict[str, Any] | None:
        """Return what it said of itself; None if it said nothing yet."""
        try:
            return read_json(resolve(self.root) / SUMMARY)
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def say(self, summary: dict[str, Any]) -> None:
        """Write what is to be said of it, and, for who watches one file, as the latest of all nights."""
        for folder in (self.root, self.out):
            write_json(summary, resolve(folder) / SUMMARY)

    def files(self) -> pa.Table | None:
        """Return the files that it reads, as the table of a listing; None before it noted any."""
        location = self._files
        return (
            pq.read_table(location.path, filesystem=location.filesystem)
            if location.is_file()
            else None
        )

    def note(self, files: pa.Table) -> None:
        """Note the files that it reads, if there are any; what it read of others is deleted."""
        for location in (resolve(self.crystals), resolve(self.screen), self._files):
            remove(location)
        if files.num_rows:
            write_parquet(files, self._files)

    @property
    def _files(self) -> Location:
        return resolve(self.root) / "files.parquet"


def nightly_runs(out: str) -> list[NightlyRun]:
    """Return the nights in a folder, in order."""
    return [NightlyRun(out, name) for name in sorted(names_in(resolve(out) / NIGHTS))]


def statuses(out: str, nights: Sequence[NightlyRun]) -> list[Status | None]:
    """Return how nights in a folder ended."""
    return list(map_concurrently(lambda night: night.status, nights, resolve(out).filesystem))


def files_read(out: str, nights: Sequence[NightlyRun]) -> list[pa.Table]:
    """Return the files that nights in a folder read, as tables of listings, in the order of the nights."""
    read = map_concurrently(NightlyRun.files, nights, resolve(out).filesystem)
    return [files for files in read if files is not None]
