"""Jobs on a real Ray head: `ray job submit` runs them, and their status tells how they ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from fake_cluster import answering, free_ports, stop
from ray.job_submission import JobSubmissionClient

from emrl_ray import cli
from emrl_ray.config import NightlyConfig
from emrl_ray.crystals.storage import locate, read_table, write_parquet
from emrl_ray.pipelines.nightly import nightly
from tests.calls import slices_of
from tests.tiny_model import make_model, random_crystals, write_library

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
MOST_BYTES = 2_000_000
"""That a job uploads; Ray takes a hundred times as much."""
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled"}
ROWS = 600
"""Of a night that is stopped."""


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """Start a head of our own, apart from any other Ray on the machine; yield its address."""
    port, dashboard, agent, client = free_ports(4)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    environment.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(BIN / "ray", "start", "--head", "--block", "--num-cpus=3", f"--port={port}"),
                *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
                *(f"--ray-client-server-port={client}", "--min-worker-port=0"),
                *("--max-worker-port=0", "--object-store-memory=200000000"),
                *("--disable-usage-stats", f"--temp-dir={folder}"),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield answering(f"http://127.0.0.1:{dashboard}", process, timeout=60)
        finally:
            stop(process)


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


@pytest.mark.timeout(900)
def test_a_night_that_is_stopped_goes_on_when_it_is_submitted_again(head, tmp_path):
    write_parquet(random_crystals(ROWS), locate(tmp_path / "incoming" / "a.parquet"))
    out, night = tmp_path / "out", tmp_path / "out" / "nights" / "n1"
    second = {"model": make_model(tmp_path / "two", seed=1), "target_window": "8:18"}
    options = {
        "out": str(out),
        "ingest": {"sources": str(tmp_path / "incoming"), "workers": 1},
        "screen": {"model": make_model(tmp_path / "one"), "target_window": "10:16"}
        | {"objectives": [second], "block_rows": 5, "top": 10, "workers": 1},
    }
    stopped = write_config(tmp_path / "night-n1.yaml", night="n1", **options)

    client = submission(head, "jobs/nightly.py", stopped)
    end = time.monotonic() + 300
    while len(slices_of(night / "screen")) < 10:
        assert client.poll() is None, client.communicate()[0]
        assert time.monotonic() < end, "no slices appeared"
        time.sleep(0.02)
    stopping = [BIN / "ray", "job", "stop", "--address", head, stopped.stem]
    subprocess.run(stopping, env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    said = client.communicate(timeout=120)[0]
    assert JobSubmissionClient(head).get_job_status(stopped.stem) == "STOPPED", said
    done = {file: file.stat().st_mtime_ns for file in slices_of(night / "screen")}
    assert (
        10
        <= len(done)
        < json.loads((night / "crystals" / "_manifest.json").read_text())["counts"]["rows_out"] / 5
    )
    assert json.loads((night / "summary.json").read_text())["status"] == "running"

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
    assert package.stat().st_size < MOST_BYTES
