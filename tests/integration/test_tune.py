"""Tune on a real Ray: a search that goes on, what it leaves, and trials that fail."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from emrl_ray import cli
from emrl_ray.commands import tune as module
from emrl_ray.commands.tune import tune
from emrl_ray.config import TuneConfig, UserError
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState, TrialStore
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from tests.support.html_page import Page
from tests.support.labeled_crystals import write_crystals
from tests.support.searches import EPOCHS, TRIALS, assert_none_was_lost, kept, options

LINKS = ("src", "href", "xlink:href")


def reported(epoch: int, error: float) -> dict[str, float]:
    return {"epoch": epoch, "loss": 0.5, "learning_rate": 1e-3, "validation_mae": error}


OVER = (
    Trial(0, {"margin": 0.2, "width": 16, "cutoff": 3.5})
    .reported(reported(3, 20.0), 1.0)
    .reported(reported(6, 18.0), 1.0)
    .ended(EPOCHS)
)
"""A trial that an earlier call ran to its end."""
BEGUN = Trial(1, {"margin": 0.1, "width": 8, "cutoff": 4.0}).reported(reported(3, 10.0), 1.0)
"""A trial that ran when that call was cut short."""


def words(given: dict) -> list[str]:
    return [
        part
        for name, value in given.items()
        for part in (f"--{name}", *(value if isinstance(value, list) else [str(value)]))
    ]


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> Path:
    return write_crystals(tmp_path_factory.mktemp("crystals") / "crystals.parquet")


@pytest.fixture(scope="module")
def search(crystals: Path, ray_session: None, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A search that was cut short when a trial was over and another one was running."""
    out = tmp_path_factory.mktemp("searches") / "search"
    given = options(crystals, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_run", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(TuneConfig(**given))
    records = TrialStore(str(out / "trials"))
    records.write(OVER)
    records.write(BEGUN)
    before = kept(out)
    assert set(before) == {OVER.name}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert tune(TuneConfig(**given)).passed
    assert "tune: 3 trials, 1 of them done and 1 begun by an earlier call, " in said.getvalue()
    return out, before


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.timeout(900)
def test_a_search_that_was_cut_short_loses_no_trial(search):
    assert_none_was_lost(*search)
    records = TrialStore(str(search[0] / "trials"))
    assert dict(records.trials[1].values) == BEGUN.values
    assert records.trials[1].reports[0] == BEGUN.reports[0]


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
    with pytest.raises(UserError, match=r"--margin was .* is \{'low': 0.1"):
        tune(TuneConfig(**options(crystals, out, margin="0.1:0.2")))


def test_the_best_configuration_trains_and_is_scored_on_rows_no_trial_saw(search, tmp_path):
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
    records = TrialStore(str(out / "trials"))
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
    assert not resolve(tmp_path / "search").exists()


def test_a_search_for_more_workers_than_there_are_cpus_is_one_clear_line(
    crystals, tmp_path, ray_session
):
    with pytest.raises(UserError, match=r"^--workers 99: needs 99 CPUs, the cluster has 4"):
        tune(TuneConfig(**options(crystals, tmp_path / "search", workers=99)))
