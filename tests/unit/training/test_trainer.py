"""The training loop: deterministic, resumable, and the same for any number of workers."""

import numpy as np
import pytest
import torch

from emrl_ray.training.trainer import batch_bounds
from tests.support.trainings import ALONE, ROWS, SUPERVISED, make_trainer, whole_run


def test_a_batch_may_have_no_row_of_a_worker():
    batches = [rows for rows, _ in make_trainer(**ALONE)._batches()]
    assert any(len(set(rows < ROWS // 2)) == 1 for rows in batches)


@pytest.mark.parametrize("options", [{}, SUPERVISED], ids=["emrl", "readout"])
def test_a_restored_state_goes_on_as_if_nothing_had_happened(options):
    options = {"precision": "float32", **options}
    whole = whole_run(make_trainer(**options))
    interrupted = make_trainer(**options)
    interrupted.run_epoch()
    restored = make_trainer(**options)
    restored.load_state_dict(interrupted.state_dict())
    rest = whole_run(restored)
    assert torch.equal(rest["losses"], whole["losses"][1:])
    for name in whole.keys() - {"losses"}:
        assert torch.equal(rest[name], whole[name]), name


def test_a_state_taken_within_an_epoch_goes_on_as_if_nothing_had_happened(tmp_path):
    states = []
    trainer = make_trainer(precision="float32")

    def keep():
        torch.save(trainer.state_dict(), tmp_path / f"{len(states)}")
        states.append((trainer.epoch, len(trainer.losses)))

    losses = []
    trainer.run(lambda record: losses.append(record.loss), keep)
    assert states[:4] == [(0, 1), (0, 2), (0, 3), (1, 1)]
    for taken in (0, 4, len(states) - 1):
        restored = make_trainer(precision="float32")
        restored.load_state_dict(torch.load(tmp_path / f"{taken}"))
        rest = whole_run(restored)
        assert rest.pop("losses").tolist() == losses[states[taken][0] :]
        assert all(
            torch.equal(rest[f"readout.{k}"], v) for k, v in trainer.readout.state_dict().items()
        )
        assert all(torch.equal(rest[name], v) for name, v in trainer.network.state_dict().items())


def test_the_readout_predicts_in_the_unit_of_the_target():
    trainer = make_trainer(**SUPERVISED, epochs=1)
    trainer.run(lambda _: None)
    slope, intercept = trainer.trained([]).readout
    embeddings = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 128)))
    expected = trainer.readout(embeddings)[:, 0] * trainer.deviation + trainer.mean
    assert np.allclose(embeddings.numpy() @ slope + intercept, expected.detach().numpy())


def test_a_loss_without_a_readout_leaves_none():
    assert make_trainer().trained([]).readout is None


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    one, same, other = (whole_run(make_trainer(seed=seed, epochs=1)) for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["output_layer.weight"], other["output_layer.weight"])


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
def test_training_lowers_the_loss(schedule):
    losses = whole_run(
        make_trainer(epochs=30, schedule=schedule, learning_rate=2e-3, precision="float32")
    )["losses"]
    assert losses[-5:].mean() < 0.75 * losses[:3].mean()


def test_a_last_batch_too_short_for_a_triplet_joins_the_one_before():
    assert batch_bounds(10, 4) == [(0, 4), (4, 10)]
    assert batch_bounds(11, 4) == [(0, 4), (4, 8), (8, 11)]
    assert batch_bounds(4, 100) == [(0, 4)]


def test_a_batch_ends_before_its_pairs_exceed_the_budget():
    sizes = np.array([5, 5, 5, 5, 5, 5, 5, 5])
    assert batch_bounds(8, 100, sizes, 20) == [(0, 4), (4, 8)]
    assert batch_bounds(8, 3, sizes, 20) == [(0, 3), (3, 8)]
    assert batch_bounds(8, 100, sizes, 10**9) == [(0, 8)]


def test_a_batch_has_rows_for_a_triplet_whatever_their_pairs():
    sizes = np.array([1, 90, 1, 1, 1, 1, 90])
    assert batch_bounds(7, 100, sizes, 10) == [(0, 3), (3, 7)]
    assert batch_bounds(3, 100, np.full(3, 99), 1) == [(0, 3)]


def test_batches_within_a_budget_hold_every_row_once():
    trainer = make_trainer(batch_size=50, batch_pairs=1500)
    for epoch in range(3):
        plan = trainer._plan(epoch)
        assert sorted(np.concatenate(plan).tolist()) == list(range(ROWS))
        assert len(plan) > 2
        for rows in plan[:-1]:
            assert len(rows) == 3 or trainer.n_pairs[rows].sum() <= 1500


def test_the_one_cycle_schedule_ends_where_the_training_ends():
    for options in ({}, {"batch_pairs": 1500}):
        trainer, rates = make_trainer(precision="float32", **options), []
        trainer.run(lambda record, rates=rates: rates.append(record.learning_rate))
        assert rates[-1] == pytest.approx(trainer.options.learning_rate / 25e4)
        assert rates == sorted(rates, reverse=True)


def test_too_few_rows_are_one_clear_line():
    with pytest.raises(ValueError, match=r"^2 rows to train on: at least 3 are needed$"):
        batch_bounds(2, 16)


def test_a_loss_that_is_not_finite_stops_the_training():
    trainer = make_trainer()
    trainer.network.output_layer.weight.data[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="lower --learning-rate"):
        trainer.run(lambda _: None)
