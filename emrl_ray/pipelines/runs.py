"""What a long job keeps of itself in its output folder, so that it can go on after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import Location, read_json, write_json

PLACEMENT = {
    *("address", "workers", "cpus_per_worker", "gpu", "threads"),
    *("max_failures", "checkpoint_every", "overwrite"),
}
"""Options that say where a job runs, not what it computes: they may change between calls."""
INPUTS = "inputs"
"""Key of the record for the fingerprints of what the job reads."""


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
