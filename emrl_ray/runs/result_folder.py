"""Folders of results: a verb replaces what it wrote itself, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import UserError
from emrl_ray.config.errors import MissingFileError
from emrl_ray.io.paths import Location, names_in, resolve
from emrl_ray.io.preflight import check_output_folder


def made_by(what: str) -> dict[bytes, bytes]:
    """Return the metadata of a table that marks its folder as that of a `what`, such as a map."""
    return {b"emrl-ray": what.encode()}


def check_own_folder(folder: Location, out: str, table: str, what: str) -> None:
    """Raise UserError, in one line, unless a folder is new, empty, or that of an earlier `what`.

    `table` is the file of a `what` that bears its mark.
    """
    check_output_folder(folder, out)
    taken = sorted(names_in(folder))
    if taken and not _is_marked(folder / table, what):
        raise UserError(f"--out {out}: holds {taken[0]} and is no {what}: use another folder")


def _is_marked(table: Location, what: str) -> bool:
    try:
        schema = pq.read_schema(table.path, filesystem=table.filesystem)
    except (OSError, pa.ArrowInvalid):
        return False
    return made_by(what).items() <= (schema.metadata or {}).items()


def finished_manifest(uri: str) -> Location:
    """Return where the manifest of a screen's folder is; raises MissingFileError, in one line, without one."""
    location = resolve(uri) / "manifest.json"
    if not location.is_file():
        raise MissingFileError(
            f"{uri}: no finished run there ({location.name} is missing); screen writes it at its end"
        )
    return location
