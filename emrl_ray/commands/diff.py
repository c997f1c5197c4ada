"""Diff: what entered, left and moved between the shortlists of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.commands.predict import print_rows
from emrl_ray.config import DiffConfig, ScreenConfig, UserError
from emrl_ray.config.errors import MissingFileError, one_line
from emrl_ray.config.renamed import current_names
from emrl_ray.io.console import log
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import read_json
from emrl_ray.reports.markup import plain
from emrl_ray.runs.output_files import check_output_file_name, write_table
from emrl_ray.runs.result_folder import finished_manifest
from emrl_ray.screening.objectives import suffix
from emrl_ray.screening.shortlist import RANK
from emrl_ray.screening.shortlist_diff import AFTER, BEFORE, CHANGE, ShortlistDiff, shortlist_diff

SHAPING = {
    *("exclude_elements", "only_elements", "in_domain", "exclude_known", "per_system", "diverse"),
    *("top", "max_atoms", "max_pairs", "min_distance"),
}
"""Options of a screen, besides models, their heads and windows, that make its shortlist another one."""


class Listed(NamedTuple):
    """A run's shortlist, and what it is a shortlist of."""

    uri: str
    shortlist: pa.Table
    targets: str
    """What was predicted, as `band_gap in eV`."""
    models: list[str]
    """Fingerprints of the models."""
    wanted: str
    """Windows, or `largest` or `smallest`."""
    options: Mapping[str, Any]
    """What else was asked of the screen, by the names of its options."""


def diff(config: DiffConfig) -> ShortlistDiff:
    """Compare the shortlists of two runs, and write or print what changed.

    Raises UserError or MissingFileError, in one line, for folders without a
    finished run, runs of other targets, and an --out that cannot be written.
    """
    if config.out is not None:
        check_output_file_name(config.out)
    before, after = _read(config.before), _read(config.after)
    if before.targets != after.targets:
        raise UserError(
            f"{after.uri} predicts {after.targets}, {before.uri} {before.targets}: their shortlists "
            "cannot be compared"
        )
    found = shortlist_diff(before.shortlist, after.shortlist)
    for line in _cautions(before, after):
        log(f"diff: {line}")
    if config.out is None and found.table.num_rows:
        print_rows(f"from {before.uri} to {after.uri}", found.table, _headings(found.table))
    if config.out is not None:
        write_table(found.table, config.out)
    log(f"diff: {found.text}")
    if config.out is not None:
        log(f"diff: {config.out}")
    return found


def _read(uri: str) -> Listed:
    location = finished_manifest(uri)
    try:
        return _described(
            uri, read_json(location), read_table(f"{uri.rstrip('/')}/shortlist.parquet")
        )
    except MissingFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{uri}: not the folder of a screen ({_why(error)})") from None


def _described(uri: str, manifest: Mapping[str, Any], shortlist: pa.Table) -> Listed:
    """Return the shortlist of a manifest; raises KeyError or TypeError for what is no manifest."""
    for name in ("id", RANK):
        if name not in shortlist.column_names:
            raise KeyError(name)
    objectives, prints = manifest["objectives"], manifest["fingerprints"]
    way = "largest" if (manifest.get("config") or {}).get("maximize") else "smallest"
    return Listed(
        uri,
        shortlist,
        " and ".join(f"{each['target']} in {each.get('unit') or 'no unit'}" for each in objectives),
        [prints[name] for name in sorted(prints) if name != "crystals"],
        " and ".join(each.get("window") or way for each in objectives),
        _options(current_names(manifest.get("config") or {})),
    )


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that shape a shortlist; one that an older run lacks is its default."""
    heads = [entry.get("head") for entry in config.get("objectives") or []]
    found = {"head": [config.get("head"), *heads] if any(heads) else config.get("head")}
    for each in fields(ScreenConfig):
        if each.name in SHAPING:
            default = [] if each.default is MISSING else each.default
            value = config.get(each.name, default)
            found[each.name] = sorted(value) if isinstance(value, list) else value
    return found


def _why(error: Exception) -> str:
    return one_line(f"without {error}" if isinstance(error, KeyError) else error)


def _cautions(before: Listed, after: Listed) -> list[str]:
    """Return what makes two shortlists differ besides the candidates, in lines."""
    lines = []
    if before.models != after.models:
        lines.append("the models are not the same: predictions differ for that alone")
    if before.wanted != after.wanted:
        lines.append(f"ranked for {before.wanted} before, for {after.wanted} now")
    for name, was in before.options.items():
        if was != (now := after.options[name]):
            lines.append(f"--{name.replace('_', '-')} was {plain(was)}, is {plain(now)}")
    return lines


def _headings(table: pa.Table) -> dict[str, str]:
    """Return the columns that are printed, and how they are called there."""
    predictions = [f"prediction{suffix(number)}" for number in range(table.num_columns)]
    chance = "p_all" if f"p_all{AFTER}" in table.column_names else "p_in_window"
    told = {CHANGE: CHANGE, "id": "id", "formula": "formula"}
    for name in (RANK, *predictions, chance):
        if name + AFTER in table.column_names:
            told |= {name + BEFORE: f"{name} was", name + AFTER: f"{name} is"}
    return told
