"""The night's work: which files to watch, how to read them, and what to screen them for."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from emrl_ray.config.base import check_name
from emrl_ray.config.errors import UserError

SECTIONS = {
    "ingest": {"out": "nightly sets it", "overwrite": "a night is never begun anew"},
    "screen": {
        "crystals": "nightly sets it",
        "out": "nightly sets it",
        "overwrite": "a night is never begun anew",
    },
}
"""The sections, and the options of their verbs that they may not have, with the reason."""


@dataclass(kw_only=True)
class NightlyConfig:
    """Read the files that are new since the last night, screen them, and rank them among all nights'."""

    out: str
    """Folder for all nights."""
    night: str | None = None
    """Name of the night; names must sort as the nights follow each other (default: the date, UTC)."""
    # Not dict[str, Any]: jsonargparse reads texts in it as YAML 1.1, in which 10:16 is 616.
    ingest: dict = field(default_factory=dict)
    """Options of ingest, in YAML a section: its `sources` are what is watched. `{night}` stands for the night."""
    screen: dict = field(default_factory=dict)
    """Options of screen, in YAML a section: models, windows, filters. `{night}` stands for the night."""

    def __post_init__(self) -> None:
        if self.night is None:
            self.night = datetime.datetime.now(datetime.UTC).date().isoformat()
        check_name("night", self.night)
        if not self.ingest or not self.screen:
            raise UserError(f"nightly: must have the sections {' and '.join(SECTIONS)}")
        for section, kept in SECTIONS.items():
            for option in getattr(self, section):
                if (why := kept.get(str(option))) is not None:
                    raise UserError(f"{section}: {option}: no option here, {why}")
