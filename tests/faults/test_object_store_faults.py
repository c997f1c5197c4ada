"""In an object store, too, a killed training goes on, a Delta table has each row once, and nights follow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from emrl_ray.commands.ingest import ingest
from emrl_ray.commands.nightly.command import nightly
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import train
from emrl_ray.config import IngestConfig, NightlyConfig, ScreenConfig, TrainConfig
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import read_json, remove, resolve
from emrl_ray.screening.delta_sink import store_address
from tests.support.crystal_files import cif
from tests.support.models import TARGET, make_model, random_crystals
from tests.support.processes import Call, TrainCall
from tests.support.servers.s3 import Bucket

deltalake = pytest.importorskip("deltalake")
pytestmark = pytest.mark.timeout(900)

FILES = 60
NIGHTS = ["2026-01-31", "2026-02-01"]


class IngestCall(Call):
    """A call of `emrl-ray ingest` in a process of its own."""

    verb = "ingest"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def address(ray_session: None) -> str:
    """Where another driver finds the session's Ray."""
    import ray

    return ray.get_runtime_context().gcs_address


def rows(uri: str) -> list[tuple[str, str]]:
    """Return run and id of all rows of a Delta table, ordered."""
    place, options = store_address(uri)
    table = deltalake.DeltaTable(place, storage_options=options)
    columns = table.to_pyarrow_table(columns=["run_id", "id"]).columns
    return sorted(zip(*(column.to_pylist() for column in columns), strict=True))


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(bucket, address, capsys):
    write_parquet(random_crystals(60), resolve(bucket.uri("known/part-0.parquet")))
    options: dict[str, Any] = {
        "crystals": bucket.uri("known"),
        "target": TARGET,
        "out": bucket.uri("model"),
        "cutoff": 4.0,
        "width": 8,
        "epochs": 40,
        "checkpoint_every": 4,
        "min_distance": 0.0,
        "workers": 1,
    }
    call = TrainCall({**options, "heads": "linear", "address": address})
    record = "model/_training/network/checkpoint_manager_snapshot.json"
    call.until_reached(lambda: record in bucket.keys("model/_training/network/"))
    call.kill()
    assert "model/card.json" not in bucket.keys("model/")

    train(TrainConfig(**options, heads=["linear"]))

    assert "goes on after epoch" in capsys.readouterr().out
    names = bucket.keys("model/")
    assert "model/card.json" in names
    assert not any(name.startswith("model/_training") for name in names)


@pytest.mark.slow
def test_a_killed_reading_goes_on_with_the_slices_that_are_missing(bucket, address, capsys):
    ids = [f"c{number:02d}" for number in range(FILES)]
    for row_id in ids:
        text = cif(["A Cs 0 0 0 1", "B Cl 0.5 0.5 0.5 1"], cell=(4.1, 4.1, 4.1, 90, 90, 90))
        bucket.put(f"files/{row_id}.cif", text.encode())
    options = {"out": bucket.uri("crystals"), "files_per_partition": 1, "workers": 1}
    call = IngestCall({"sources": bucket.uri("files"), **options, "address": address})
    call.until_reached(lambda: len(bucket.keys("crystals/slice-")) >= 3)
    call.kill()
    survivors = bucket.contents("crystals/slice-")
    assert 3 <= len(survivors) < FILES
    assert "crystals/_manifest.json" not in bucket.keys("crystals/")

    counts = ingest(IngestConfig(sources=[bucket.uri("files")], **options)).counts

    assert (counts.rows_in, counts.rows_out) == (FILES, FILES)
    said = capsys.readouterr().out
    (done,) = re.findall(rf"{FILES} partitions, (\d+) of them done by an earlier call", said)
    assert len(survivors) <= int(done) < FILES  # a worker may end a partition after its driver
    assert survivors.items() <= bucket.contents("crystals/slice-").items()
    assert read_table(options["out"]).column("id").to_pylist() == ids


def test_a_run_is_in_a_delta_table_once(bucket, ray_session, model, capsys):
    write_parquet(random_crystals(60, 2), resolve(bucket.uri("library/part-0.parquet")))
    table = bucket.uri("runs.delta")
    config = ScreenConfig(
        model=model,
        crystals=bucket.uri("library"),
        out=bucket.uri("run"),
        maximize=True,
        block_rows=20,
        format="delta",
        table=table,
        workers=1,
    )
    screen(config)
    assert f"screen: added to {table}, run_id run" in capsys.readouterr().out
    predicted = read_table(bucket.uri("run/predictions")).column("id").to_pylist()
    assert rows(table) == sorted(("run", row_id) for row_id in predicted)

    remove(resolve(bucket.uri("run/manifest.json")))  # as if it was killed after its commit
    screen(config)
    assert f"screen: there already in {table}" in capsys.readouterr().out
    assert rows(table) == sorted(("run", row_id) for row_id in predicted)


def test_nights_follow_each_other(bucket: Bucket, ray_session, model, tmp_path: Path):
    out, predicted = bucket.uri("nights"), []
    for number, night in enumerate(NIGHTS):
        crystals = random_crystals(30, number, f"n{number}-")
        write_parquet(crystals, resolve(bucket.uri(f"incoming/{number}.parquet")))
        config = NightlyConfig(
            out=out,
            night=night,
            ingest={"sources": bucket.uri("incoming"), "workers": 1},
            screen={"model": model, "maximize": True, "top": 5, "format": "delta", "workers": 1},
        )
        assert nightly(config).passed
        summary = read_json(resolve(bucket.uri(f"nights/nights/{night}/summary.json")))
        assert summary == read_json(resolve(bucket.uri("nights/summary.json")))
        assert (summary["status"], summary["files"]["new"]) == ("screened", 1)
        assert summary["counts"]["rows_in"] == 30
        found = read_table(f"{out}/nights/{night}/screen/predictions").column("id").to_pylist()
        assert all(row_id.startswith(f"n{number}-") for row_id in found)
        predicted += [(night, row_id) for row_id in found]
    assert rows(f"{out}/predictions.delta") == sorted(predicted)
    best = read_table(f"{out}/best/{NIGHTS[1]}/shortlist.parquet")
    assert best.num_rows == 5
    assert set(best.column("night").to_pylist()) <= set(NIGHTS)
