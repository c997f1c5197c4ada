"""Where the partitions of a long job go: a file each, which is the record that the partition is done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.counts import RowCounts
from emrl_ray.crystals.schema import Reject, rejects_table
from emrl_ray.io.atomic import temporaries
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import Location, list_files, remove, resolve

COUNTS_KEY = b"emrl_ray.counts"


class Named(Protocol):
    """What a partition needs to have: a name of its own, fit for a file."""

    @property
    def name(self) -> str:
        """Name of the partition's output, without ending."""


P = TypeVar("P", bound=Named)


class PartitionedOutput(NamedTuple):
    """Where the partitions of a job leave their rows and their rejects (URIs of folders)."""

    rows: str
    rejects: str

    def commit(
        self, name: str, rows: pa.Table, rejects: Sequence[Reject], rows_in: int
    ) -> RowCounts:
        """Write a partition: rejects first, rows last (the mark that the partition is done)."""
        counts = RowCounts(
            rows_in, rows.num_rows, Counter(str(reject.reason) for reject in rejects)
        )
        if rejects:
            write_parquet(rejects_table(rejects), resolve(self.rejects) / f"{name}.parquet")
        metadata = dict(rows.schema.metadata or {})
        metadata[COUNTS_KEY] = json.dumps(counts._asdict()).encode()
        write_parquet(
            rows.replace_schema_metadata(metadata), resolve(self.rows) / f"{name}.parquet"
        )
        return counts

    def completed(self) -> dict[str, RowCounts]:
        """Return the counts of the partitions that are there already."""
        folder = resolve(self.rows)
        files = list_files(folder, ".parquet")
        counts = map_concurrently(_read_counts, files, folder.filesystem)
        return {
            file.name.removesuffix(".parquet"): count
            for file, count in zip(files, counts, strict=True)
        }

    def pending(self, partitions: Sequence[P]) -> tuple[list[P], RowCounts]:
        """Return the partitions that are not there yet, and the counts of the others together."""
        done = self.completed()
        total = RowCounts.total(
            done[partition.name] for partition in partitions if partition.name in done
        )
        return [partition for partition in partitions if partition.name not in done], total

    def remove_temporaries(self) -> None:
        """Delete temporary files of rows and rejects that killed workers left.

        Those of the lock and of the record, which may be in the same folder, stay: their writer lives.
        """
        for folder in (resolve(self.rejects), resolve(self.rows)):
            for file in temporaries(folder, ".parquet"):
                remove(file)


def _read_counts(file: Location) -> RowCounts:
    metadata = pq.read_schema(file.path, filesystem=file.filesystem).metadata
    return RowCounts.of(json.loads(metadata[COUNTS_KEY]))
