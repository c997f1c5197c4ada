"""Heads: what each learns, that files are exact, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from emrl_ray import config
from emrl_ray.model.heads import HEADS, BoostedHead, LinearHead, NeuralHead, boosted, neural

ROWS, WIDTH = 120, 6


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the fits short; what is tested here does not depend on their length."""
    monkeypatch.setattr(neural, "EPOCHS", 30)
    monkeypatch.setattr(boosted, "DEPTHS", (3, 4))
    monkeypatch.setattr(boosted, "TREES", (10, 20))


def rows(count: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors and a smooth function of them, far from zero and with a scale of its own."""
    embeddings = np.random.default_rng(seed).normal(size=(count, WIDTH))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    targets = 40 + 7 * embeddings[:, 0] + 3 * embeddings[:, 1] ** 2
    return embeddings.astype(np.float32), targets


def test_the_registry_has_the_names_of_the_config_and_the_readout():
    assert tuple(HEADS) == (*config.HEADS, "readout")


@pytest.mark.parametrize("name", HEADS)
def test_a_head_beats_the_mean_on_new_rows(name: str, quick: None):
    head = HEADS[name](seed=1)
    head.fit(*rows())
    embeddings, targets = rows(seed=1)
    error = np.abs(head.predict(embeddings) - targets).mean()
    assert error < 0.5 * np.abs(targets - targets.mean()).mean()


@pytest.mark.parametrize("name", HEADS)
def test_a_loaded_head_predicts_exactly_what_the_saved_one_did(
    name: str, tmp_path: Path, quick: None
):
    head = HEADS[name]()
    head.fit(*rows())
    head.save(tmp_path)
    assert [file.name.split(".")[0] for file in tmp_path.iterdir()] == [f"head_{name}"]
    loaded = HEADS[name].load(tmp_path)
    embeddings, _ = rows(seed=1)
    np.testing.assert_array_equal(loaded.predict(embeddings), head.predict(embeddings))
    assert loaded.predict(embeddings).dtype == np.float64
    assert loaded.chosen == head.chosen


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_writes_the_same_bytes_whatever_ran_before(
    name: str, tmp_path: Path, quick: None
):
    import torch

    contents = []
    for run in range(2):
        torch.manual_seed(run)
        head = HEADS[name](seed=7)
        head.fit(*rows())
        folder = tmp_path / str(run)
        folder.mkdir()
        head.save(folder)
        contents.append([file.read_bytes() for file in folder.iterdir()])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["neural", "boosted"])
def test_another_seed_gives_another_fit(name: str, quick: None):
    embeddings, targets = rows()
    predictions = []
    for seed in range(2):
        head = HEADS[name](seed=seed)
        head.fit(embeddings, targets)
        predictions.append(head.predict(embeddings))
    assert not np.array_equal(*predictions)


@pytest.mark.parametrize("name", HEADS)
def test_constant_targets_are_predicted_as_they_are(name: str, quick: None):
    head = HEADS[name]()
    embeddings, targets = rows()
    head.fit(embeddings, np.full_like(targets, 1.7))
    np.testing.assert_allclose(head.predict(embeddings), 1.7, rtol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_ten_equal_crystals_can_be_fitted(name: str, quick: None):
    head = HEADS[name]()
    targets = np.linspace(1, 2, 10)
    head.fit(np.ones((10, WIDTH), np.float32), targets)
    predictions = head.predict(np.ones((3, WIDTH), np.float32))
    assert ((predictions > 1) & (predictions < 2)).all()


@pytest.mark.parametrize("name", HEADS)
def test_a_crystal_without_an_embedding_is_predicted_as_nan(name: str, quick: None):
    head = HEADS[name]()
    embeddings, targets = rows()
    head.fit(embeddings, targets)
    one_missing = embeddings.copy()
    one_missing[3] = np.nan
    predictions = head.predict(one_missing)
    assert np.flatnonzero(np.isnan(predictions)).tolist() == [3]


@pytest.mark.parametrize("name", HEADS)
def test_no_crystals_get_no_predictions(name: str, quick: None):
    head = HEADS[name]()
    head.fit(*rows())
    assert head.predict(np.zeros((0, WIDTH), np.float32)).shape == (0,)


@pytest.mark.parametrize(
    ("name", "count"), [("linear", 0), ("neural", 9), ("boosted", 9), ("boosted", 0)]
)
def test_too_few_rows_are_refused_in_one_line(name: str, count: int):
    with pytest.raises(ValueError, match=rf"^{name} head: needs at least \d+ rows .*{count}$"):
        HEADS[name]().fit(np.zeros((count, WIDTH), np.float32), np.zeros(count))


@pytest.mark.parametrize("name", config.HEADS)
def test_rows_that_cannot_be_learned_from_are_refused_in_one_line(name: str):
    embeddings, targets = rows()
    missing = np.where(np.arange(ROWS) < 2, np.nan, targets)
    with pytest.raises(ValueError, match=f"{name} head: 2 of {ROWS} targets not finite"):
        HEADS[name]().fit(embeddings, missing)
    with pytest.raises(ValueError, match=f"{name} head: 1 of {ROWS} embeddings not finite"):
        HEADS[name]().fit(
            np.where(np.eye(ROWS, WIDTH) * [1, 0, 0, 0, 0, 0], np.inf, embeddings), targets
        )
    with pytest.raises(ValueError, match=rf"{name} head: .* got \(120, 6\) and \(119,\)"):
        HEADS[name]().fit(embeddings, targets[1:])


def test_linear_is_exact_where_the_target_is_linear_and_columns_repeat():
    embeddings, _ = rows()
    repeated = np.concatenate(
        [embeddings, embeddings, np.ones((ROWS, 1))], axis=1, dtype=np.float32
    )
    targets = embeddings.astype(np.float64) @ np.arange(WIDTH) - 5
    head = LinearHead()
    head.fit(repeated, targets)
    assert head.chosen == {"rank": WIDTH}
    np.testing.assert_allclose(head.predict(repeated), targets, atol=1e-10)


def test_linear_with_fewer_rows_than_columns_passes_through_them():
    embeddings, targets = rows(3)
    head = LinearHead()
    head.fit(embeddings, targets)
    np.testing.assert_allclose(head.predict(embeddings), targets, atol=1e-9)


@pytest.mark.parametrize(("count", "sizes"), [(65, [32, 33]), (66, [32, 32, 2]), (1, [1])])
def test_a_last_batch_of_one_joins_the_one_before(count: int, sizes: list[int]):
    import torch

    parts = neural.batches(torch.arange(count))
    assert [len(part) for part in parts] == sizes
    assert torch.cat(parts).tolist() == list(range(count))


def test_batch_norm_learns_in_every_epoch_and_the_best_network_is_a_copy():
    import torch

    embeddings, _ = rows()
    noise = np.random.default_rng(0).normal(size=ROWS)  # so that later is not always better
    training, validation = (embeddings[:65], noise[:65]), (embeddings[65:], noise[65:])
    torch.manual_seed(0)
    network, epoch, errors = neural.train_network(training, validation, epochs=40)
    assert 1 < epoch < 40
    assert errors[epoch - 1] == min(errors)
    norm = network[1]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.num_batches_tracked == 2 * epoch
    with torch.no_grad():
        again = network(torch.tensor(validation[0]))[:, 0].double().numpy()
    assert np.abs(again - validation[1]).mean() == pytest.approx(min(errors), rel=1e-6)


def test_the_neural_head_takes_steps_of_adam_on_the_mean_absolute_error():
    import torch

    embeddings, targets = rows()
    torch.manual_seed(0)
    trained = neural.train_network((embeddings, targets), (embeddings, targets), epochs=1).network
    torch.manual_seed(0)
    plain = neural._build(embeddings.shape[1])
    optimizer = torch.optim.Adam(plain.parameters(), lr=5e-4, weight_decay=1e-5, fused=True)
    learned, wanted = torch.tensor(embeddings), torch.tensor(targets, dtype=torch.float32)
    for batch in torch.randperm(len(learned)).split(32):
        optimizer.zero_grad()
        (plain(learned[batch])[:, 0] - wanted[batch]).abs().mean().backward()
        optimizer.step()
    for name, part in plain.state_dict().items():
        assert torch.equal(part, trained.state_dict()[name]), name


def test_the_folded_network_equals_the_trained_one():
    import torch

    embeddings, targets = rows()
    torch.manual_seed(0)
    trained = neural.train_network((embeddings, targets), (embeddings, targets), epochs=3)
    with torch.no_grad():
        plain = trained.network(torch.tensor(embeddings))[:, 0].double().numpy()
    folded = neural.fold(trained.network, mean=-2.0, scale=0.5)
    np.testing.assert_allclose(folded(embeddings), plain * 0.5 - 2, atol=1e-5)


def test_the_neural_head_predicts_a_row_the_same_whatever_rows_are_beside_it(quick: None):
    head = NeuralHead()
    head.fit(*rows())
    embeddings, _ = rows(neural.ROWS_AT_ONCE + 40, seed=2)
    alone = [head.predict(embeddings[row : row + 1])[0] for row in range(len(embeddings))]
    np.testing.assert_allclose(head.predict(embeddings), alone, rtol=1e-13)
    assert head.predict(embeddings[:0]).shape == (0,)


def test_the_neural_fit_leaves_torch_as_it_was(quick: None):
    import torch

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    NeuralHead(threads=threads + 1).fit(*rows())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_boosted_reads_each_number_of_trees_from_one_fit():
    embeddings, targets = rows()
    head = BoostedHead(seed=3)
    long = head._train(embeddings, targets, boosted.BoostedSettings(depth=4, trees=40))
    short = head._train(embeddings, targets, boosted.BoostedSettings(depth=4, trees=15))
    np.testing.assert_array_equal(
        long.inplace_predict(embeddings, iteration_range=(0, 15)), short.inplace_predict(embeddings)
    )


def test_boosted_chooses_what_a_fit_of_every_size_would(quick: None):
    embeddings, targets = rows()
    head = BoostedHead(seed=3)
    head.fit(embeddings, targets)
    kept, held = boosted.hold_out(ROWS, 0.2, 3)
    errors = {
        (depth, trees): np.abs(
            head._train(
                embeddings[kept], targets[kept], boosted.BoostedSettings(depth, trees)
            ).inplace_predict(embeddings[held])
            - targets[held]
        ).mean()
        for depth in boosted.DEPTHS
        for trees in boosted.TREES
    }
    assert tuple(head.chosen.values()) == min(errors, key=errors.__getitem__)


def test_linear_reaches_the_published_fit_on_published_embeddings(reference_dir: Path):
    table = pq.read_table(reference_dir / "emrl_hoip_embeddings.parquet")
    targets = table["band_gap"].to_numpy()
    embeddings = np.stack(table["embedding"].to_numpy())
    head = LinearHead()
    head.fit(embeddings, targets)
    assert np.abs(head.predict(embeddings) - targets).mean() == pytest.approx(0.0777, abs=5e-4)
