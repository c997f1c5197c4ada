"""From a trained network to a model: what of its crystals it keeps, and how it knows them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from safetensors import numpy as safetensors

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.schema import GEOMETRY, crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from emrl_ray.model import artifact as artefact
from emrl_ray.model import fit as fitting
from emrl_ray.model.uncertainty import ApplicabilityDomain, NearestNeighborIndex
from tests.support.models import make_model, random_crystals
from tests.support.paths import STORED

LIMITS = ValidationLimits(1000, 400_000)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> str:
    return make_model(tmp_path_factory.mktemp("models") / "model", test=0.2)


@pytest.fixture(scope="module")
def model(place) -> Model:
    return Model.load(place)


def with_other_ids(crystals: pa.Table) -> pa.Table:
    names = pa.array([f"other-{row}" for row in range(crystals.num_rows)])
    return crystals.set_column(crystals.column_names.index("id"), "id", names)


def doubled(crystals: pa.Table) -> pa.Table:
    """Return the supercells of two cells along a."""
    batch = CrystalBatch.from_arrow(crystals)
    parts = []
    for row in range(batch.n_crystals):
        one = batch.slice(row, row + 1)
        half = one.frac_coords * [0.5, 1, 1]
        parts.append(
            CrystalBatch(
                one.lattice * np.array([[2.0], [1], [1]]),
                np.tile(one.atomic_numbers, 2),
                np.concatenate([half, np.array([0.5, 0, 0]) + half]),
                2 * one.offsets,
            )
        )
    names = [f"doubled-{row}" for row in range(batch.n_crystals)]
    return crystals_table(CrystalBatch.concatenate(parts), names, names)


def test_every_labelled_crystal_is_known_again_under_another_id(model):
    assert model.held_out is not None
    crystals = read_crystals_of(model)
    found, rejects = model.predict(with_other_ids(crystals), LIMITS)
    assert not rejects
    assert found.column("known_id").to_pylist() == crystals.column("id").to_pylist()
    parts = set(model.held_out.column("part").to_pylist())
    assert parts == {"calibration", "test"}
    assert crystals.num_rows == model.reference.num_rows + model.held_out.num_rows
    new, _ = model.predict(random_crystals(30, 9), LIMITS)
    assert new.column("known_id").null_count == new.num_rows > 10


def read_crystals_of(model: Model) -> pa.Table:
    """Return all crystals of a model's training, with the geometry of the table they came from."""
    crystals = random_crystals(80)
    ids = pa.concat_arrays(
        [table.column("id").combine_chunks() for table in (model.reference, model.held_out)]
    )
    return crystals.take(pc.index_in(ids, crystals.column("id").combine_chunks()))


def test_a_model_keeps_the_geometry_of_every_row(model):
    crystals = read_crystals_of(model).select(GEOMETRY)
    kept = pa.concat_tables([table.select(GEOMETRY) for table in (model.reference, model.held_out)])
    assert kept.to_pydict() == crystals.to_pydict()


def test_a_training_crystal_is_in_the_domain_in_any_cell(model):
    largest = model.reference.filter(
        pc.equal(pc.list_value_length(model.reference.column("atomic_numbers")), 5)
    )
    assert largest.num_rows > 3
    found, _ = model.predict(doubled(largest), LIMITS)
    assert found.column("known_id").to_pylist() == largest.column("id").to_pylist()
    assert found.column("in_domain").to_pylist() == [True] * largest.num_rows
    batch = CrystalBatch.from_arrow(doubled(largest))
    features = model.representation.embed_with_features(batch)[1]
    assert model.trust.domain is not None
    reasons = model.trust.domain.reasons(
        batch, find_contacts(batch), features, np.zeros(batch.n_crystals)
    )
    assert set(reasons) == {"atoms 10"}


