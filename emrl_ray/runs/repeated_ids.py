"""Ids that are used twice in a table: what no slice can see is settled when all are there."""

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
    pieces: Sequence[N], output: PartitionedOutput, source_of: Callable[[N, str], str]
) -> pa.ChunkedArray:
    """Reject crystals whose id an earlier one has, in the order of the slices; return all ids.

    `source_of` tells where the crystal of an id in a slice came from.

    A slice that has any is committed anew: rejects, then rows. Killed between the two, the next
    call finds the same rows and comes to the same rejects.
    """
    folder = resolve(output.rows)
    files = [folder / f"{piece.name}.parquet" for piece in pieces]
    columns = list(map_concurrently(_read_ids, files, folder.filesystem))
    flags = duplicated(columns)
    counts = output.done() if any(flag.any() for flag in flags) else {}
    for piece, file, flag in zip(pieces, files, flags, strict=True):
        if flag.any():
            rows = pq.read_table(file.path, filesystem=file.filesystem)
            rejects = _with_repeated(
                rows.column("id").filter(pa.array(flag)),
                resolve(output.rejects) / file.name,
                partial(source_of, piece),
            )
            rows_in = counts[piece.name].rows_in
            output.commit(piece.name, rows.filter(pa.array(~flag)), rejects, rows_in)
    return pa.chunked_array(columns, pa.string())


def _read_ids(file: Location) -> pa.Array:
    column = pq.read_table(file.path, filesystem=file.filesystem, columns=["id"]).column("id")
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())


def _with_repeated(
    ids: pa.ChunkedArray, file: Location, source_of: Callable[[str], str]
) -> list[Reject]:
    """Return the rejects of a slice, those in its file and those of its repeated ids."""
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
