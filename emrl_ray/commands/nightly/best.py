"""The shortlist of all nights so far, drawn from that of the nights before and tonight's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.commands.screen.command import ranking_of, write_shortlist
from emrl_ray.config import ScreenConfig
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from emrl_ray.runs.nightly_history import NightlyRun
from emrl_ray.screening.duplicates import map_tolerance
from emrl_ray.screening.merge_shortlists import merge_shortlists
from emrl_ray.screening.screener import NIGHT
from emrl_ray.screening.shortlist_diff import ShortlistDiff, shortlist_diff


class Best(NamedTuple):
    """The shortlist of all nights."""

    folder: str
    """Path or URI of its folder."""
    table: pa.Table
    before: NightlyRun | None
    """The last night before that drew one."""
    diff: ShortlistDiff
    """What changed since that night; all of it is new on the first one."""


def draw_best(
    config: ScreenConfig,
    night: NightlyRun,
    before: NightlyRun | None,
    model: Model,
    manifest: Mapping[str, Any],
) -> Best:
    """Draw the shortlist of all nights up to `night` and write its folder.

    `before` is the last night that drew one, `model` the one that ranks, `manifest` that of the
    night's screen.
    """
    new = read_table(f"{night.screen}/shortlist.parquet")
    new = new.add_column(1, NIGHT, pa.repeat(night.name, new.num_rows))
    old = read_table(f"{before.best}/shortlist.parquet") if before else new.slice(0, 0)
    embed = model.embed if config.diverse else None
    table = merge_shortlists(
        [old, new], ranking_of(config), config.top, config.per_system, embed, map_tolerance(model)
    )
    folder = resolve(night.best)
    write_shortlist(table, folder)
    kept = ("config", "objectives", "filters", "versions")
    prints = {name: one for name, one in manifest["fingerprints"].items() if name != "crystals"}
    content = {name: manifest[name] for name in kept} | {"fingerprints": prints}
    write_json({"night": night.name, **content}, folder / "manifest.json")
    return Best(night.best, table, before, shortlist_diff(old, table))
