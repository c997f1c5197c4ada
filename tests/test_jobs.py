"""Jobs on a real Ray head: `ray job submit` runs them, and their status tells how they ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from fake_cluster import answering, free_ports, stop

from emrl_ray import cli
from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import read_table
from jobs import nightly
from tests.tiny_model import make_model, random_crystals, write_library

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
MOST_BYTES = 2_000_000
"""That a job uploads; Ray takes a hundred times as much."""


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


def submitted(head: str, script: str, configs: list[Path]) -> list[Job]:
    """Submit a job a config with the command line tool, side by side, and wait for all."""
    from ray.job_submission import JobSubmissionClient

    clients = [
        subprocess.Popen(
            [
                *(BIN / "ray", "job", "submit", "--address", head, "--working-dir", "."),
                *("--submission-id", config.stem, "--", "python", script, "--config", config),
            ],
            cwd=ROOT,
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for config in configs
    ]
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
def steps(monkeypatch):
    """Record what the nightly job calls, in place of calling it; an outcome may be set."""
    record = SimpleNamespace(calls=[], outcomes={})

    def call(verb, options):
        record.calls.append((verb, options))
        return SimpleNamespace(passed=record.outcomes.get(verb, True))

    monkeypatch.setattr(nightly, "call", call)
    return record


def test_the_nightly_configuration_that_we_ship_runs_ingest_then_screen(steps):
    outcome = nightly.nightly(str(ROOT / "jobs" / "nightly.yaml"), "2026-01-31")
    assert outcome.passed
    (first, ingest), (second, screen) = steps.calls
    assert (first, second) == ("ingest", "screen")
    assert ingest.sources == ["s3://my-bucket/incoming/2026-01-31"]
    assert screen.crystals == ingest.out == "s3://my-bucket/nightly/2026-01-31/crystals"


def test_a_night_whose_ingest_does_not_pass_is_not_screened(steps):
    steps.outcomes["ingest"] = False
    outcome = nightly.nightly(str(ROOT / "jobs" / "nightly.yaml"), "2026-01-31")
    assert not outcome.passed
    assert [verb for verb, _ in steps.calls] == ["ingest"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ingest": {"sources": "a", "out": "b"}}, "must have the sections ingest and screen"),
        (
            {
                "ingest": {"sources": "a", "out": "b"},
                "screen": {"model": "m", "crystals": "b", "out": "c", "topp": 3},
            },
            "topp: no option of screen; did you mean top?",
        ),
    ],
)
def test_a_wrong_nightly_configuration_stops_before_any_work(tmp_path, steps, content, message):
    file = write_config(tmp_path / "nightly.yaml", **content)
    with pytest.raises(ConfigError) as error:
        nightly.nightly(str(file), "tonight")
    assert message in str(error.value)
    assert steps.calls == []


@pytest.mark.parametrize("verb", ["ingest", "featurize", "train", "tune", "screen"])
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
