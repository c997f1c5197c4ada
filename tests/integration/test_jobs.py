"""Jobs on a real Ray head: `ray job submit` runs them, and their status tells how they ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ray.job_submission import JobSubmissionClient

from benchmarks.scaling.fake_cluster import own_head
from emrl_ray import cli
from emrl_ray.commands.nightly.command import nightly
from emrl_ray.config import NightlyConfig
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from tests.support.models import make_model, random_crystals, write_library
from tests.support.paths import ROOT
from tests.support.processes import PAUSE, contents, slices_of

BIN = Path(sys.executable).parent
MAX_BYTES = 2_000_000
"""That a job uploads; Ray takes a hundred times as much."""
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled"}
ROWS, SLICE_ROWS = 600, 2
"""Of a night that is stopped."""


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """Start a head of our own, apart from any other Ray on the machine; yield its address."""
    with own_head(3) as address:
        yield address


class Job(NamedTuple):
    """A job that was submitted and has ended."""

    exit_code: int
    output: str
    driver_exit_code: int | None


def submission(head: str, script: str, config: Path) -> subprocess.Popen[str]:
    """Submit a job with the command line tool, which waits for its end; its id is the config's name."""
    return subprocess.Popen(
        [
            *(BIN / "ray", "job", "submit", "--address", head, "--working-dir", "."),
            *("--submission-id", config.stem, "--", "python", script, "--config", config),
        ],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def submitted(head: str, script: str, configs: list[Path]) -> list[Job]:
    """Submit a job a config with the command line tool, side by side, and wait for all."""
    clients = [submission(head, script, config) for config in configs]
    outputs = [client.communicate(timeout=400)[0] for client in clients]
    api = JobSubmissionClient(head)
    return [
        Job(client.returncode, output, api.get_job_info(config.stem).driver_exit_code)
        for client, output, config in zip(clients, outputs, configs, strict=True)
    ]


def write_config(file: Path, **options: object) -> Path:
    file.write_text(yaml.safe_dump(options))
    return file


@pytest.mark.timeout(600)
def test_a_submitted_screen_succeeds_and_one_without_a_model_fails(head, tmp_path):
    library = write_library(tmp_path / "library", random_crystals(120), [60, 60])
    run = tmp_path / "run"
    common = {"crystals": library, "out": str(run), "maximize": True, "top": 5, "block_rows": 30}
    good = write_config(
        tmp_path / "good.yaml", model=make_model(tmp_path / "model"), workers=1, **common
    )
    bad = write_config(tmp_path / "bad.yaml", model=str(tmp_path / "no-model"), **common)

    success, failure = submitted(head, "jobs/screen.py", [good, bad])

    assert success.exit_code == 0, success.output
    assert success.driver_exit_code == 0
    assert json.loads((run / "manifest.json").read_text())["counts"]["rows_in"] == 120
    assert read_table(str(run / "shortlist.parquet")).num_rows == 5
    assert failure.exit_code == 1, failure.output
    assert failure.driver_exit_code == 2
    assert f"emrl-ray screen: {tmp_path / 'no-model'}" in failure.output


@pytest.fixture
def nights(tmp_path: Path) -> dict[str, Any]:
    """Options of nights that read `incoming`, but for `out` and `night`."""
    (tmp_path / "incoming").mkdir()
    second = {"model": make_model(tmp_path / "two", seed=1), "target_window": "8:18"}
    return {
        "ingest": {"sources": str(tmp_path / "incoming"), "engine": "local"},
        "screen": {"model": make_model(tmp_path / "one"), "target_window": "10:16"}
        | {"objectives": [second], "block_rows": SLICE_ROWS, "top": 10, "workers": 1},
    }


def delivered(tmp_path: Path, name: str, rows: int) -> None:
    """Put a file of crystals where nights look."""
    crystals = random_crystals(rows, seed=rows, prefix=name)
    write_parquet(crystals, resolve(tmp_path / "incoming" / f"{name}.parquet"))


def stopped_half_way(head: str, config: Path, night: Path) -> dict[Path, int]:
    """Submit a night and stop its job; return its partitions, with the times when they were written."""
    client = submission(head, "jobs/nightly.py", config)
    end = time.monotonic() + 300
    while len(slices_of(night / "screen")) < 10:
        assert client.poll() is None, client.communicate()[0]
        assert time.monotonic() < end, "no partitions appeared"
        time.sleep(PAUSE)
    stopping = [BIN / "ray", "job", "stop", "--address", head, config.stem]
    subprocess.run(stopping, env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    said = client.communicate(timeout=120)[0]
    assert JobSubmissionClient(head).get_job_status(config.stem) == "STOPPED", said
    done = {file: file.stat().st_mtime_ns for file in slices_of(night / "screen")}
    read = json.loads((night / "crystals" / "_manifest.json").read_text())["counts"]["rows_out"]
    assert 10 <= len(done) < read / SLICE_ROWS
    assert json.loads((night / "summary.json").read_text())["status"] == "running"
    return done


@pytest.mark.timeout(900)
def test_a_night_that_is_stopped_goes_on_when_it_is_submitted_again(head, nights, tmp_path):
    delivered(tmp_path, "a", ROWS)
    out, night = tmp_path / "out", tmp_path / "out" / "nights" / "n1"
    options = nights | {"out": str(out)}
    done = stopped_half_way(
        head, write_config(tmp_path / "night-n1.yaml", night="n1", **options), night
    )

    again = write_config(tmp_path / "night-n1-again.yaml", night="n1", **options)
    (job,) = submitted(head, "jobs/nightly.py", [again])
    assert (job.exit_code, job.driver_exit_code) == (0, 0), job.output
    assert {file: file.stat().st_mtime_ns for file in done} == done
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["status"], summary["counts"]["rows_in"]) == ("screened", ROWS)
    found = read_table(str(night / "screen" / "predictions")).column("id").to_pylist()
    for rejects in ("crystals/_rejects", "screen/rejects"):
        found += read_table(str(night / rejects)).column("id").to_pylist()
    wanted = read_table(str(tmp_path / "incoming")).column("id").to_pylist()
    assert sorted(found) == sorted(wanted)
    assert read_table(str(out / "best" / "n1" / "shortlist.parquet")).num_rows == 10

    quiet = NightlyConfig(**(options | {"night": "n2"}))
    assert nightly(quiet).summary["status"] == "nothing new"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_submitted_nights_leave_what_undisturbed_ones_do(head, nights, ray_session, tmp_path):
    """Three with new files, the first of them stopped and submitted again, and one without."""
    jobs, calls = tmp_path / "jobs", tmp_path / "calls"
    for night, rows in {"n1": ROWS, "n2": 40, "n3": 30, "n4": 0}.items():
        if rows:
            delivered(tmp_path, f"of-{night}", rows)
        options = nights | {"night": night}
        done: dict[Path, int] = {}
        if night == "n1":
            first = write_config(tmp_path / "three-n1.yaml", out=str(jobs), **options)
            done = stopped_half_way(head, first, jobs / "nights" / night)
        config = write_config(tmp_path / f"three-{night}-again.yaml", out=str(jobs), **options)
        (job,) = submitted(head, "jobs/nightly.py", [config])
        assert (job.exit_code, job.driver_exit_code) == (0, 0), job.output
        assert {file: file.stat().st_mtime_ns for file in done} == done
        status = nightly(NightlyConfig(out=str(calls), **options)).summary["status"]
        assert status == ("screened" if rows else "nothing new")
        assert_same_night(jobs, calls, night)


def assert_same_night(one: Path, other: Path, night: str) -> None:
    """Check that a night of two folders has the same files, byte by byte, and says the same."""
    summaries = [json.loads((out / "summary.json").read_text()) for out in (one, other)]
    assert [summary["night"] for summary in summaries] == [night, night]
    for part in ("status", "files", "counts", "objectives"):
        assert summaries[0].get(part) == summaries[1].get(part), part
    if summaries[0]["status"] == "nothing new":
        assert not (one / "best" / night).exists()
        return
    bests = [dict(summary["best"]) for summary in summaries]
    assert [Path(best.pop("folder")) for best in bests] == [
        out / "best" / night for out in (one, other)
    ]
    assert bests[0] == bests[1]
    roots = [out / "nights" / night for out in (one, other)]
    for part in (files_in, rejects_in):
        assert part(roots[0]) == part(roots[1])
    shortlists = [contents(out / "best" / night) for out in (one, other)]
    assert {"shortlist.csv", "shortlist.parquet"} <= shortlists[0].keys()
    for name in ("shortlist.csv", "shortlist.parquet"):
        assert shortlists[0][name] == shortlists[1][name]


def files_in(night: Path) -> dict[str, bytes]:
    """Return the tables of a night, but for the rejects of its screen: what else is there has dates."""
    rejects = night / "screen" / "rejects"
    files = [file for file in night.rglob("*.parquet") if file.parent != rejects]
    assert {night / "crystals", night / "screen" / "predictions"} <= {file.parent for file in files}
    return {str(file.relative_to(night)): file.read_bytes() for file in files}


def rejects_in(night: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rejects of a night's screen by file; they name the file that a crystal came from."""
    return {
        file.name: [
            {name: str(value).replace(str(night), "") for name, value in row.items()}
            for row in read_table(str(file)).to_pylist()
        ]
        for file in sorted((night / "screen" / "rejects").glob("*.parquet"))
    }


@pytest.mark.parametrize("verb", ["ingest", "featurize", "train", "tune", "screen", "nightly"])
def test_a_job_is_its_verb(verb):
    assert verb in cli.VERBS
    result = subprocess.run(
        [sys.executable, ROOT / "jobs" / f"{verb}.py", "--no-such-option"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == f"emrl-ray {verb}: --no-such-option: no such option; see --help\n"


def test_what_a_job_brings_along_is_small_and_all_that_it_needs(tmp_path):
    """Ray's own packing of the working directory: the package with its data, the entry points, no more."""
    from ray._private.runtime_env.packaging import create_package

    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True, logger=logging.getLogger("packing"))

    packed = {name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert not {"tests", "docs", "benchmarks", "deploy"} & {name.split("/")[0] for name in packed}
    for folder in ("emrl_ray", "jobs"):
        files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
        assert {
            str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts
        } <= packed
    assert package.stat().st_size < MAX_BYTES
