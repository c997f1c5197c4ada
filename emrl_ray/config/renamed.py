"""Names of commands and options that have changed.

An old name is answered with "renamed to ...". Records, cards and manifests that were written with old names are
read with the new ones, so that runs resume and models and reports stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMANDS = {"library": "generate"}
"""Commands, old name to new."""
OPTIONS = {
    "files_per_slice": "files_per_partition",
    "least_seen": "min_occurrences",
    "not_known": "exclude_known",
    "supply": "supply_risk",
}
"""Options, old name to new, as fields of the configurations."""


def current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored options by the names that they have now."""
    return {OPTIONS.get(name, name): value for name, value in options.items()}


def first_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by the names that they had first, so that a hash of them does not change."""
    old = {new: name for name, new in OPTIONS.items()}
    return {old.get(name, name): value for name, value in options.items()}


def first_command(command: str) -> str:
    """Return the name that a command had first."""
    return next((old for old, new in COMMANDS.items() if new == command), command)
