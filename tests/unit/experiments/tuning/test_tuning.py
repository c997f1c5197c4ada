"""What a search is made of, without a cluster: rows, scores, records, what came of it, and resuming."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.config import TrainConfig, TuneConfig, UserError
from emrl_ray.config.parsing import parse
from emrl_ray.crystals.schema import Reject, RejectReason, Stage, crystals_table
from emrl_ray.experiments.tuning.optuna_study import (
    distributions,
    importances,
    sampler_seed,
    trial_error,
)
from emrl_ray.experiments.tuning.results import best_trial, best_yaml, trials_table
from emrl_ray.experiments.tuning.splits import keep_rows_with_pairs, split_search
from emrl_ray.experiments.tuning.trial_store import Trial, TrialState, TrialStore
from emrl_ray.experiments.tuning.validation import Validator
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.graphs import Graphs
from emrl_ray.io.paths import resolve
from emrl_ray.model.heads import LinearHead
from emrl_ray.model.labels import Labels, read_labels, split_labels
from emrl_ray.networks import open_trained
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.training.evaluation import mae
from emrl_ray.training.trainer import Shard, Trainer, make_network
from tests.support.crystals import random_batch

OPTIONS = {"crystals": "crystals.parquet", "target": "heft", "out": "/out"}


def config(**options) -> TuneConfig:
    return TuneConfig(**{**OPTIONS, "search": ["margin"], **options})


def report(epoch: int, error: float) -> dict[str, float]:
    return {"epoch": epoch, "loss": 0.5, "learning_rate": 1e-3, "validation_mae": error}


def over(number: int, margin: float, error: float, epochs: int = 100) -> Trial:
    return Trial(number, {"margin": margin}).reported(report(epochs, error), 1.0).ended(100)


def labels(rows: int = 200) -> Labels:
    return Labels(
        np.arange(rows),
        pa.array([f"c{row}" for row in range(rows)]),
        pa.array([f"F{row % 40}" for row in range(rows)]),
        np.random.default_rng(0).random(rows),
        "eV",
        None,
    )


@pytest.mark.parametrize("split", ["random", "formula"])
def test_no_trial_sees_a_row_that_train_with_the_same_seed_holds_out(split):
    search = config(split=split, seed=3, test=0.25)
    rows = split_search(labels(), search)
    held = split_labels(
        labels(), TrainConfig(**OPTIONS, split=split, seed=3, test=0.25, calibration=0.1)
    )
    assert np.array_equal(rows.unseen.test, held.test)
    assert np.array_equal(rows.unseen.calibration, held.calibration)
    seen = np.concatenate([rows.learned, rows.validation])
    assert np.array_equal(np.sort(seen), held.train)
    assert rows.counts() == {
        name: len(part)
        for name, part in {
            "learned": rows.learned,
            "validation": rows.validation,
            "calibration": held.calibration,
            "test": held.test,
        }.items()
    }
    if split == "formula":
        formulas = np.array(labels().formulas)
        assert not set(formulas[rows.learned]) & set(formulas[rows.validation])


def test_too_few_rows_to_learn_from_are_one_clear_line():
    said = r"^--test 0.2 --calibration 0.1 --validation 0.2: leave 8 rows for training, at least 10"
    with pytest.raises(UserError, match=said):
        split_search(labels(14), config())


def graphs_table(folder: Path) -> tuple[str, list[float]]:
    """Write a graphs table of 5 Å in two files, one of them with an earlier reject.

    Returns the shortest distance of each crystal too, ascending.
    """
    batch = random_batch(30, seed=2)
    graphs = Graphs.from_crystals(batch, 5.0)
    names = [f"c{row}" for row in range(30)]
    targets = {"heft": pa.array(np.arange(30.0))}
    columns = crystals_table(batch, names, ["X"] * 30, targets).select(["id", "formula", "heft"])
    table = graphs.to_table(5.0, columns)
    output = PartitionedOutput(str(folder), f"{folder}/_rejects")
    bad = Reject("bad", "source", Stage.VALIDATE, RejectReason.NO_ATOMS, "none")
    output.commit("slice-0", table.slice(0, 10), [], 10)
    output.commit("slice-1", table.slice(10), [bad], 21)
    shortest = [
        graphs.pairs.distance[a:b].astype(np.float32).min()
        for a, b in pairwise(graphs.pairs.offsets.tolist())
    ]
    return str(folder), sorted(map(float, shortest))


def test_crystals_without_a_pair_within_the_shortest_cutoff_become_rejects_once(tmp_path):
    graphs, shortest = graphs_table(tmp_path / "graphs")
    kept, cutoff = 12, (shortest[11] + shortest[12]) / 2
    for _ in range(2):
        keep_rows_with_pairs(graphs, cutoff, "crystals.parquet")
        assert len(read_labels(graphs, "heft", "source")[0].rows) == kept
        counts = PartitionedOutput(graphs, f"{graphs}/_rejects").completed()
        assert all(count.balanced for count in counts.values())
        rejects = pq.read_table(f"{graphs}/_rejects").to_pylist()
        assert len(rejects) == 30 - kept + 1
        assert {row["reason"] for row in rejects} == {"no_pairs", "no_atoms"}
        assert f"no two atoms within {cutoff} Å" in {row["detail"] for row in rejects}


def trainer_and_validator(**options) -> tuple[Trainer, Validator]:
    training = TrainConfig(**OPTIONS, width=16, epochs=3, batch_size=16, **options)
    graphs = Graphs.from_crystals(random_batch(80, seed=5, elements=12), 5.0)
    targets = np.random.default_rng(6).random(80)
    own = Shard(graphs.take(np.arange(60)), targets[:60], 0)
    held_out = Shard(graphs.take(np.arange(60, 80)), targets[60:], 0)
    network = make_network(training, default_csv(), 0)
    trainer = Trainer(network, own, training, SingleProcess())
    return trainer, Validator(training, "linear", own, held_out)


def test_a_score_is_the_error_of_a_head_on_rows_held_out_and_changes_no_training():
    trainer, validator = trainer_and_validator()
    undisturbed, _ = trainer_and_validator()
    scores = []
    trainer.run(lambda _: scores.append(validator.mae(trainer)))
    undisturbed.run(lambda _: None)
    for name, value in undisturbed.trained([]).state.items():
        assert np.array_equal(trainer.trained([]).state[name], value), name
    spec = NetworkSpec.of(validator.config)
    trained = open_trained("tgnn", spec, trainer.trained([]).state, default_csv(), 1)
    head = LinearHead()
    head.fit(trained.embed_graphs(validator.own.graphs), validator.own.targets)
    found = head.predict(trained.embed_graphs(validator.held_out.graphs))
    assert scores[-1] == mae(found, validator.held_out.targets)
    assert len(set(scores)) == 3


def test_a_network_gone_astray_has_no_score():
    trainer, validator = trainer_and_validator()
    with np.errstate(all="ignore"):
        for part in trainer.network.parameters():
            part.data.fill_(math.nan)
        with pytest.raises(FloatingPointError, match=r"^embeddings are not finite after epoch 0"):
            validator.mae(trainer)


def test_records_are_read_as_they_were_written(tmp_path):
    records = TrialStore(str(tmp_path / "trials"))
    begun = records.begin(3, {"margin": 0.125, "network": "tgnn"})
    assert records.begin(3, {"margin": 0.5}) == begun
    records.write(begun.reported(report(5, 0.25), 2.5).reported(report(10, 0.2), 1.0))
    records.write(Trial(4, {"margin": 0.1}).failed("lost"))
    records.write(over(5, 0.2, 0.3))
    again = TrialStore(str(tmp_path / "trials"))
    assert again.trials == records.trials
    assert [trial.number for trial in again.over] == [4, 5]
    (running,) = again.of_state(TrialState.RUNNING)
    assert (running.epoch, running.mae, running.seconds) == (10, 0.2, 3.5)
    assert json.loads((tmp_path / "trials" / "trial-0003.json").read_text())["state"] == "running"


def test_a_validation_that_is_known_already_changes_nothing():
    trial = Trial(0, {}).reported(report(5, 0.25), 2.0).reported(report(10, 0.2), 2.0)
    assert trial.reported(report(5, 0.25), 9.0) == trial
    assert trial.reported(report(10, 0.2), 9.0) == trial


def test_a_trial_that_did_not_reach_the_last_epoch_was_stopped():
    assert over(0, 0.1, 0.2, epochs=100).state == TrialState.FINISHED
    assert over(0, 0.1, 0.2, epochs=40).state == TrialState.STOPPED


def test_the_best_trial_trained_to_the_end_if_any_did():
    stopped, failed = over(0, 0.1, 0.1, epochs=40), over(1, 0.1, 0.05).failed("nan")
    finished = [over(2, 0.1, 0.3), over(3, 0.2, 0.2), over(4, 0.3, 0.2)]
    assert best_trial([stopped, failed, *finished]) == finished[1]
    assert best_trial([stopped, failed]) == stopped
    assert best_trial([failed]) is None


def test_the_table_has_a_row_a_trial():
    search = config(search=["margin", "width"])
    trials = [
        Trial(0, {"margin": 0.1, "width": 64}).reported(report(100, 0.2), 3.0).ended(100),
        Trial(1, {"margin": 0.2, "width": 128}).failed("the loss is nan"),
    ]
    table = trials_table(trials, search.space, "eV")
    assert table.to_pylist() == [
        {"trial": 0, "state": "finished", "epochs": 100, "validation_mae": 0.2, "margin": 0.1}
        | {"width": 64, "seconds": 3.0, "reason": None},
        {"trial": 1, "state": "failed", "epochs": 0, "validation_mae": None, "margin": 0.2}
        | {"width": 128, "seconds": 0.0, "reason": "the loss is nan"},
    ]
    assert table.schema.field("validation_mae").metadata == {b"unit": b"eV"}


@pytest.mark.parametrize("extra", [{}, {"batch_pairs": 900, "gpu": True, "l2": 3e-7}])
def test_the_best_configuration_is_read_as_the_training_of_its_trial(extra, tmp_path):
    search = config(preset="MPS-BG", seed=7, split="formula", min_distance=0.0, **extra)
    trial = over(4, 0.123456789, 0.2)
    file = tmp_path / "best.yaml"
    file.write_text(best_yaml(search, trial, "/out/graphs", "eV"))
    words = ["--config", str(file), "--out", "model"]
    found = parse(TrainConfig, words, name="train")
    meant = search.training({"margin": 0.123456789}, out="model", graphs="/out/graphs")
    given = {"checkpoint_every": 10, "preset": None, "max_failures": 3}
    assert found == TrainConfig(**{**vars(meant), **given})
    assert file.read_text().startswith("# Trial 4 of /out: validation MAE 0.2 eV, linear head")


def test_importance_tells_what_mattered():
    search = config(search=["margin", "l2"])
    rng = np.random.default_rng(0)
    trials = []
    for number in range(24):
        margin, l2 = float(rng.uniform(0.02, 0.4)), float(10 ** rng.uniform(-6, -3))
        error = (margin - 0.2) ** 2
        trials.append(
            Trial(number, {"margin": margin, "l2": l2}).reported(report(100, error), 1.0).ended(100)
        )
    trials.append(Trial(24, {"margin": 0.1, "l2": 1e-4}).failed("nan"))
    found = importances(trials, search.space, 0)
    assert list(found) == ["margin", "l2"]
    assert found["margin"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(trials, search.space, 0)
    assert importances(trials[:3], search.space, 0) == {}
    same = [over(number, number / 10, 0.2) for number in range(1, 9)]
    assert importances(same, config().space, 0) == {}


def test_a_failed_trial_is_the_worst_for_the_sampler():
    assert trial_error(over(0, 0.1, 0.2)) == 0.2
    assert trial_error(over(0, 0.1, 0.2).failed("nan")) == math.inf
    assert trial_error(Trial(0, {}).failed("nan")) == math.inf


def test_the_space_has_the_samplers_terms():
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    space = config(search=["margin", "l2"], width=[64, 128], batch_size="8:64").space
    assert distributions(space) == {
        "margin": FloatDistribution(0.02, 0.4),
        "l2": FloatDistribution(1e-6, 1e-3, log=True),
        "batch_size": IntDistribution(8, 64),
        "width": CategoricalDistribution((64, 128)),
    }


def test_a_search_that_goes_on_draws_with_another_seed():
    seeds = {sampler_seed(seed, known) for seed in range(5) for known in range(5)}
    assert len(seeds) == 25
    assert sampler_seed(1, 2) == sampler_seed(1, 2)


def recorded(folder: Path, *trials: Trial) -> TrialStore:
    records = TrialStore(str(folder))
    for trial in trials:
        records.write(trial)
    return TrialStore(str(folder))


def test_a_search_begins_with_the_preset_and_records_what_it_suggests(tmp_path):
    from emrl_ray.distributed.tuning.resumable_search import ResumableSearch

    search = ResumableSearch(config(trials=3), recorded(tmp_path / "trials"))
    first = search.suggest("a")
    assert first == {"number": 0, "reported": 0, "values": {"margin": 0.2}}
    second = search.suggest("b")
    assert second["number"] == 1
    again = TrialStore(str(tmp_path / "trials"))
    assert again.trials[1].values == second["values"]
    assert resolve(tmp_path / "trials" / "trial-0001.json").is_file()


def test_a_search_that_goes_on_begins_with_the_trials_that_were_running(tmp_path):
    from emrl_ray.distributed.tuning.resumable_search import ResumableSearch

    running = Trial(1, {"margin": 0.3}).reported(report(15, 0.2), 1.0)
    records = recorded(tmp_path, over(0, 0.1, 0.2), running, over(2, 0.15, 0.3).failed("nan"))
    search = ResumableSearch(config(trials=5), records)
    assert search.suggest("a") == {"number": 1, "reported": 15, "values": {"margin": 0.3}}
    new = [search.suggest("b"), search.suggest("c")]
    assert [suggested["number"] for suggested in new] == [3, 4]
    drawn = {suggested["values"]["margin"] for suggested in new}
    assert len(drawn | {0.1, 0.3, 0.15, 0.2}) == 6


def test_a_scheduler_that_goes_on_judges_by_what_was_recorded(tmp_path):
    from types import SimpleNamespace

    from emrl_ray.distributed.tuning.resumable_search import resumable_scheduler

    trials = [over(number, 0.1, 0.2, epochs=15) for number in range(5)]
    running = Trial(5, {"margin": 0.1}).reported(report(15, 0.19), 1.0)
    records = recorded(tmp_path, *trials, running)
    told: list[int] = []
    scheduler = resumable_scheduler(config(trials=8), records, told.append)
    new, known = (
        SimpleNamespace(trial_id=name, config={"number": number})
        for name, number in (("new", 6), ("known", 5))
    )
    scheduler.on_trial_add(None, known)
    scheduler.on_trial_add(None, new)
    assert scheduler.on_trial_result(None, known, report(20, 0.9)) == "CONTINUE"
    assert told == []
    assert scheduler.on_trial_result(None, new, report(10, 0.9)) == "CONTINUE"
    assert told == []
    assert scheduler.on_trial_result(None, new, report(15, 0.9)) == "CONTINUE"
    assert told == [6]
    assert scheduler.stopped == {6}
    scheduler.on_trial_result(None, known, report(100, 0.1))
    assert told == [6]


def test_a_trial_that_is_over_is_not_said_to_have_failed_later(tmp_path):
    from emrl_ray.distributed.tuning.trials import _Recorder

    records = TrialStore(str(tmp_path))
    records.write(over(0, 1.0, 0.5))
    records.write(Trial(1, {"margin": 1.0}))
    recorder = _Recorder(config(), records, set())
    for number in (0, 1):
        lost = SimpleNamespace(config={"number": number}, get_error=lambda: None)
        recorder.on_trial_error(0, [], lost)
    assert records.trials[0].state == TrialState.FINISHED
    assert records.trials[1].state == TrialState.FAILED
