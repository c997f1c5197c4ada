"""What a verb leaves on one machine: a table in the format that its ending names, rejects beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from emrl_ray.config import UserError
from emrl_ray.crystals.schema import REJECT_SCHEMA, Reject, rejects_table
from emrl_ray.io.atomic import csv_writer, write_csv, write_json
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import Location, remove, resolve
from emrl_ray.io.preflight import check_output_file

ENDINGS = (".parquet", ".csv", ".json")


def check_output_file_name(out: str, endings: Sequence[str] = ENDINGS) -> None:
    """Raise UserError, in one line, if a file cannot be written, for its ending or its place."""
    if not out.lower().endswith(tuple(endings)):
        raise UserError(f"--out {out}: must end in {', '.join(endings)}")
    check_output_file(resolve(out), out)


def write_table(table: pa.Table, out: str) -> None:
    """Write a table as its ending, in small or capital letters, says: .parquet, .csv or .json (rows)."""
    file, ending = resolve(out), out.lower().rpartition(".")[2]
    if ending == "parquet":
        write_parquet(table, file)
    elif ending == "csv":
        write_csv(table, file)
    else:
        write_json([plain(row) for row in table.to_pylist()], file)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with null for the numbers that JSON cannot write."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def rejects_beside(out: str) -> str:
    """Return the file for the rejects of a table: `p.csv.rejects.csv` beside `p.csv`.

    The ending stays, so that `p.json` beside it has rejects of its own.
    """
    return f"{out}.rejects.csv"


def write_rejects(rejects: pa.Table, file: Location) -> None:
    """Write rejects as CSV; without any, the file of an earlier call is removed."""
    if rejects.num_rows:
        write_csv(rejects, file)
    else:
        remove(file)


class RejectsStream:
    """Rejects on their way to a file."""

    def __init__(self, file: Location, stack: ExitStack) -> None:
        self.reasons: Counter[str] = Counter()
        self._file, self._stack = file, stack
        self._writer: Any = None

    def write(self, rejects: Iterable[Reject]) -> None:
        """Append rejects; the file is begun with the first."""
        table = rejects_table(rejects)
        if table.num_rows == 0:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(csv_writer(self._file, REJECT_SCHEMA))
        self._writer.write_table(table)
        self.reasons.update(table.column("reason").to_pylist())


@contextmanager
def rejects_stream(file: Location) -> Iterator[RejectsStream]:
    """Context: a CSV file of rejects, written bit by bit and in place at the end.

    Without any, the file of an earlier call is removed.
    """
    with ExitStack() as stack:
        stream = RejectsStream(file, stack)
        yield stream
    if not stream.reasons:
        remove(file)
