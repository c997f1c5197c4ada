"""Jobs on a real Ray head: `ray job submit` runs them, and their status tells how they ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest
import yaml

from emrl_ray import cli
from emrl_ray.config import ConfigError
from emrl_ray.crystals.storage import read_table
from jobs import nightly
from tests.tiny_model import make_model, random_crystals, write_library

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


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
            yield answering(f"http://127.0.0.1:{dashboard}", process)
        finally:
            stop(process)


def answering(address: str, process: subprocess.Popen[bytes]) -> str:
    """Wait until the jobs API answers, and return its address."""
    from ray.job_submission import JobSubmissionClient

    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the head did not start"
        try:
            JobSubmissionClient(address).list_jobs()
        except (ConnectionError, RuntimeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return address


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the head and what it started, and nothing else."""
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for each in started:  # those that made a group of their own
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(timeout=15)


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
