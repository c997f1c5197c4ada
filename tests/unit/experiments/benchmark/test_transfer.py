"""Transfer: which rows and options a network is trained with on its source and on its data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from emrl_ray.config import TrainConfig
from emrl_ray.config.presets import PRESETS
from emrl_ray.experiments.benchmark import transfer
from emrl_ray.experiments.benchmark.datasets import (
    DATASETS,
    LabeledCrystals,
    named_source,
    read_labeled,
)
from emrl_ray.experiments.benchmark.local_training import Device
from emrl_ray.experiments.benchmark.transfer import TransferRun, pretrain, run_transfer
from emrl_ray.features.element_properties import default_csv
from emrl_ray.training.evaluation import split_rows
from emrl_ray.training.trainer import TrainedNetwork, make_network
from tests.support.labeled_crystals import write_both_targets

PLACE = Device(1, "cpu", lambda _: None)


def labelled(folder: Path, name: str) -> LabeledCrystals:
    source = named_source(name, str(folder))
    return read_labeled(source, PRESETS[source.preset].cutoff, 5.0)[0]


@pytest.fixture
def trainings(monkeypatch) -> list[tuple[TrainConfig, LabeledCrystals]]:
    """What the protocol of transfer would have trained on, and how; nothing is trained."""
    asked: list[tuple[TrainConfig, LabeledCrystals]] = []

    def train_on(config, rows, place, start=None):
        asked.append((config, rows))
        state = make_network(config, default_csv(), 0).state_dict()
        return TrainedNetwork({name: part.numpy() for name, part in state.items()}, None, [])

    monkeypatch.setattr(transfer, "train_on", train_on)
    return asked


def transfer_cell(
    source: str,
    dataset: str = "MPS-FE",
    start: str = "frozen",
    share: float = 1.0,
    source_epochs: int = 2,
) -> TransferRun:
    target = DATASETS[dataset].target
    return TransferRun(source, source_epochs, dataset, dataset, target, start, share, 3, 2, "data")


@pytest.mark.parametrize(("source", "shared"), [("MPS-BG", "test rows"), ("MPL-FE", "all rows")])
def test_the_source_is_learned_without_what_gives_test_rows_away(
    source, shared, tmp_path, trainings
):
    write_both_targets(tmp_path, 40)
    shutil.copy(tmp_path / "mps.parquet", tmp_path / "mpl.parquet")
    crystals, known = labelled(tmp_path, "MPS-FE"), labelled(tmp_path, source)
    if source == "MPL-FE":  # it has more crystals than the other
        crystals = crystals.take(np.arange(20))
    pretrain(transfer_cell(source, source_epochs=7), known, crystals, PLACE)
    ((config, rows),) = trainings
    tested = split_rows(len(crystals.targets), 0.2, seed=3).test
    hidden = crystals.ids if shared == "all rows" else crystals.ids.take(tested)
    assert set(rows.ids.to_pylist()) == set(known.ids.to_pylist()) - set(hidden.to_pylist())
    assert config.epochs == 7


def test_a_network_keeps_its_cutoff_where_it_goes(tmp_path, trainings):
    write_both_targets(tmp_path, 40)
    for source, dataset in (("MPS-BG", "MPS-FE"), ("MPS-FE", "MPS-BG")):
        cell = transfer_cell(source, dataset)
        pretrain(cell, labelled(tmp_path, source), labelled(tmp_path, dataset), PLACE)
        config, rows = trainings.pop()
        assert config.cutoff == cell.config().cutoff == PRESETS[dataset].cutoff
        reached = rows.graphs.pairs.distance.max()
        assert config.cutoff - 0.1 < reached <= config.cutoff
        assert rows.graphs.pairs.n_pairs.all()


def test_a_smaller_share_lies_in_each_larger_one(tmp_path, trainings):
    write_both_targets(tmp_path, 80)
    crystals = labelled(tmp_path, "MPS-FE")
    for share in (0.2, 0.5, 1.0):
        cell = transfer_cell("MPS-BG", start="tuned", share=share)
        next(run_transfer(cell, crystals, {}, PLACE))
    small, half, whole = (set(rows.ids.to_pylist()) for _, rows in trainings)
    assert small < half < whole
    assert whole == set(
        crystals.ids.take(split_rows(len(crystals.ids), 0.2, seed=3).train).to_pylist()
    )
    assert [config.epochs for config, _ in trainings] == [10, 4, 2]


def test_a_tuned_network_begins_at_the_rate_of_its_preset_and_a_new_one_at_its_own():
    scratch, tuned = (
        transfer_cell("MPS-BG", start=start).config() for start in ("scratch", "tuned")
    )
    assert tuned.learning_rate == PRESETS["MPS-FE"].learning_rate
    assert scratch.learning_rate == TrainConfig(crystals="", target="y", out="").learning_rate
    assert scratch.learning_rate != tuned.learning_rate
