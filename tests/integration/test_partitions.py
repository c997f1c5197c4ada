"""Partitions are computed whole or not at all, wherever a worker dies."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from emrl_ray.crystals.counts import RowCounts
from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.distributed.partition_runner import PartitionReport, run_partitions_on_ray
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import resolve
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import plan_rows, read_partition


class Piece(NamedTuple):
    """A partition of `rows` rows."""

    name: str
    rows: int


ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


class Worker:
    """Commits `rows` rows and a reject a piece; dies at the pieces named, while a marker is there."""

    def __init__(self, output: PartitionedOutput, deadly: dict[str, str]) -> None:
        self.output, self.deadly = output, deadly

    def __call__(self, partition: Piece) -> RowCounts:
        marker = Path(self.deadly.get(partition.name, "/nowhere"))
        if marker.exists():
            marker.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        rows = pa.table({"id": [f"{partition.name}-{row}" for row in range(partition.rows)]})
        reject = Reject(f"{partition.name}-bad", "", Stage.READ, RejectReason.EMPTY)
        return self.output.commit(partition.name, rows, [reject], partition.rows + 1)


class Poisoned(Worker):
    """Dies at piece p1 every time."""

    def __call__(self, partition: Piece) -> RowCounts:
        if partition.name == "p1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(partition)


class Faulty(Worker):
    """Raises at every piece."""

    def __call__(self, partition: Piece) -> RowCounts:
        raise KeyError("no such thing")


@pytest.fixture
def output(tmp_path):
    return PartitionedOutput(str(tmp_path / "rows"), str(tmp_path / "rejects"))


PIECES = [Piece(f"p{index}", 3) for index in range(4)]
WHOLE = RowCounts(16, 12, Counter({"empty": 4}))


def test_a_plan_covers_every_row_once_and_in_order(tmp_path):
    for name, rows in (("b", 25), ("a", 10)):
        pq.write_table(
            pa.table({"x": [f"{name}{row}" for row in range(rows)]}),
            tmp_path / f"{name}.parquet",
            row_group_size=10,
        )
    plan = plan_rows(str(tmp_path), 4)
    assert [partition.name for partition in plan] == [f"slice-{index:06d}" for index in range(11)]
    values = [
        value for partition in plan for value in read_partition(partition).column("x").to_pylist()
    ]
    assert values == read_table(str(tmp_path)).column("x").to_pylist()
    starts = [partition.first_row for partition in plan]
    assert starts == [0, 4, 8, 10, 14, 18, 20, 24, 28, 30, 34]


def test_slices_of_large_crystals_are_smaller(tmp_path):
    atoms = [2] * 20 + [50] * 10 + [1]
    numbers = pa.array([[8] * count for count in atoms], pa.list_(pa.uint8()))
    pq.write_table(pa.table({"atomic_numbers": numbers}), tmp_path / "t.parquet", row_group_size=10)
    plan = plan_rows(str(tmp_path), 8, max_atoms=100)
    assert [partition.stop - partition.start for partition in plan] == [
        8,
        2,
        8,
        2,
        2,
        2,
        2,
        2,
        2,
        1,
    ]
    assert [partition.first_row for partition in plan] == [0, 8, 10, 18, 20, 22, 24, 26, 28, 30]


def test_a_commit_leaves_counts_and_no_leftovers(output):
    counts = Worker(output, {})(PIECES[0])
    assert counts.balanced
    assert output.completed() == {"p0": counts}
    leftover = resolve(output.rows) / ".p1.parquet.0123abcd"
    Path(leftover.path).write_bytes(b"half")
    assert output.completed() == {"p0": counts}
    output.remove_temporaries()
    assert not leftover.exists()


def test_only_missing_slices_are_computed_and_a_killed_worker_is_replaced(
    ray_session, output, tmp_path
):
    Worker(output, {})(PIECES[1])
    marker = tmp_path / "deadly"
    marker.touch()
    reports: list[PartitionReport] = []
    lines: list[tuple[int, int]] = []
    counts = run_partitions_on_ray(
        PIECES,
        output,
        Worker,
        (output, {"p2": str(marker)}),
        workers=1,
        progress=lambda done, planned, _: lines.append((done, planned)),
        observe=reports.append,
    )
    assert counts == WHOLE
    assert not marker.exists()
    assert sorted(report.name for report in reports) == ["p0", "p2", "p3"]
    assert all(report.peak_memory > 10_000_000 and report.seconds > 0 for report in reports)
    assert lines == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert read_table(output.rows).num_rows == 12
    assert read_table(output.rejects).num_rows == 4
    assert (
        run_partitions_on_ray(PIECES, output, Poisoned, (output, {})) == WHOLE
    )  # nothing left to compute


def test_a_slice_that_kills_every_worker_is_named_after_all_others_are_done(ray_session, output):
    with pytest.raises(RuntimeError, match=r"^p1: a worker died 4 times on it"):
        run_partitions_on_ray(PIECES, output, Poisoned, (output, {}), workers=1)
    assert sorted(output.completed()) == ["p0", "p2", "p3"]


def test_an_exception_in_a_worker_ends_the_job_with_its_traceback(ray_session, output):
    with pytest.raises(RuntimeError, match=r"p0 failed(.|\n)*KeyError: 'no such thing'"):
        run_partitions_on_ray(PIECES[:1], output, Faulty, (output, {}), workers=1)
    assert output.completed() == {}


class Unbuildable(Worker):
    """Cannot be made."""

    def __init__(self, *_: object) -> None:
        raise OSError("the store is\naway")


class Careless(Worker):
    """Forgets a row."""

    def __call__(self, partition: Piece) -> RowCounts:
        return self.output.commit(partition.name, pa.table({"id": ["one"]}), [], 2)


def test_a_store_that_fails_while_a_worker_is_made_is_told_in_one_line(ray_session, output):
    with pytest.raises(OSError, match=r"^p0: the store is away; what is done stays"):
        run_partitions_on_ray(PIECES[:1], output, Unbuildable, (output, {}), workers=1)


def test_a_row_that_is_not_accounted_for_is_an_error(ray_session, output):
    with pytest.raises(
        RuntimeError, match=r"^rows were lost: 2 rows in = 1 rows out \+ 0 rejects$"
    ):
        run_partitions_on_ray(PIECES[:1], output, Careless, (output, {}), workers=1)
