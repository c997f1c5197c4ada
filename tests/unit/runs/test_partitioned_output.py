"""A sweep deletes temporary files of partitions, and leaves those of a living writer alone."""

from __future__ import annotations

from emrl_ray.io.atomic import temporary_beside, write_bytes
from emrl_ray.io.paths import names_in, remove, resolve
from emrl_ray.runs.lock import LOCK
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.run_directory import RECORD
from tests.support.heartbeats import sweep_beside_a_beat


def test_a_sweep_deletes_temporaries_of_rows_and_rejects_alone(tmp_path):
    output = PartitionedOutput(str(tmp_path), str(tmp_path / "_rejects"))
    for name in ("slice-000000.parquet", "_rejects/slice-000000.parquet", LOCK, RECORD):
        write_bytes(b"half", temporary_beside(resolve(tmp_path / name)))
    kept = {name for name in names_in(resolve(tmp_path)) if "json" in name}
    assert len(kept) == 2
    output.remove_temporaries()
    assert names_in(resolve(tmp_path)) == {"_rejects", *kept}
    assert names_in(resolve(tmp_path / "_rejects")) == set()


def test_a_file_that_vanishes_between_look_and_delete_counts_as_deleted(tmp_path, monkeypatch):
    file = tmp_path / "gone.parquet"
    file.write_bytes(b"x")
    place = resolve(file)
    found = type(place).info.fget(place)
    file.unlink()
    monkeypatch.setattr(type(place), "info", property(lambda self: found))
    remove(place)
    assert not file.exists()


def test_a_heartbeat_survives_a_thousand_sweeps_beside_it(tmp_path, monkeypatch):
    sweep_beside_a_beat(str(tmp_path / "out"), monkeypatch)
