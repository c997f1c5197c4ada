"""A Delta table of runs has the rows of each run, all and once."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from emrl_ray import cli
from emrl_ray.commands.screen.command import screen
from emrl_ray.config import ScreenConfig, UserError
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import Location, list_files, resolve
from emrl_ray.screening.delta_sink import DeltaSink
from tests.support.models import make_model, random_crystals

deltalake = pytest.importorskip("deltalake")


def predictions(*ids: str, **columns: Any) -> pa.Table:
    """Return the least that a prediction file has."""
    unit = {b"unit": b"eV"}
    fields = [pa.field("id", pa.string()), pa.field("prediction", pa.float64(), metadata=unit)]
    table = pa.table([list(ids), [1.0] * len(ids)], schema=pa.schema(fields))
    for name, values in columns.items():
        table = table.append_column(name, [values])
    return table


def files(folder: Path, *tables: pa.Table) -> list[Location]:
    for number, table in enumerate(tables):
        write_parquet(table, resolve(folder) / f"slice-{number}.parquet")
    return list_files(resolve(folder), ".parquet")


def runs(place: Path, run_id: str, fingerprint: str = "a1") -> DeltaSink:
    return DeltaSink(str(place), run_id, fingerprint * 32, ["band_gap"])


def rows(place: Path | str) -> list[tuple[str, str]]:
    """Return run and id of all rows, ordered."""
    table = deltalake.DeltaTable(str(place)).to_pyarrow_table(columns=["run_id", "id"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def versions(place: Path | str) -> int:
    return deltalake.DeltaTable(str(place)).version()


def test_runs_are_appended_in_a_commit_each_and_only_once(tmp_path):
    table = tmp_path / "table"
    one = files(tmp_path / "one", predictions("a", "b"), predictions("c"))
    two = files(tmp_path / "two", predictions("a"))
    assert runs(table, "one").commit(one, False)
    assert runs(table, "two").commit(two, False)
    assert not runs(table, "one").commit(one, False)
    assert rows(table) == [("one", "a"), ("one", "b"), ("one", "c"), ("two", "a")]
    assert versions(table) == 1


def test_replacing_a_run_leaves_the_others_and_is_one_commit(tmp_path):
    table = tmp_path / "table"
    runs(table, "one").commit(files(tmp_path / "one", predictions("a", "b")), False)
    runs(table, "two").commit(files(tmp_path / "two", predictions("a")), False)
    other = files(tmp_path / "other", predictions("x"))
    assert runs(table, "one", "b2").commit(other, True)
    assert rows(table) == [("one", "x"), ("two", "a")]
    assert versions(table) == 2
    assert not runs(table, "one", "b2").commit(other, False)
    assert runs(table, "one", "a1").commit(files(tmp_path / "one"), False)  # not its rows any more
    assert rows(table) == [("one", "a"), ("one", "b"), ("two", "a")]


def test_further_columns_may_come_and_go(tmp_path):
    table = tmp_path / "table"
    first = files(tmp_path / "one", predictions("a", note=["n"]), predictions("b"))
    runs(table, "one").commit(first, False)
    second = predictions("c", source=["s"])
    runs(table, "two").check(second.schema, False)
    runs(table, "two").commit(files(tmp_path / "two", second), False)
    found = deltalake.DeltaTable(str(table)).to_pyarrow_table().sort_by("id")
    assert found.column("note").to_pylist() == ["n", None, None]
    assert found.column("source").to_pylist() == [None, None, "s"]


@pytest.mark.parametrize(
    ("table", "targets", "message"),
    [
        (
            predictions("a", note=[1.0]),
            ["band_gap"],
            "its column note is string, that of .* double",
        ),
        (
            predictions("a"),
            ["energy"],
            "the target of its column prediction is band_gap, .* energy",
        ),
        (predictions("a", p_in_window=[1.0]), ["band_gap"], "both have the columns p_in_window"),
        (
            predictions("a").cast(
                pa.schema([pa.field("id", pa.string()), pa.field("prediction", pa.float64())])
            ),
            ["band_gap"],
            "the unit of its column prediction is eV, that of this run's None",
        ),
    ],
)
def test_a_table_of_other_columns_is_refused_in_one_line(tmp_path, table, targets, message):
    place = tmp_path / "table"
    runs(place, "one").commit(files(tmp_path / "one", predictions("a", note=["n"])), False)
    with pytest.raises(UserError, match=message) as error:
        DeltaSink(str(place), "two", "a1" * 32, targets).check(table.schema, False)
    assert "\n" not in str(error.value)


def test_what_is_no_table_of_runs_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    deltalake.write_deltalake(str(tmp_path / "plain"), predictions("a"))
    (tmp_path / "file").write_text("")
    for name, message in {
        "full": "holds files, and is no Delta table",
        "plain": "is no table of runs",
        "file": "--table .*/file: is a file, give a folder",
    }.items():
        with pytest.raises(UserError, match=message):
            runs(tmp_path / name, "one").check(predictions("a").schema, False)


def half(log: str) -> str:
    """Return a log as a full disk leaves it."""
    return log[: len(log) // 2]


def of_tomorrow(log: str) -> str:
    """Return a log that asks for a reader that does not exist yet."""
    return re.sub(r'"minReaderVersion":\d+', '"minReaderVersion":99', log)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (half, "Json error: Truncated record whilst reading "),
        (lambda log: "", "No table metadata or protocol found in delta log."),
        (of_tomorrow, "Unsupported minimum reader version 99"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_in_one_line(tmp_path, change, why, capsys):
    table, one = tmp_path / "table", files(tmp_path / "one", predictions("a"))
    runs(table, "one").commit(one, False)
    (log,) = (table / "_delta_log").glob("*.json")
    log.write_text(change(log.read_text()))
    found = runs(table, "two")
    for work in (
        lambda: found.check(predictions("a").schema, False),
        lambda: found.commit(one, False),
    ):
        assert cli.guard("emrl-ray screen", work) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"emrl-ray screen: --table {table}: ")
        assert why in line
        assert "<unknown>" not in line


def test_a_table_that_cannot_be_written_to_is_told_in_one_line(tmp_path, capsys):
    table, one = tmp_path / "table", files(tmp_path / "one", predictions("a"))
    runs(table, "one").commit(one, False)
    (table / "run_id=two").write_text("a file where the folder of the rows would be")
    assert cli.guard("emrl-ray screen", lambda: runs(table, "two").commit(one, False)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"emrl-ray screen: --table {table}: ")
    assert rows(table) == [("one", "a")]


def test_the_name_of_another_run_is_refused_unless_it_is_replaced(tmp_path):
    place, schema = tmp_path / "table", predictions("a").schema
    runs(place, "one").commit(files(tmp_path / "one", predictions("a")), False)
    runs(place, "one").check(schema, False)
    with pytest.raises(UserError, match="has rows of another run called one: use another --run-id"):
        runs(place, "one", "b2").check(schema, False)
    runs(place, "one", "b2").check(schema, True)


def test_runs_that_commit_at_once_are_all_there(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"run-{number}" for number in range(4)]
    parts = {name: files(tmp_path / name, predictions(name)) for name in names}
    with ThreadPoolExecutor(4) as calls:
        added = list(
            calls.map(lambda name: runs(tmp_path / "t", name).commit(parts[name], False), names)
        )
    assert all(added)
    assert rows(tmp_path / "t") == [(name, name) for name in names]


def test_without_deltalake_the_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(ImportError, match=r"pip install 'emrl-ray\[delta\]'$"):
        runs(tmp_path, "one").check(predictions("a").schema, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "t"}, "--table: only with --format delta"),
        ({"run_id": "r"}, "--run-id: only with --format delta"),
        ({"format": "delta", "run_id": "a'b"}, "--run-id a'b: give letters, digits and"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        ScreenConfig(model="m", crystals="c", out="o", maximize=True, **options)


def test_a_format_that_there_is_not_is_refused(capsys):
    words = ["screen", "m", "c", "--out", "o", "--maximize", "--format", "csv"]
    assert cli.main(words) == 2
    assert "--format csv: must be one of ['parquet', 'delta']" in capsys.readouterr().err


def test_a_screen_fills_a_table_exactly_once(tmp_path, capsys):
    model, library = make_model(tmp_path / "model"), tmp_path / "library.parquet"
    write_parquet(random_crystals(60, 2), resolve(library))
    common = {"model": model, "crystals": str(library), "target_window": "10:16", "engine": "local"}
    common |= {"out": str(tmp_path / "run"), "block_rows": 20, "format": "delta"}

    def call(**options: Any) -> str:
        screen(ScreenConfig(**(common | options)))
        return capsys.readouterr().out

    table = tmp_path / "run" / "predictions.delta"
    assert f"screen: added to {table}, run_id run" in call(top=5)
    found = deltalake.DeltaTable(str(table)).to_pyarrow_table()
    written = read_table(str(tmp_path / "run" / "predictions"))
    assert found.column_names == [*written.column_names, "run_id"]
    assert found.drop_columns("run_id").sort_by("id").equals(written.sort_by("id"))

    (tmp_path / "run" / "manifest.json").unlink()  # as if it was killed after its commit
    assert f"there already in {table}" in call(top=5)
    assert f"there already in {table}" in call(top=5)
    assert versions(table) == 0

    assert "added to" in call(top=4, overwrite=True)  # and rows of other runs stay where they are
    assert len(rows(table)) == written.num_rows
    with pytest.raises(UserError, match="has rows of another run called run: use another"):
        call(top=3, out=str(tmp_path / "two" / "run"), table=str(table))
    assert not (tmp_path / "two").exists()
    later = f"{tmp_path}/nights.delta"
    assert f"added to {later}, run_id monday" in call(top=4, table=later, run_id="monday")
    assert pc.unique(
        deltalake.DeltaTable(later).to_pyarrow_table().column("run_id")
    ).to_pylist() == ["monday"]
