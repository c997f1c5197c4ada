"""What nights are to do, checked before any work: the options of both verbs, and whose the folder is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from emrl_ray.commands.screen.plan import TABLE, called, fingerprints, objectives_of
from emrl_ray.config import IngestConfig, NightlyConfig, ScreenConfig, UserError
from emrl_ray.config.parsing import parse
from emrl_ray.io.paths import absolute_uri, resolve
from emrl_ray.runs.nightly_history import NightlyRun
from emrl_ray.runs.run_directory import RunDirectory, refuse_input_as_output
from emrl_ray.screening.filters import Filters

OF_A_NIGHT = {"crystals", "out", "run_id"}
"""Options of screen that differ from night to night."""
PLACEHOLDER = "{night}"


class Steps(NamedTuple):
    """The options of both verbs for one night."""

    ingest: IngestConfig
    screen: ScreenConfig


def steps_of(config: NightlyConfig, night: NightlyRun) -> Steps:
    """Return the options of both verbs; raises UserError, in one line, for those that they refuse."""
    ingest = _parsed(IngestConfig, "ingest", config.ingest, night, out=night.crystals)
    screen = _parsed(
        *(ScreenConfig, "screen", config.screen, night),
        crystals=night.crystals,
        out=night.screen,
    )
    if screen.format == "delta":
        screen = replace(
            screen,
            table=screen.table or f"{night.out}/{TABLE}",
            run_id=screen.run_id or night.name,
        )
    Filters.of(screen)
    for wanted in screen.wanted():
        refuse_input_as_output(night.out, **{wanted.option: wanted.model})
    return Steps(ingest, screen)


def run_directory_of(config: NightlyConfig, screen: ScreenConfig) -> RunDirectory:
    """Return the job whose folder holds all nights: what they screen for, and with which models."""
    kept = {name: value for name, value in asdict(screen).items() if name not in OF_A_NIGHT}
    return RunDirectory(
        "nightly",
        resolve(config.out),
        kept,
        fingerprints(objectives_of(screen)),
        called=called(screen),
        hint="all nights of a folder are screened alike; use another --out",
    )


def tonight(config: NightlyConfig) -> NightlyRun:
    """Return the night that is called for."""
    assert config.night is not None  # set when the configuration was made
    return NightlyRun(absolute_uri(config.out).rstrip("/"), config.night)


def _parsed(
    kind: Any, verb: str, section: Mapping[str, Any], night: NightlyRun, **paths: str
) -> Any:
    """Return the options of a section, with the night's name filled in."""
    try:
        return parse(kind, [], {**_filled(section, night.name), **paths}, name=verb)
    except UserError as error:
        raise UserError(f"section {verb}: {error}") from None


def _filled(value: Any, night: str) -> Any:
    """Return a value with the night in place of `{night}`, in texts, lists and mappings of texts."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, night)
    if isinstance(value, list):
        return [_filled(entry, night) for entry in value]
    if isinstance(value, Mapping):
        return {key: _filled(entry, night) for key, entry in value.items()}
    return value
