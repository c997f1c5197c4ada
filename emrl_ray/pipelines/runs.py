"""What a long job keeps of itself in its output folder, so that it can go on after a kill."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from typing import Any

from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import Location, names_in, read_json, remove, write_json

RECORD = "_run.json"
"""The job's arguments, in its output folder: they tell whose the rest is."""
WRITTEN = (
    *("_*", "slice-*.parquet", "rejects.parquet"),  # tables
    *("card.json", "head_*", "network.safetensors", "elements.csv"),  # models
    *("calibration.json", "reference.parquet", "learning_curve.json"),
)
"""Names of what ingest, library, featurize and train write."""

PLACEMENT = {
    *("address", "workers", "cpus_per_worker", "gpu", "threads"),
    *("max_failures", "checkpoint_every", "overwrite"),
}
"""Options that say where a job runs, not what it computes: they may change between calls."""
INPUTS = "inputs"
"""Key of the record for the fingerprints of what the job reads."""


def open_folder(
    folder: Location,
    arguments: Mapping[str, Any],
    overwrite: bool,
    inputs: Mapping[str, str] | None = None,
) -> bool:
    """Return whether the job in `folder` goes on; else the folder is made this job's own.

    With `overwrite` what an earlier job left is deleted, and nothing else. Raises ConfigError, in one
    line, if the folder holds another job, or files that are no job's. `inputs` as in
    `resume_or_start`.
    """
    refuse_foreign(folder)
    if overwrite:
        clear(folder)
    return resume_or_start(folder / RECORD, arguments, inputs)


def refuse_foreign(folder: Location, besides: Collection[str] = ()) -> None:
    """Raise ConfigError, in one line, if `folder` holds files (`besides` some) but no record."""
    names = names_in(folder)
    if names - set(besides) and RECORD not in names:
        raise ConfigError(
            f"{folder.path} holds files but no {RECORD} that tells whose they are: "
            "use another --out"
        )


def clear(folder: Location, besides: Collection[str] = ()) -> None:
    """Delete what a job left in `folder`, the record last: it guards the rest."""
    for name in sorted(names_in(folder) - {RECORD, *besides}):
        if any(fnmatch(name, pattern) for pattern in WRITTEN):
            remove(folder / name)
    remove(folder / RECORD)


def resume_or_start(
    record: Location, arguments: Mapping[str, Any], inputs: Mapping[str, str] | None = None
) -> bool:
    """Return whether the job that left `record` goes on; a new one leaves its arguments there.

    `inputs` are fingerprints of what the job reads, by the name of the option that tells where.
    Raises ConfigError, in one line, if the output holds a job with other arguments or inputs.
    """
    meant = {name: value for name, value in arguments.items() if name not in PLACEMENT}
    if inputs is not None:
        meant[INPUTS] = dict(inputs)
    if not record.exists():
        write_json(meant, record)
        return False
    differing = _differences(read_json(record), meant)
    if differing:
        raise ConfigError(
            f"{record.path.rsplit('/', 1)[0]} holds a run with other arguments "
            f"({'; '.join(differing)}): use --overwrite or another --out"
        )
    return True


def _differences(earlier: dict[str, Any], meant: dict[str, Any]) -> list[str]:
    names = sorted((earlier.keys() | meant.keys()) - {INPUTS})
    before, now = earlier.get(INPUTS, {}), meant.get(INPUTS, {})
    return [
        f"--{name.replace('_', '-')} was {earlier.get(name)!r}, is {meant.get(name)!r}"
        for name in names
        if earlier.get(name) != meant.get(name)
    ] + [
        f"what --{name} names is not what it was"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
