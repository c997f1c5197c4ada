"""The summary of a night: what an alert reads, and what is printed at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from emrl_ray.commands.nightly.best import Best
from emrl_ray.commands.screen.command import ScreenResult
from emrl_ray.config import ScreenConfig
from emrl_ray.config.errors import one_line
from emrl_ray.crystals.counts import RowCounts, duration
from emrl_ray.io.console import log
from emrl_ray.io.runtime import package_versions
from emrl_ray.runs.nightly_history import NightlyRun, Status
from emrl_ray.runs.output_files import plain
from emrl_ray.runs.usage import timed
from emrl_ray.screening.shortlist_diff import ENTERED, FOLLOWED, LEFT, MOVED
from emrl_ray.sources.files.changed_files import ChangedFiles
from emrl_ray.sources.files.listing import Listing

FORMAT = 1
ROWS_SHOWN = 10
"""Best rows, and paths and ids of each kind, that a summary names."""
SHOWN = ("rank", "id", "formula", "night", "in_domain", "known_id", "duplicates")
"""Columns of the best rows that it tells, besides predictions and probabilities."""


class Summary:
    """Gathers what is to be said of a night, and writes it."""

    def __init__(self, night: NightlyRun) -> None:
        self._night, self._began = night, time.monotonic()
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "night": night.name,
            "status": Status.RUNNING,
            "date": _now(),
            "out": night.out,
            "seconds": {},
        }

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Context: the seconds that pass within it are those of `stage`."""
        return timed(self.content["seconds"], stage)

    def files(self, listing: Listing, found: ChangedFiles) -> None:
        """Note what lies in the sources and what of it is to be read."""
        self.content["files"] = {
            "listed": listing.table.num_rows,
            "new": found.listing.table.num_rows - len(found.changed),
            "changed": len(found.changed),
            "changed_paths": found.changed[:ROWS_SHOWN],
            "passed_over": listing.passed_over.count,
        }

    def begin(self) -> None:
        """Say that the night is at work."""
        self._night.say(self.content)

    def ingested(self, counts: RowCounts) -> None:
        """Note what was read."""
        self.content["counts"] = {
            "rows_in": counts.rows_in,
            "crystals": counts.rows_out,
            "rejects": dict(counts.rejects.most_common()),
        }

    def screened(self, config: ScreenConfig, result: ScreenResult) -> None:
        """Note what was predicted and ranked."""
        counts = result.manifest["counts"]
        self.content["objectives"] = result.manifest["objectives"]
        self.content["counts"] |= {
            "predicted": counts["predicted"],
            "rejects_of_screen": counts["rejects"],
            "ranked": counts["ranked"],
            "shortlisted": counts["shortlisted"],
            "likely": counts["likely"],
        }
        self.content["shortlist"], self.content["report"] = result.shortlist, result.report
        self.content["table"] = config.table

    def best(self, best: Best) -> None:
        """Note the best of all nights, and what is new on it."""
        names = [
            name
            for name in best.table.column_names
            if name in SHOWN or re.fullmatch(FOLLOWED, name)
        ]
        rows = best.table.select(names).slice(0, ROWS_SHOWN).to_pylist()
        self.content["best"] = {
            "folder": best.folder,
            "rows": best.table.num_rows,
            "since": best.before.name if best.before else None,
            **{kind: best.diff.count(kind) for kind in (ENTERED, LEFT, MOVED)},
            "entered_ids": best.diff.ids(ENTERED)[:ROWS_SHOWN],
            "left_ids": best.diff.ids(LEFT)[:ROWS_SHOWN],
            "first": [plain(row) for row in rows],
        }

    def end(self, status: Status) -> None:
        """Note how the night ended."""
        self.content["status"] = status

    def failed(self, error: Exception) -> None:
        """Write that the night failed, and why; a store that cannot be written to keeps it to itself."""
        self.content["status"] = Status.FAILED
        self.content["error"] = f"{type(error).__name__}: {one_line(error)}"
        try:
            self.close()
        except OSError as another:
            log(f"nightly: no summary could be written ({another})")

    def close(self) -> None:
        """Write the summary, which ends the night, and print it."""
        self.content["date"] = _now()
        self.content["seconds"]["all"] = round(time.monotonic() - self._began, 3)
        self.content["versions"] = package_versions()
        self._night.say(self.content)
        for line in self._lines():
            log(f"nightly: {line}")

    def _lines(self) -> Iterator[str]:
        seconds = duration(self.content["seconds"]["all"])
        yield f"{self._night.name}: {self.content['status']}, {seconds}"
        if (files := self.content.get("files")) is not None:
            yield f"{files['listed']:,} files, {files['new']:,} new, {files['changed']:,} changed"
        if (best := self.content.get("best")) is not None:
            since = f"since {best['since']} " if best["since"] else ""
            yield (
                f"best of all nights: {since}{best[ENTERED]:,} entered, {best[LEFT]:,} left, "
                f"{best[MOVED]:,} moved"
            )
            yield f"{best['folder']}/shortlist.csv"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
