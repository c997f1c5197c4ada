"""Whether an output may be written to where it was asked for: found out before any work."""

from __future__ import annotations

import os
import pathlib

from pyarrow import fs

from emrl_ray.config import UserError
from emrl_ray.config.errors import one_line
from emrl_ray.io.atomic import temporary_beside
from emrl_ray.io.paths import Location

PROBE = "probe"
"""What the name of a file that is written to try is made of."""


def check_output_file(location: Location, out: str) -> None:
    """Raise UserError, in one line, if no file can be written there; `out` is the user's word for it."""
    folder = Location(location.filesystem, location.path.rpartition("/")[0] or "/")
    _check_store(folder, out)
    if location.info.type == fs.FileType.Directory:
        raise UserError(f"--out {out}: is a folder, give a file")
    _check_local(folder, out)


def check_output_folder(location: Location, out: str, option: str = "out") -> None:
    """Raise UserError, in one line, if there can be no folder with files; as `check_output_file`.

    `option` is the one that names the place.
    """
    _check_store(location, out, option)
    if location.is_file():
        raise UserError(f"--{option} {out}: is a file, give a folder")
    _check_local(location, out, option)


def _check_store(folder: Location, out: str, option: str = "out") -> None:
    """Write a file and delete it: what an object store allows is not known before it is tried."""
    if isinstance(folder.filesystem, fs.LocalFileSystem):
        return
    probe = temporary_beside(folder / PROBE)
    try:
        with probe.filesystem.open_output_stream(probe.path):
            pass
        probe.filesystem.delete_file(probe.path)
    except OSError as error:
        why = one_line(error)
        raise UserError(f"--{option} {out}: nothing can be written there ({why})") from None


def _check_local(folder: Location, out: str, option: str = "out") -> None:
    if not isinstance(folder.filesystem, fs.LocalFileSystem):
        return
    nearest = pathlib.Path(folder.path)
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"--{option} {out}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--{option} {out}: nothing may be written to {nearest}")
