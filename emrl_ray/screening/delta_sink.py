"""Predictions of many runs in one Delta table: those of a run are in it all, and once, or not at all.

The table is partitioned by the run. One commit adds the rows of a run, or puts them in place of those
that an earlier version of it left, and says in the same breath which run they are from (an
application transaction of the Delta protocol), so that a call which was killed after its commit finds
that out. deltalake does it; it is optional (extra `delta`) and imported where it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import UserError
from emrl_ray.config.errors import StorageError, one_line
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.paths import Location, absolute_uri, names_in, resolve
from emrl_ray.io.preflight import check_output_folder
from emrl_ray.io.runtime import need_extra
from emrl_ray.screening.objectives import suffix
from emrl_ray.screening.screener import RUN_ID, own_columns

if TYPE_CHECKING:
    from deltalake import DeltaTable

MEANING = ("target", "unit")
"""Metadata of a column that say what its numbers are."""
LEFT_BEHIND = ("_delta_log", f"{RUN_ID}=")
"""How the names begin of what a first commit that was killed may leave."""
BATCH_ROWS = 1 << 16
ATTEMPTS = 5
"""Tries at a commit that meets those of other runs."""
COLOR, BACKTRACE = r"\x1b\[[0-9;]*m", r"\n +0: "
"""In the text of deltalake's errors: an escape of terminals, and how the lines of functions begin."""


