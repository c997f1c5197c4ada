"""Out-of-fold embeddings: every row by a network that has not seen it, in one common frame."""

import numpy as np

from emrl_ray.config import TrainConfig
from emrl_ray.experiments.benchmark.local_training import Device, opened, train_on
from emrl_ray.experiments.benchmark.out_of_fold import out_of_fold_embeddings, turned
from tests.unit.experiments.benchmark.test_protocol import labelled

PLACE = Device(1, "cpu", lambda _: None)


def test_a_turned_and_moved_copy_is_turned_back():
    random = np.random.default_rng(0)
    others = random.standard_normal((40, 6)).astype(np.float32)
    rotation, _ = np.linalg.qr(random.standard_normal((6, 6)))
    own = ((others + 3.0) @ rotation).astype(np.float32)
    assert np.abs(turned(own[:5], own, others) - others[:5]).max() < 1e-5


def test_every_row_is_embedded_without_having_been_trained_on(monkeypatch):
    crystals = labelled(40)
    config = TrainConfig(crystals="", target="y", out="", epochs=1, width=8, cutoff=4.0)
    trained = []

    def watched(config, rows, place, start=None):
        trained.append(set(rows.ids.to_pylist()))
        return train_on(config, rows, place, start)

    monkeypatch.setattr("emrl_ray.experiments.benchmark.out_of_fold.train_on", watched)
    network = opened(config, train_on(config, crystals, PLACE), 1)
    embeddings = network.embed(crystals.batch)
    found = out_of_fold_embeddings(config, crystals, embeddings, 4, PLACE)
    assert found.shape == embeddings.shape
    assert np.isfinite(found).all()
    held = [set(crystals.ids.to_pylist()) - rows for rows in trained]
    assert sorted(name for fold in held for name in fold) == sorted(crystals.ids.to_pylist())
    assert not np.allclose(found, embeddings)
