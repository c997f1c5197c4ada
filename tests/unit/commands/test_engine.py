"""Which engine a command runs on, and which options the local one refuses."""

from __future__ import annotations

import pytest

from emrl_ray.commands.engine import MAX_LOCAL_ROWS, choose_engine
from emrl_ray.config import (
    FeaturizeConfig,
    GenerateConfig,
    IngestConfig,
    ScreenConfig,
    TrainConfig,
    UserError,
)
from emrl_ray.distributed.cluster import JOB_VARIABLES

COMMANDS = {
    "ingest": (IngestConfig, {"sources": ["s"], "out": "o"}),
    "featurize": (FeaturizeConfig, {"crystals": "c", "out": "o"}),
    "generate": (GenerateConfig, {"out": "o"}),
    "train": (TrainConfig, {"crystals": "c", "target": "y", "out": "o"}),
    "screen": (ScreenConfig, {"model": "m", "crystals": "c", "out": "o", "maximize": True}),
}


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def options(command: str, **changes):
    kind, needed = COMMANDS[command]
    return kind(**needed, **changes)


@pytest.mark.parametrize("command", COMMANDS)
def test_small_work_on_one_worker_stays_in_this_process(command, capsys):
    for changes in ({}, {"workers": 1}, {"cpus_per_worker": 2}):
        assert choose_engine(command, options(command, **changes), MAX_LOCAL_ROWS) == "local"
    line = f"{command}: engine local (5,000 rows; --engine ray starts Ray)"
    assert capsys.readouterr().out.splitlines() == [line] * 3


@pytest.mark.parametrize(
    ("changes", "size", "reason"),
    [
        ({}, MAX_LOCAL_ROWS + 1, "5,001 files, more than 5,000"),
        ({"workers": 2}, 3, "--workers 2"),
        ({"address": "auto"}, 3, "--address auto"),
        ({"gpu": True}, 3, "--gpu"),
        ({"workers": 2, "min_workers": 1}, 3, "--min-workers 1"),
    ],
)
def test_more_goes_to_ray_and_the_line_says_why(changes, size, reason, capsys):
    command = "train" if {"gpu", "min_workers"} & changes.keys() else "screen"
    assert choose_engine(command, options(command, **changes), size, "files") == "ray"
    assert capsys.readouterr().out == f"{command}: engine ray ({reason})\n"


@pytest.mark.parametrize("variable", JOB_VARIABLES)
def test_a_submitted_job_works_on_its_cluster(variable, monkeypatch, capsys):
    monkeypatch.setenv(variable, "x")
    assert choose_engine("screen", options("screen"), 3) == "ray"
    assert "(submitted job)" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_an_engine_that_is_named_is_taken_without_a_word(engine, capsys):
    assert choose_engine("screen", options("screen", engine=engine), 10**9) == engine
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("command", "changes", "named"),
    [
        ("ingest", {"workers": 2}, "--workers 2"),
        ("screen", {"address": "auto"}, "--address auto"),
        ("train", {"gpu": True}, "--gpu"),
        ("train", {"workers": 2}, "--workers 2"),
        ("train", {"min_workers": 1}, "--min-workers 1"),
    ],
)
def test_the_local_engine_refuses_what_needs_more_than_a_process(command, changes, named):
    message = f"--engine local: runs in one process without a GPU; leave out {named}"
    with pytest.raises(UserError, match=f"^{message}$"):
        options(command, engine="local", **changes)
