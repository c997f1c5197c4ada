"""A process that is SIGKILLed between writing and its last move leaves nothing that counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import list_files, resolve
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.screening.delta_sink import DeltaSink
from tests.support.preload import preloaded

SLICES, ROWS = 3, 100
LIMIT = 120
"""Seconds that a process may take."""


def killed_before(moves_to: str, call: str, arguments: list[Any], folder: Path) -> None:
    """Run a function of this module in a process that dies before it moves a file there."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; from {__name__} import *; {call}(*sys.argv[1:])"]
        + [str(argument) for argument in arguments],
        env={
            **os.environ,
            **preloaded("deadly_moves", folder),
            "DEADLY_TO": moves_to,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def commit_slice(folder: str) -> None:
    """Commit rows and a reject of a partition."""
    reject = Reject("bad", "", Stage.READ, RejectReason.EMPTY)
    _output(folder).commit("slice-0", pa.table({"id": ["a", "b"]}), [reject], 3)


def _output(folder: str | Path) -> PartitionedOutput:
    return PartitionedOutput(f"{folder}/rows", f"{folder}/rejects")


@pytest.mark.parametrize(("moves_to", "moved"), [("rejects/slice-0", 0), ("rows/slice-0", 1)])
def test_a_slice_that_was_written_and_not_moved_is_not_there(tmp_path, moves_to, moved):
    output = _output(tmp_path)
    killed_before(moves_to, "commit_slice", [tmp_path], tmp_path)
    folder = tmp_path / moves_to.split("/")[0]
    (aside,) = (file for file in folder.iterdir() if file.name.startswith(".slice-0"))
    assert aside.stat().st_size > 0
    assert len(list_files(resolve(output.rejects))) == moved
    assert output.completed() == {}

    commit_slice(str(tmp_path))
    output.remove_temporaries()
    assert not aside.exists()
    assert output.completed()["slice-0"].balanced
    assert read_table(output.rows).column("id").to_pylist() == ["a", "b"]
    assert read_table(output.rejects).num_rows == 1


def commit_run(table: str, predictions: str) -> None:
    """Commit prediction files to a Delta table."""
    assert _run(table).commit(list_files(resolve(predictions)), False)


def _run(table: str | Path) -> DeltaSink:
    return DeltaSink(str(table), "monday", "a1" * 32, ["band_gap"])


def test_rows_that_were_written_and_not_committed_are_in_the_table_once(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    predictions, table = tmp_path / "predictions", tmp_path / "table"
    ids = [f"c{number:03d}" for number in range(SLICES * ROWS)]
    for number in range(SLICES):
        part = ids[number * ROWS : (number + 1) * ROWS]
        columns = {"id": part, "prediction": [1.0] * ROWS}
        write_parquet(pa.table(columns), resolve(predictions) / f"slice-{number}.parquet")
    killed_before("/_delta_log/", "commit_run", [table, predictions], tmp_path)
    written = list(table.rglob("*.parquet"))
    assert sum(read_table(str(file)).num_rows for file in written) == len(ids)
    assert not list((table / "_delta_log").glob("*.json"))

    _run(table).check(read_table(str(predictions)).schema, False)
    commit_run(str(table), str(predictions))
    assert not _run(table).commit(list_files(resolve(predictions)), False)
    found = deltalake.DeltaTable(str(table))
    assert found.version() == 0
    assert sorted(found.to_pyarrow_table().column("id").to_pylist()) == ids
    assert not {*written} & {table / file for file in found.file_uris()}
