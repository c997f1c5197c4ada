"""Partitions are computed in this process as on Ray: whole or not at all, each once."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from emrl_ray.config.errors import StorageError, user_message
from emrl_ray.crystals.counts import RowCounts
from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.runs.local_runner import PartitionReport, complete, run_locally
from emrl_ray.runs.partitioned_output import PartitionedOutput


class Piece(NamedTuple):
    """A partition of three rows, of which the last is rejected."""

    name: str


class Worker:
    """Commits two rows and a reject a piece; it notes when it is entered and left."""

    def __init__(self, output: PartitionedOutput, notes: list[str]) -> None:
        self.output, self.notes = output, notes

    def __enter__(self) -> Worker:
        self.notes.append("entered")
        return self

    def __exit__(self, *_: object) -> None:
        self.notes.append("left")

    def __call__(self, partition: Piece) -> RowCounts:
        self.notes.append(partition.name)
        rows = pa.table({"id": [f"{partition.name}-0", f"{partition.name}-1"]})
        reject = Reject(f"{partition.name}-2", "", Stage.READ, RejectReason.EMPTY)
        return self.output.commit(partition.name, rows, [reject], 3)


class Careless(Worker):
    """Loses a row."""

    def __call__(self, partition: Piece) -> RowCounts:
        return super().__call__(partition)._replace(rows_in=4)


class FullDisk(Worker):
    """Cannot write the second piece."""

    def __call__(self, partition: Piece) -> RowCounts:
        if partition.name == "p1":
            raise OSError(28, "No space left on device")
        return super().__call__(partition)


PIECES = [Piece(f"p{index}") for index in range(3)]
WHOLE = RowCounts(9, 6, Counter({"empty": 3}))


@pytest.fixture
def output(tmp_path: Path) -> PartitionedOutput:
    return PartitionedOutput(str(tmp_path / "rows"), str(tmp_path / "rejects"))


def run(output: PartitionedOutput, worker: type[Worker], notes: list[str], **calls) -> RowCounts:
    return complete(PIECES, output, partial(run_locally, worker, (output, notes)), **calls)


def test_each_partition_is_computed_once_by_one_worker_that_is_left_at_the_end(output):
    notes: list[str] = []
    reports: list[PartitionReport] = []
    seen: list[tuple[int, int, int]] = []
    counts = run(
        output,
        Worker,
        notes,
        progress=lambda done, planned, so_far: seen.append((done, planned, so_far.rows_in)),
        observe=reports.append,
    )
    assert counts == WHOLE
    assert notes == ["entered", "p0", "p1", "p2", "left"]
    assert seen == [(0, 3, 0), (1, 3, 3), (2, 3, 6), (3, 3, 9)]
    assert [report.name for report in reports] == ["p0", "p1", "p2"]
    assert all(report.seconds >= 0 and report.peak_memory > 0 for report in reports)


def test_what_is_committed_is_not_computed_again(output):
    Worker(output, [])(PIECES[1])
    notes: list[str] = []
    assert run(output, Worker, notes) == WHOLE
    assert notes == ["entered", "p0", "p2", "left"]
    assert run(output, Worker, again := []) == WHOLE
    assert again == []


def test_storage_that_fails_is_one_line_and_keeps_what_is_done(output):
    notes: list[str] = []
    said = r"^p1: .*No space left on device; what is done stays"
    with pytest.raises(StorageError, match=said) as raised:
        run(output, FullDisk, notes)
    assert user_message(raised.value) == str(raised.value)
    assert notes == ["entered", "p0", "left"]
    assert output.completed().keys() == {"p0"}


def test_a_row_that_is_not_accounted_for_is_an_error(output):
    with pytest.raises(RuntimeError, match=r"rows were lost: 12 rows in = 6 rows out \+ 3 rejects"):
        run(output, Careless, [])
