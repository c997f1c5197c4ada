"""Tune on a real Ray: a search whose driver is killed, what it leaves, and trials that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from emrl_ray import cli
from emrl_ray.config import ConfigError, TuneConfig
from emrl_ray.crystals.storage import locate
from emrl_ray.model import Model
from emrl_ray.pipelines.tune import tune
from emrl_ray.tuning.records import Records, TrialState
from tests.support.html_page import Page
from tests.support.labeled_crystals import write_crystals
from tests.support.processes import TuneCall

TRIALS = 3
LINKS = ("src", "href", "xlink:href")
EPOCHS = 6


def options(crystals: Path, out: Path, **changes) -> dict:
    return {
        "crystals": str(crystals),
        "target": "heft",
        "out": str(out),
        "search": ["margin"],
        "width": "8,16",
        "cutoff": "3.5,4",
        "trials": TRIALS,
        "epochs": EPOCHS,
        "grace": 3,
        "reduction": 2,
        "validate_every": 3,
        "min_distance": 0.0,
        **changes,
    }


def words(given: dict) -> list[str]:
    return [
        part
        for name, value in given.items()
        for part in (f"--{name}", *(value if isinstance(value, list) else [str(value)]))
    ]


def kept(out: Path) -> dict[str, bytes]:
    """Return the records of the trials that are over, by their names."""
    over = {trial.name for trial in Records(str(out / "trials")).over}
    return {name: (out / "trials" / f"{name}.json").read_bytes() for name in sorted(over)}


def ran_through(crystals: Path, out: Path, address: str) -> dict[str, bytes]:
    """Search with a driver that is killed once; return what was over when it was."""
    given = options(crystals, out, address=address)
    call = TuneCall(given)
    call.until_reached(lambda: bool(kept(out)))
    call.kill()
    before = kept(out)
    assert f"{len(before)} of them done" in TuneCall(given).wait()
    return before


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> Path:
    return write_crystals(tmp_path_factory.mktemp("crystals") / "crystals.parquet")


@pytest.fixture(scope="module")
def search(crystals: Path, cluster: Any, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    out = tmp_path_factory.mktemp("searches") / "search"
    return out, ran_through(crystals, out, cluster.address)


@pytest.mark.timeout(1200)
def test_a_search_whose_driver_was_killed_loses_no_trial(search):
    out, before = search
    assert 0 < len(before) < TRIALS
    records = Records(str(out / "trials"))
    assert sorted(records.trials) == list(range(TRIALS))
    assert len(records.over) == TRIALS
    assert not records.of_state(TrialState.RUNNING, TrialState.FAILED)
    assert records.of_state(TrialState.FINISHED)
    after = kept(out)
    assert {name: after[name] for name in before} == before
    for trial in records.over:
        epochs = [report["epoch"] for report in trial.reports]
        assert epochs == list(range(3, trial.epoch + 1, 3))
        assert trial.epoch == EPOCHS or trial.state == TrialState.STOPPED
    assert not (out / "_tuning").exists()


def test_a_search_leaves_table_report_and_manifest(search):
    out, _ = search
    table = pq.read_table(out / "trials.parquet")
    assert pcsv.read_csv(out / "trials.csv").column_names == table.column_names
    assert table.column("trial").to_pylist() == list(range(TRIALS))
    assert {"margin", "width", "cutoff"} <= set(table.column_names)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert sum(manifest["trials"].values()) == TRIALS
    assert manifest["versions"].keys() >= {"ray", "optuna", "torch"}
    assert manifest["seconds"]["trials"] > 0
    rows = manifest["rows"]
    assert rows == {"learned": 89, "validation": 22, "calibration": 16, "test": 32}
    text = (out / "report.html").read_text()
    page = Page(text)
    named = [found[key] or "" for _, found in page.elements for key in LINKS if key in found]
    assert named
    assert all(link.startswith(("#", "data:")) for link in named), "the page needs another file"
    assert {"best", "margin", "options", "parallel", "courses", "trials"} <= page.text.keys()
    head, *lines = page.rows["trials"]
    assert head[:5] == ["Trial", "State", "Epochs", "Validation MAE", "margin"]
    assert int(lines[0][0]) == manifest["best"]["number"]
    assert sorted(int(line[0]) for line in lines) == list(range(TRIALS))
    drawn = [tag for tag, _ in page.elements if tag == "svg"]
    assert len(drawn) >= 4


def test_a_finished_search_says_so_and_refuses_other_options(search, crystals, capsys):
    out, _ = search
    found = tune(TuneConfig(**options(crystals, out)))
    assert found.passed
    said = capsys.readouterr().out
    assert "is finished, nothing to do" in said
    assert f"train --config {out}/best.yaml" in said
    with pytest.raises(ConfigError, match=r"--margin was .* is \{'low': 0.1"):
        tune(TuneConfig(**options(crystals, out, margin="0.1:0.2")))


def test_the_best_configuration_trains_and_is_scored_on_rows_no_trial_saw(
    search, tmp_path, ray_session
):
    out, _ = search
    model = tmp_path / "model"
    best = ["--config", str(out / "best.yaml"), "--heads", "linear", "--out", str(model)]
    assert cli.main(["train", *best]) == 0
    card = Model.load(str(model)).card
    assert card.rows == {"train": 111, "calibration": 16, "test": 32}
    trial = json.loads((out / "manifest.json").read_text())["best"]
    chosen = {**card.hyperparameters, "width": card.width, "cutoff": card.cutoff}
    assert {name: chosen[name] for name in trial["values"]} == trial["values"]


@pytest.mark.slow
def test_trials_that_fail_are_recorded_and_a_search_of_them_does_not_pass(
    crystals, tmp_path, ray_session, capsys
):
    out = tmp_path / "search"
    given = options(crystals, out, trials=2, learning_rate=1e38, max_concurrent=2, cutoff=4)
    assert cli.main(["tune", *words(given)]) == 1
    said = capsys.readouterr().out
    assert "tune: all trials failed, the first one: the loss is nan in epoch 1: lower" in said
    records = Records(str(out / "trials"))
    assert [trial.state for trial in records.over] == [TrialState.FAILED] * 2
    assert all("lower --learning-rate" in (trial.reason or "") for trial in records.over)
    assert not (out / "best.yaml").exists()
    assert "All trials failed" in (out / "report.html").read_text()
    assert cli.main(["tune", *words(given)]) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "hefty"}, r"no target 'hefty'; its numeric columns: heft"),
        ({"network": "tgnn,gnn"}, r"--network gnn: choose from tgnn"),
        ({"loss": "emrl,l3"}, r"--loss l3: choose from emrl"),
        (
            {"network": "tgnn,gcn", "batch_norm": "three_pass"},
            r"--batch-norm three_pass: --network",
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_one_clear_line_before_any_work(
    changes, message, crystals, tmp_path
):
    with pytest.raises(ValueError, match=message) as caught:
        tune(TuneConfig(**options(crystals, tmp_path / "search", **changes)))
    assert "\n" not in str(caught.value)
    assert not locate(tmp_path / "search").exists()


def test_a_search_for_more_workers_than_there_are_cpus_is_one_clear_line(
    crystals, tmp_path, ray_session
):
    with pytest.raises(ConfigError, match=r"^--workers 99: needs 99 CPUs, the cluster has 4"):
        tune(TuneConfig(**options(crystals, tmp_path / "search", workers=99)))
