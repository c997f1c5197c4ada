"""Files of Materials Project ids."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from emrl_ray.config import UserError
from emrl_ray.config.errors import MissingFileError
from emrl_ray.io.paths import Location, resolve
from emrl_ray.sources.files.formats.csv import check_header

NAMES = ("material_id", "mp_id", "mpid", "id")
"""Names of the column of ids in a file whose first row is a header, in this order."""
ID = r"(mp|mvc)-[0-9a-z]+"


def read_ids(uri: str, column: str | None = None) -> list[str]:
    """Return the ids in a file, one a line or a CSV with a column of them, in order, repeats included.

    The first row is a header if `column` is given or if it has one of `NAMES`; without a header the
    first column is that of the ids. Empty lines and lines that begin with # are none. Raises
    UserError or FileNotFoundError, in one line, for a file that is something else.
    """
    rows = _rows(uri)
    header = [name.strip() for name in rows[0]]
    known = [name for name in NAMES if name in header]
    if column is not None:
        check_header(header, column, "--id-column", uri)
        known = [column]
    index = header.index(known[0]) if known else 0
    ids = [row[index].strip() if len(row) > index else "" for row in rows[1 if known else 0 :]]
    if not any(ids):
        raise UserError(f"--ids {uri}: no ids there")
    return ids


def ids_file(uri: str) -> Location:
    """Return where a file of ids is; raises MissingFileError, in one line, if it is not there."""
    location = resolve(uri)
    if not location.is_file():
        raise MissingFileError(f"--ids {uri}: no such file")
    return location


def is_id(text: str) -> bool:
    """Return whether a text has the form of a Materials Project id."""
    return re.fullmatch(ID, text) is not None


def _rows(uri: str) -> Sequence[list[str]]:
    try:
        text = ids_file(uri).read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if "".join(row).strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--ids {uri}: no list of ids in UTF-8 ({error})") from None
    rows = [row for row in rows if not row[0].lstrip().startswith("#")]
    if not rows:
        raise UserError(f"--ids {uri}: no ids there")
    return rows
