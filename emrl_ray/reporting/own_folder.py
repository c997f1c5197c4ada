"""Folders of results: a verb replaces what it wrote itself, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import Location, names_in


def made_by(what: str) -> dict[bytes, bytes]:
    """Return the metadata of a table that marks its folder as that of a `what`, such as a map."""
    return {b"emrl-ray": what.encode()}


def check_own_folder(folder: Location, names: Sequence[str], what: str) -> None:
    """Raise ConfigError, in one line, if a `what` written there would replace what none wrote.

    `names` are the files that would be written; the first is the table that bears the mark.
    """
    if folder.is_file():
        raise ConfigError(f"--out {folder.path}: is a file; give a folder")
    taken = sorted(names_in(folder) & set(names))
    if taken and not _is_marked(folder / names[0], what):
        raise ConfigError(
            f"{folder.path} holds a {taken[0]} that no {what} wrote: use another --out"
        )


def _is_marked(table: Location, what: str) -> bool:
    try:
        schema = pq.read_schema(table.path, filesystem=table.filesystem)
    except (OSError, pa.ArrowInvalid):
        return False
    return made_by(what).items() <= (schema.metadata or {}).items()
