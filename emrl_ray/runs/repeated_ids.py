"""Ids that are used twice in a table: what no partition can see is settled when all are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.matching.duplicate_ids import duplicated
from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.paths import Location, resolve
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput

N = TypeVar("N", bound=Named)


def reject_duplicate_ids(
    partitions: Sequence[N], output: PartitionedOutput, source_of: Callable[[N, str], str]
) -> pa.ChunkedArray:
    """Reject crystals whose id an earlier one has, in the order of the partitions; return all ids.

    `source_of` tells where the crystal of an id in a partition came from.

    A partition that has any is committed anew: rejects, then rows. Killed between the two, the next
    call finds the same rows and comes to the same rejects.
    """
    folder = resolve(output.rows)
    files = [folder / f"{partition.name}.parquet" for partition in partitions]
    columns = list(map_concurrently(_read_ids, files, folder.filesystem))
    flags = duplicated(columns)
    counts = output.completed() if any(flag.any() for flag in flags) else {}
    for partition, file, flag in zip(partitions, files, flags, strict=True):
        if flag.any():
            rows = pq.read_table(file.path, filesystem=file.filesystem)
            rejects = _with_repeated(
                rows.column("id").filter(pa.array(flag)),
                resolve(output.rejects) / file.name,
                partial(source_of, partition),
            )
            rows_in = counts[partition.name].rows_in
            output.commit(partition.name, rows.filter(pa.array(~flag)), rejects, rows_in)
    return pa.chunked_array(columns, pa.string())


def _read_ids(file: Location) -> pa.Array:
    column = pq.read_table(file.path, filesystem=file.filesystem, columns=["id"]).column("id")
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())


def _with_repeated(
    ids: pa.ChunkedArray, file: Location, source_of: Callable[[str], str]
) -> list[Reject]:
    """Return the rejects of a partition, those in its file and those of its repeated ids."""
    now = [
        Reject(
            row_id,
            source_of(row_id),
            Stage.VALIDATE,
            RejectReason.DUPLICATE_ID,
            "an earlier crystal has this id",
        )
        for row_id in ids.to_pylist()
    ]
    if not file.exists():
        return now
    earlier = pq.read_table(file.path, filesystem=file.filesystem).to_pylist()
    again = {(reject.id, str(reject.reason)) for reject in now}
    kept = [Reject(**row) for row in earlier if (row["id"], row["reason"]) not in again]
    return kept + now
