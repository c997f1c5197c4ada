"""What the verbs read and write may lie in an object store: here a real S3 server on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product

import pytest

from emrl_ray import cli
from emrl_ray.commands.embed import embed
from emrl_ray.commands.evaluate import evaluate
from emrl_ray.commands.ingest import ingest
from emrl_ray.commands.neighbors import neighbors
from emrl_ray.commands.predict import predict
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import train
from emrl_ray.config import (
    EmbedConfig,
    EvaluateConfig,
    IngestConfig,
    NeighborsConfig,
    PredictConfig,
    ScreenConfig,
    TrainConfig,
    UserError,
)
from emrl_ray.io.atomic import temporaries
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import remove, resolve
from emrl_ray.io.preflight import check_output_folder
from emrl_ray.runs.partitions import plan_rows, read_partition
from emrl_ray.runs.run_directory import RunDirectory
from tests.support.crystal_files import cif
from tests.support.heartbeats import sweep_beside_a_beat
from tests.support.models import random_crystals
from tests.support.paths import ROOT
from tests.support.processes import ScreenCall
from tests.support.servers.s3 import Bucket, permitted

IONS = ("Li", "Na", "K", "Rb", "Cs"), ("F", "Cl", "Br", "I"), (4.0, 4.4, 4.8)
pytestmark = pytest.mark.timeout(600)
ROWS, SLICES = 240, 48
"""Of the library that is screened."""


@pytest.fixture(scope="module")
def crystals(bucket, ray_session) -> str:
    """A table of 60 CIFs, one of which is broken, with targets."""
    lines = ["id,edge"]
    for number, (cation, anion, edge) in enumerate(product(*IONS)):
        sites = [f"A {cation} 0 0 0 1", f"B {anion} 0.5 0.5 0.5 1"]
        text = cif(sites, cell=(edge, edge, edge, 90, 90, 90)) if number else "not a CIF"
        bucket.put(f"known/c{number:02d}.cif", text.encode())
        lines.append(f"c{number:02d},{edge}")
    bucket.put("known/id_prop.csv", "\n".join(lines).encode())
    out = bucket.uri("crystals")
    targets = bucket.uri("known/id_prop.csv")
    config = IngestConfig(sources=[bucket.uri("known")], targets=targets, out=out, workers=1)
    assert tuple(ingest(config).counts[:2]) == (60, 59)
    return out


@pytest.fixture(scope="module")
def model(bucket, crystals) -> str:
    config = TrainConfig(
        crystals=crystals,
        target="edge",
        out=bucket.uri("model"),
        cutoff=5.0,
        epochs=4,
        checkpoint_every=2,
        width=8,
        heads=["linear", "boosted"],
        test=0.2,
        calibration=0.2,
    )
    return train(config).model


@pytest.fixture(scope="module")
def library(bucket) -> str:
    write_parquet(random_crystals(ROWS, 3, "lib"), resolve(bucket.uri("library/part-0.parquet")))
    return bucket.uri("library")


@pytest.fixture(scope="module")
def config(bucket, model, library) -> ScreenConfig:
    """A screen of the library."""
    return ScreenConfig(
        model=model,
        crystals=library,
        out=bucket.uri("run"),
        maximize=True,
        top=10,
        block_rows=ROWS // SLICES,
        min_distance=0.0,
        workers=2,
    )


@pytest.fixture(scope="module")
def run(config) -> str:
    counts = screen(config).manifest["counts"]
    assert counts["rows_in"] == ROWS == counts["predicted"] + sum(counts["rejects"].values())
    return config.out


def test_ingest_leaves_a_table_with_its_rejects_and_nothing_else(bucket, crystals):
    assert bucket.keys("crystals/") == [
        "crystals/_manifest.json",
        "crystals/_rejects/slice-000000.parquet",
        "crystals/_run.json",
        "crystals/slice-000000.parquet",
    ]
    assert read_table(crystals).column("edge").to_pylist()[-1] == 4.8


def test_train_leaves_a_model_and_removes_its_checkpoints(bucket, model):
    names = {key.removeprefix("model/") for key in bucket.keys("model/")}
    assert {"card.json", "network.safetensors", "head_linear.safetensors"} <= names
    assert not any(name.startswith("_training") for name in names)
    assert json.loads(bucket.get("model/card.json"))["rows"]["test"] == 12


def test_a_screen_whose_driver_is_killed_half_way_goes_on_to_the_same_bytes(bucket, config, run):
    options = vars(config) | {"out": bucket.uri("killed"), "workers": 1}
    call = ScreenCall(options)
    call.until_reached(lambda: len(bucket.keys("killed/predictions/slice")) >= 5)
    call.kill()
    survivors = bucket.keys("killed/predictions/slice")
    assert 5 <= len(survivors) < SLICES
    assert "killed/manifest.json" not in bucket.keys("killed/")

    resumed = screen(ScreenConfig(**options | {"workers": 2}))

    assert resumed.manifest["counts"]["slices_resumed"] == len(survivors)
    for part in ("predictions/", "shortlist"):
        assert bucket.contents(f"killed/{part}") == bucket.contents(f"run/{part}") != {}
    assert temporaries(resolve(bucket.uri("killed/predictions"))) == []


def test_a_finished_run_is_known(config, run, capsys):
    screen(config)
    assert "is finished, nothing to do" in capsys.readouterr().out


def test_the_verbs_without_ray_read_and_write_there_too(bucket, crystals, model):
    predict(PredictConfig(model=model, source=bucket.uri("known"), out=bucket.uri("new/p.csv")))
    assert bucket.get("new/p.csv").count(b"\n") == 60
    assert bucket.get("new/p.csv.rejects.csv").count(b"\n") == 2
    embed(EmbedConfig(model=model, source=crystals, out=bucket.uri("new/e.parquet")))
    assert read_table(bucket.uri("new/e.parquet")).num_rows == 59
    neighbors(NeighborsConfig(model=model, source=crystals, out=bucket.uri("new/n.json")))
    assert len(json.loads(bucket.get("new/n.json"))) > 59
    evaluate(EvaluateConfig(model=model, crystals=crystals, out=bucket.uri("checked")))
    assert "checked/metrics.json" in bucket.keys("checked/")


def refused(capsys, *words: str) -> str:
    """Return the line by which a call of the command line is refused."""
    assert cli.main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def read_only(object_store) -> Iterator[Bucket]:
    """A bucket that nobody may write to."""
    bucket = Bucket("read-only")
    forbidden = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::read-only/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [forbidden]}
    bucket.s3.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    yield bucket
    assert bucket.keys() == []


OUTS = ("s3://no-such-bucket/run", "s3://read-only/run")


@pytest.mark.parametrize("out", OUTS)
def test_a_bucket_that_cannot_be_written_to_is_told_before_any_work(
    out, crystals, model, library, read_only, capsys
):
    calls = {
        "screen": ("screen", model, library, "--maximize", "--out", out),
        "train": ("train", crystals, "--target", "edge", "--out", out),
        "ingest": ("ingest", crystals, "--out", out),
        "predict": ("predict", model, crystals, "--out", f"{out}/p.csv"),
        "evaluate": ("evaluate", model, crystals, "--out", out),
    }
    for verb, words in calls.items():
        line = refused(capsys, *words)
        assert line.startswith(f"emrl-ray {verb}: --out ")
        assert "nothing can be written there (When " in line
        assert re.search("NO_SUCH_BUCKET|ACCESS_DENIED", line)


def test_a_library_in_a_bucket_that_is_not_there_is_told_before_any_work(bucket, model, capsys):
    words = ("screen", model, "s3://no-such-bucket/library", "--maximize")
    line = refused(capsys, *words, "--out", bucket.uri("never"))
    assert line.endswith(
        "s3://no-such-bucket/library: no such Parquet file, nor a folder that holds any"
    )
    assert bucket.keys("never/") == []


@pytest.mark.parametrize("option", ["out", "model"])
def test_an_endpoint_is_no_part_of_a_folders_name(option, bucket, model, library, capsys):
    options = {"model": model, "out": bucket.uri("never")}
    options[option] += "?endpoint_override=http://127.0.0.1:1"
    words = (options["model"], library, "--maximize", "--out", options["out"])
    line = refused(capsys, "screen", *words)
    assert line.startswith(f"emrl-ray screen: --{option} {options[option]}: takes no ?OPTIONS")
    assert bucket.keys("never/") == []


def test_slices_of_a_table_keep_what_its_address_tells(bucket, library):
    region = f"{library}?region=us-east-1"
    names = {partition.file for partition in plan_rows(region, 100)}
    assert names == {bucket.uri("library/part-0.parquet?region=us-east-1")}
    assert sum(read_partition(partition).num_rows for partition in plan_rows(region, 100)) == ROWS


def test_options_may_stand_in_the_bucket(bucket, model, library, capsys):
    bucket.put("screen.yaml", b"maximize: true\ntopp: 3\n")
    words = ("--config", bucket.uri("screen.yaml"), "--out", bucket.uri("never"))
    assert "topp: no option of screen" in refused(capsys, "screen", model, library, *words)
    missing = refused(capsys, "screen", "--config", bucket.uri("missing.yaml"))
    assert missing.startswith(f"emrl-ray screen: --config {bucket.uri('missing.yaml')}: ")


def test_overwriting_deletes_what_a_verb_wrote_and_nothing_else(bucket):
    for key in ("run.json", "predictions/slice-000000.parquet", "manifest.json", "notes.txt"):
        bucket.put(f"mine/{key}", b'{"verb": "screen", "inputs": {}}')
    job = RunDirectory("screen", resolve(bucket.uri("mine")), {"top": 5}, {}, "run.json")
    with pytest.raises(UserError, match="other arguments"):
        job.claim(overwrite=False)
    job.claim(overwrite=True)
    assert bucket.keys("mine/") == ["mine/notes.txt", "mine/run.json"]
    assert json.loads(bucket.get("mine/run.json"))["top"] == 5


def test_the_rights_of_a_node_are_all_that_storage_needs(object_store):
    """`deploy/aws/node.json` lets a node write, move in place, list, read and delete, in its bucket alone."""
    policy = ROOT / "deploy" / "aws" / "node.json"
    own, other = Bucket("own"), Bucket("other")
    crystals = random_crystals(5)
    with permitted(policy, own.name):
        folder = resolve(own.uri("table"))
        check_output_folder(folder, own.uri("table"))
        write_parquet(crystals, folder / "part-0.parquet")
        assert read_table(own.uri("table")).equals(crystals)
        remove(folder)
        assert not (folder / "part-0.parquet").exists()
        with pytest.raises(UserError, match="ACCESS_DENIED"):
            check_output_folder(resolve(other.uri("table")), other.uri("table"))
    assert other.keys() == []


def test_a_heartbeat_survives_a_thousand_sweeps_beside_it(bucket, monkeypatch):
    sweep_beside_a_beat(bucket.uri("swept"), monkeypatch)
    assert bucket.keys("swept/") == []
