"""Nightly: read the files that are new since the last night, screen them, rank them among all nights'.

A night notes which files are new, reads and screens those alone, draws the shortlist of all nights so
far, and says in the end, in summary.json, how it went. Nothing new ends in seconds, without Ray. A
night that was cut short goes on: when it is called again, or before the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.commands.ingest import ingest_files
from emrl_ray.commands.nightly.best import draw_best
from emrl_ray.commands.nightly.plan import Steps, run_directory_of, steps_of, tonight
from emrl_ray.commands.nightly.summary import Summary
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.screen.plan import check_models, objectives_of
from emrl_ray.config import NightlyConfig, UserError
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.io.console import log
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.runs.nightly_history import (
    ENDED,
    NightlyRun,
    Status,
    files_read,
    nightly_runs,
    statuses,
)
from emrl_ray.runs.run_directory import MANIFEST
from emrl_ray.sources.files.changed_files import ChangedFiles, changed_files, still_there
from emrl_ray.sources.files.listing import Listing, joined, list_sources

PATHS_SHOWN = 3


class NightlyResult(NamedTuple):
    """How a night ended."""

    summary: dict[str, Any]
    """Content of its summary.json."""

    @property
    def passed(self) -> bool:
        """Whether there was nothing to do, or it was done."""
        return self.summary["status"] in (Status.SCREENED, Status.NOTHING_NEW)


def nightly(config: NightlyConfig) -> NightlyResult:
    """Screen what is new since the last night; called again it goes on where it stopped.

    Nights that were cut short are finished first, in their order. Raises UserError, another
    ValueError or OSError, in one line, for options that cannot be met, models or options other than
    those of the nights before, and a folder that another call works in; and what a verb raises, after it
    is noted in summary.json.
    """
    night = tonight(config)
    directory = run_directory_of(config, steps_of(config, night).screen)
    with directory.locked(False):
        directory.claim(False)
        nights = nightly_runs(night.out)
        if _had_nothing_new(night, nights):
            return _over(night)
        _check_order(night, nights)
        for earlier, status in zip(nights, statuses(night.out, nights), strict=True):
            unfinished = status not in ENDED and earlier.files() is not None
            if unfinished and earlier.name != night.name:
                log(f"nightly: {earlier.name} was cut short, it comes first")
                _told(replace(config, night=earlier.name), earlier)
        return _told(config, night)


def _check_order(night: NightlyRun, nights: Sequence[NightlyRun]) -> None:
    """Raise UserError, in one line, for a night that has read nothing before one that is there."""
    last = max((each.name for each in nights), default=night.name)
    if night.name < last and night.files() is None:
        raise UserError(
            f"--night {night.name}: sorts before {last}, which is there; nights follow each other "
            "by their names"
        )


def _had_nothing_new(night: NightlyRun, nights: Sequence[NightlyRun]) -> bool:
    """Return whether a night ended with nothing new, and another has followed, whose all later files are."""
    followed = any(each.name > night.name for each in nights)
    return followed and night.status == Status.NOTHING_NEW


def _over(night: NightlyRun) -> NightlyResult:
    log(f"nightly: {night.name} is over; files that came since wait for the next night")
    return NightlyResult(night.summary() or {})


def _told(config: NightlyConfig, night: NightlyRun) -> NightlyResult:
    """Do what a night has to do, if it has not ended, and say how it went in any case."""
    if night.status in ENDED:
        return _over(night)
    summary = Summary(night)
    try:
        _night(steps_of(config, night), night, summary)
    except Exception as error:
        summary.failed(error)
        raise
    summary.close()
    return NightlyResult(summary.content)


def _night(steps: Steps, night: NightlyRun, summary: Summary) -> None:
    """Read, screen and rank the files of a night."""
    with summary.timed("list"):
        before = [each for each in nightly_runs(night.out) if each.name < night.name]
        read = files_read(night.out, before)
        listing = _listing(steps, night, bool(read) or _is_read(night))
        found = _files(listing, night, read)
    summary.files(listing, found)
    if found.listing.table.num_rows == 0:
        summary.end(Status.NOTHING_NEW)
        return
    summary.begin()
    with summary.timed("check"):
        model, *_ = check_models(steps.screen, objectives_of(steps.screen))
    with summary.timed("ingest"):
        counts = _ingested(steps, night, found.listing)
    summary.ingested(counts)
    if counts.rows_out == 0:
        summary.end(Status.NOTHING_PREDICTED)
        return
    with summary.timed("screen"):
        result = screen(steps.screen)
    summary.screened(steps.screen, result)
    if not result.passed:
        summary.end(Status.NOTHING_PREDICTED)
        return
    with summary.timed("rank"):
        summary.best(draw_best(steps.screen, night, _last_screened(before), model, result.manifest))
    summary.end(Status.SCREENED)


def _listing(steps: Steps, night: NightlyRun, may_be_empty: bool) -> Listing:
    """Return the files of the sources, whichever have some; none in all is an error unless it may be."""
    left_out = [night.out, *filter(None, [steps.ingest.targets])]
    listings: list[Listing] = []
    empty: list[FileNotFoundError] = []
    for source in steps.ingest.sources:
        try:
            listings.append(list_sources([source], left_out))
        except FileNotFoundError as error:
            empty.append(error)
    if not (listings or may_be_empty):
        raise empty[0]
    for told in empty:
        log(f"nightly: {told}")
    return joined(listings)


def _files(listing: Listing, night: NightlyRun, read: Sequence[pa.Table]) -> ChangedFiles:
    """Return the files that a night reads, noted in its folder; `read` are those of the nights before.

    Of a night that goes on those are the ones it noted, as long as all of them are there as they were,
    or have been read.
    """
    noted, found = night.files(), changed_files(listing, read)
    if noted is not None:
        if _is_read(night) or still_there(noted, listing):
            return changed_files(Listing(noted, listing.passed_over), read)
        log(f"nightly: files of {night.name} changed since it began: it begins anew")
    night.note(found.listing.table)
    if found.changed:
        names = ", ".join(found.changed[:PATHS_SHOWN])
        more = ", ..." if len(found.changed) > PATHS_SHOWN else ""
        log(
            f"nightly: {len(found.changed):,} files changed since they were read, and are read anew "
            f"({names}{more})",
        )
    return found


def _is_read(night: NightlyRun) -> bool:
    return (resolve(night.crystals) / MANIFEST).exists()


def _ingested(steps: Steps, night: NightlyRun, files: Listing) -> RowCounts:
    """Read the files of a night, unless that is done, and return what became of the crystals."""
    if _is_read(night):  # the files may be gone since
        return RowCounts.of(read_json(resolve(night.crystals) / MANIFEST)["counts"])
    hint = f"delete {night.crystals}, and the night is read anew"
    return ingest_files(steps.ingest, files, hint).counts


def _last_screened(before: Sequence[NightlyRun]) -> NightlyRun | None:
    """Return the last of these nights that drew a shortlist."""
    for night in reversed(before):
        if night.status == Status.SCREENED:
            return night
    return None