class DeltaSink(NamedTuple):
    """A Delta table, and the run whose rows it gets."""

    uri: str
    """Path or URI of the table."""
    run_id: str
    """What the table calls the run."""
    fingerprint: str
    """Tells the run from others that have or had its name."""
    targets: Sequence[str]
    """What the models predict, one or more."""

    def check(self, predictions: pa.Schema, replace: bool) -> None:
        """Raise UserError, in one line, if the table cannot get rows with the columns of `predictions`.

        `replace` allows rows of another run with this name, which they will take the place of. Raises
        OSError, in one line, for a table that cannot be read, and ImportError, with what to install,
        without deltalake.
        """
        need_extra("deltalake", extra="delta")
        with _told(self.uri):
            self._check(predictions, replace)

    def _check(self, predictions: pa.Schema, replace: bool) -> None:
        location = resolve(self.uri)
        check_output_folder(location, self.uri, "table")
        table = self._opened()
        if table is None:
            if not all(name.startswith(LEFT_BEHIND) for name in names_in(location)):
                raise UserError(f"--table {self.uri}: holds files, and is no Delta table")
            return
        if table.metadata().partition_columns != [RUN_ID]:
            raise UserError(f"--table {self.uri}: is no table of runs, with partitions by {RUN_ID}")
        if (why := self._clash(table, predictions)) is not None:
            raise UserError(f"--table {self.uri}: {why}; use another --table")
        if self._is_taken(table) and not self._is_there(table) and not replace:
            raise UserError(
                f"--table {self.uri}: has rows of another run called {self.run_id}: use another "
                "--run-id, or --overwrite to put these in their place"
            )

    def commit(self, files: Sequence[Location], replace: bool) -> bool:
        """Add the rows of prediction files in one commit; return whether they were not there already.

        With `replace` they are written in any case. They take the place of rows of the same name. Raises
        OSError, in one line, if the table cannot be read or written to.
        """
        with _told(self.uri):
            return self._commit(files, replace)

    def _commit(self, files: Sequence[Location], replace: bool) -> bool:
        from deltalake.exceptions import CommitFailedError

        for attempt in range(1, ATTEMPTS + 1):
            table = self._opened()
            if table is not None and self._is_there(table) and not replace:
                return False
            try:
                self._write(table, files)
            except CommitFailedError:  # another run's commit came first
                if attempt == ATTEMPTS:
                    raise
            else:
                break
        return True

    def _write(self, table: DeltaTable | None, files: Sequence[Location]) -> None:
        from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

        schema = self._described(_schema_of(files))
        uri, options = store_address(self.uri)
        how: dict[str, Any] = {"mode": "append"}
        if table is not None and self._is_taken(table):
            how = {"mode": "overwrite", "predicate": f"{RUN_ID} = '{self.run_id}'"}
        write_deltalake(
            uri if table is None else table,
            pa.RecordBatchReader.from_batches(schema, _batches(files, schema, self.run_id)),
            **how,
            partition_by=[RUN_ID],
            schema_mode=None if table is None else "merge",
            storage_options=options,
            writer_properties=WriterProperties(
                compression="ZSTD",
                max_row_group_size=BATCH_ROWS,  # what is held in memory
            ),
            commit_properties=CommitProperties(
                app_transactions=[Transaction(self._application, self._version)]
            ),
        )

    def _opened(self) -> DeltaTable | None:
        """Return the table as it is now; None if there is none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        uri, options = store_address(self.uri)
        try:
            return DeltaTable(uri, storage_options=options)
        except TableNotFoundError:
            return None

    def _clash(self, table: DeltaTable, predictions: pa.Schema) -> str | None:
        """Return why rows with these columns do not go with those that are there; None if they do."""
        from deltalake import Schema

        there = {field.name: field for field in table.schema().fields}
        new = {
            field.name: field for field in Schema.from_arrow(self._described(predictions)).fields
        }
        for name in there.keys() & new.keys():
            if there[name].type != new[name].type:
                return f"its column {name} is {_kind(there[name])}, that of this run {_kind(new[name])}"
            for key in MEANING:
                before, now = there[name].metadata.get(key), new[name].metadata.get(key)
                if before != now:
                    return f"the {key} of its column {name} is {before}, that of this run's {now}"
        differing = {*own_columns(pa.schema(dict.fromkeys(there, pa.null())))} ^ {
            *own_columns(pa.schema(dict.fromkeys(new, pa.null())))
        }
        if differing:
            return (
                f"its runs and this one do not both have the columns {', '.join(sorted(differing))}"
            )
        return None

    def _described(self, predictions: pa.Schema) -> pa.Schema:
        """Return the columns of the table for those of predictions: the targets in their metadata."""
        fields = {field.name: field for field in predictions if field.name != RUN_ID}
        for number, target in enumerate(self.targets):
            name = f"prediction{suffix(number)}"
            metadata = {**(fields[name].metadata or {}), b"target": target.encode()}
            fields[name] = fields[name].with_metadata(metadata)
        return pa.schema([*fields.values(), pa.field(RUN_ID, pa.string())])

    @property
    def _application(self) -> str:
        """What transactions of this run are called."""
        return f"emrl-ray screen {self.run_id}"

    @property
    def _version(self) -> int:
        """The fingerprint as a number that Delta can keep."""
        return int(self.fingerprint[:15], 16)

    def _is_taken(self, table: DeltaTable) -> bool:
        """Return whether the table has rows of a run with this name."""
        return any(partition[RUN_ID] == self.run_id for partition in table.partitions())

    def _is_there(self, table: DeltaTable) -> bool:
        """Return whether the latest rows of this name are those of this very run."""
        return table.transaction_version(self._application) == self._version


def _schema_of(files: Sequence[Location]) -> pa.Schema:
    """Return the columns of prediction files, which may have different further ones."""

    def read(file: Location) -> pa.Schema:
        return pq.read_schema(file.path, filesystem=file.filesystem).remove_metadata()

    schemas = list(map_concurrently(read, files, files[0].filesystem))
    return pa.unify_schemas(schemas, promote_options="permissive")


def _batches(files: Sequence[Location], schema: pa.Schema, run_id: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of prediction files as batches of the table, nulls where a file lacks a column."""
    for file in files:
        with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, use_threads=False):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                columns[RUN_ID] = pa.repeat(run_id, batch.num_rows)
                arrays = [
                    columns[field.name].cast(field.type)
                    if field.name in columns
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def store_address(uri: str) -> tuple[str, dict[str, str]]:
    """Return what deltalake calls a place, and the options of its store.

    Those are what a URI of pyarrow says besides the place: keys, region, scheme and endpoint_override.
    The rest comes from the environment; a server without TLS is one that was named on purpose.
    """
    if "://" not in uri:
        return absolute_uri(uri), {}
    parts = urlsplit(uri)
    asked = dict(parse_qsl(parts.query))
    options = {"AWS_REGION": asked.get("region"), "AWS_ACCESS_KEY_ID": parts.username}
    options["AWS_SECRET_ACCESS_KEY"] = parts.password
    endpoint = asked.get("endpoint_override")
    if endpoint is not None and "://" not in endpoint:
        endpoint = f"{asked.get('scheme', 'https')}://{endpoint}"
    options["AWS_ENDPOINT_URL"] = endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL")
    options["AWS_ALLOW_HTTP"] = "true" if (endpoint or "").startswith("http://") else None
    location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return location, {name: value for name, value in options.items() if value is not None}


def _kind(field: Any) -> str:
    """Return the name of a Delta field's type, such as double."""
    return getattr(field.type, "type", None) or str(field.type)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Context: what goes wrong with the table there is an OSError of one line.

    deltalake's errors have colours, and a backtrace of its own, which says nothing here.
    """
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        text = re.split(BACKTRACE, re.sub(COLOR, "", str(error)), maxsplit=1)[0]
        raise StorageError(f"--table {uri}: {one_line(text)}") from error
