"""Fingerprints notice what a resumed run must not miss."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.io import fingerprints
from emrl_ray.io.fingerprints import folder_fingerprint, table_fingerprint


def write(folder, name, values):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": [str(value) for value in values], "x": values}), folder / name)


def test_a_table_has_another_fingerprint_after_any_change_of_files_or_values(tmp_path):
    table = tmp_path / "table"
    write(table, "a.parquet", [1.0, 2.0])
    first = table_fingerprint(str(table))
    assert table_fingerprint(str(table)) == first
    write(table, "a.parquet", [1.0, 3.0])
    changed = table_fingerprint(str(table))
    write(table, "b.parquet", [4.0])
    longer = table_fingerprint(str(table))
    (table / "b.parquet").rename(table / "c.parquet")
    renamed = table_fingerprint(str(table))
    assert len({first, changed, longer, renamed}) == 4
    (table / "_rejects").mkdir()
    write(table / "_rejects", "a.parquet", [1.0])
    assert table_fingerprint(str(table)) == renamed


def test_a_copy_of_a_table_has_the_same_fingerprint(tmp_path):
    write(tmp_path / "one", "a.parquet", [1.0, 2.0])
    write(tmp_path / "two", "a.parquet", [1.0, 2.0])
    assert table_fingerprint(str(tmp_path / "one")) == table_fingerprint(str(tmp_path / "two"))


def test_a_footer_longer_than_the_first_read_is_covered(tmp_path, monkeypatch):
    write(tmp_path / "t", "a.parquet", [1.0, 2.0])
    whole = table_fingerprint(str(tmp_path / "t"))
    monkeypatch.setattr(fingerprints, "FOOTER_GUESS", 100)
    assert table_fingerprint(str(tmp_path / "t")) == whole


def test_a_folder_has_another_fingerprint_after_any_change_but_of_work_in_progress(tmp_path):
    folder = tmp_path / "model"
    (folder / "heads").mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    (folder / "heads" / "linear").write_bytes(b"1")
    first = folder_fingerprint(str(folder))
    (folder / "_state").mkdir()
    (folder / "_state" / "checkpoint").write_bytes(b"x")
    (folder / ".card.json.12345678").write_text("{")
    assert folder_fingerprint(str(folder)) == first
    (folder / "heads" / "linear").write_bytes(b"2")
    changed = folder_fingerprint(str(folder))
    (folder / "heads" / "linear").rename(folder / "heads" / "neural")
    assert len({first, changed, folder_fingerprint(str(folder))}) == 3


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder, or it is empty"):
        folder_fingerprint(str(tmp_path / "nothing"))