def test_the_domain_is_embedded_by_slices(model, monkeypatch):
    crystals = model.reference.select(GEOMETRY)
    whole = fitting._domain(model.representation, crystals, 1).to_arrays()
    seen = []

    class Watched:
        width = model.representation.width

        def embed_with_features(self, batch):
            seen.append(batch.n_crystals)
            return model.representation.embed_with_features(batch)

    monkeypatch.setattr(fitting, "CRYSTALS_AT_ONCE", 17)
    parts = fitting._domain(Watched(), crystals, 1)
    assert max(seen) == 17
    assert sum(seen) == crystals.num_rows
    for name, values in parts.to_arrays().items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-5, atol=1e-6)


def test_an_element_in_fewer_crystals_than_asked_for_counts_as_unseen(tmp_path):
    reference = Model.load(make_model(tmp_path / "plain")).reference
    has = [{*numbers} for numbers in reference.column("atomic_numbers").to_pylist()]
    counts = {number: sum(number in one for one in has) for number in (8, 26, 55, 82)}
    rarest = min(counts, key=counts.__getitem__)
    strict = Model.load(make_model(tmp_path / "strict", min_occurrences=counts[rarest] + 1))
    assert strict.card.hyperparameters["min_occurrences"] == counts[rarest] + 1
    assert isinstance(strict.trust.domain, ApplicabilityDomain)
    seen = np.flatnonzero(strict.trust.domain.elements)
    assert seen.tolist() == sorted(n for n in counts if counts[n] > counts[rarest])


class Stored:
    """A head whose predictions stand in a table, at the row that an embedding names."""

    def __init__(self, errors: np.ndarray) -> None:
        self.errors = errors

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        return self.errors[embeddings[:, 0].astype(int)]


def test_the_best_head_is_calibrated_as_if_it_had_been_chosen_without_the_row():
    errors = np.random.default_rng(3).normal(size=(2, 24))
    errors[1] *= np.abs(errors[0]).sum() / np.abs(errors[1]).sum() * 1.01  # nearly as good
    heads = {"linear": Stored(errors[0]), "boosted": Stored(errors[1])}
    rows = np.arange(24)
    embeddings = rows[:, None].astype(np.float32)
    names = pa.array([str(row) for row in rows])
    labels = fitting.Labels(rows, names, names, np.zeros(24), None, None)
    made = fitting._calibrations(
        heads, "linear", embeddings, NearestNeighborIndex(embeddings), labels, rows
    )
    expected = []
    for row in rows:
        others = np.abs(np.delete(errors, row, axis=1)).mean(axis=1)
        expected.append(-errors[others.argmin(), row])
    assert not np.allclose(expected, -errors[0])
    np.testing.assert_allclose(made["linear"].ratios, np.sort(expected))
    np.testing.assert_allclose(made["boosted"].ratios, np.sort(-errors[1]))


def test_no_contacts_are_looked_for_where_nothing_needs_them(model, monkeypatch):
    monkeypatch.setattr(artefact, "find_contacts", lambda _: pytest.fail("contacts were found"))
    old = Model.load(str(STORED / "model-format-1"))
    found, _ = old.predict(random_crystals(20, 7), LIMITS)
    assert found.column("known_id").null_count == found.num_rows > 0


def test_held_out_rows_without_geometry_are_a_damaged_model(place, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(place, folder)
    rows = read_table(f"{place}/held_out.parquet").drop_columns("lattice")
    write_parquet(rows, resolve(folder) / "held_out.parquet")
    with pytest.raises(ValueError, match=r"held_out\.parquet has no column lattice"):
        Model.load(str(folder))


@pytest.mark.parametrize(
    ("file", "array", "shape"),
    [
        ("domain.safetensors", "limits", (1,)),
        ("network.safetensors", "element_layer.weight", (64, 3)),
        ("network.safetensors", "pair_layer.bias", (3,)),
    ],
)
def test_arrays_of_another_shape_are_a_damaged_model_in_one_line(
    place, tmp_path, file, array, shape
):
    folder = Path(shutil.copytree(place, tmp_path / "model"))
    arrays = safetensors.load((folder / file).read_bytes())
    assert arrays[array].shape != shape
    arrays[array] = np.zeros(shape)
    (folder / file).write_bytes(safetensors.save(arrays))
    with pytest.raises(ValueError, match=r"model: a damaged model: ") as caught:
        Model.load(str(folder))
    assert "\n" not in str(caught.value)
