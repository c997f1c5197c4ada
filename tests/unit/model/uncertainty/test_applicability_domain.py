"""The domain: crystals like the training set are inside, others outside, with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.model.uncertainty import ApplicabilityDomain, NearestNeighborIndex
from emrl_ray.model.uncertainty.applicability_domain import SIZES
from emrl_ray.model.uncertainty.feature_distance import SHARE, FeatureSpace, distances_apart, limit
from emrl_ray.screening.domain_counts import WORDS
from tests.support.crystals import ROCK_SALT


def rock_salts(count: int, seed: int = 0) -> CrystalBatch:
    """Return rock salts of Na, Cl and K, Br with lattices that differ by some percent."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(1, 0.02, (count, 1, 1))
    numbers = np.tile([[11, 17], [19, 35]], (count, 1))[:count].astype(np.uint8)
    return CrystalBatch(
        ROCK_SALT.lattice * factor * (1 + 0.1 * (numbers[:, :1, None] == 19)),
        numbers.ravel(),
        np.tile(ROCK_SALT.frac_coords, (count, 1)),
        np.arange(0, 2 * count + 1, 2),
    )


def features_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def domain() -> ApplicabilityDomain:
    batch = rock_salts(400)
    return ApplicabilityDomain.fit(
        batch, find_contacts(batch), features_of(400), features_of(400, 1)
    )


def reasons(domain: ApplicabilityDomain, batch: CrystalBatch, **far: float) -> list[str | None]:
    """Return the reasons for crystals that are, but for `far`, right among the training crystals."""
    count = batch.n_crystals
    features = np.zeros((count, 6), np.float32) + far.get("features", 0.0)
    return domain.reasons(
        batch, find_contacts(batch), features, np.full(count, far.get("embedding", 0.0))
    )


def test_what_is_like_the_training_set_is_inside_but_for_the_share_allowed(domain):
    new = rock_salts(4000, seed=7)
    distances = np.zeros(4000)
    found = domain.reasons(new, find_contacts(new), features_of(4000, 8), distances)
    outside = np.mean([reason is not None for reason in found])
    assert 0 < outside < 2.5 * SHARE


def test_the_first_reason_is_given_and_says_what(domain):
    one = rock_salts(1)
    hafnium = one._replace(atomic_numbers=np.array([72, 17], np.uint8))
    swapped = one._replace(atomic_numbers=np.array([11, 35], np.uint8))
    wide = one._replace(lattice=one.lattice * 1.3)
    assert reasons(domain, one) == [None]
    assert reasons(domain, hafnium) == ["unseen_element Hf"]
    assert reasons(domain, swapped) == ["unseen_pair Na-Br"]
    assert reasons(domain, wide)[0].startswith("pair_distance Na-Cl 3.6")
    assert reasons(domain, one, features=9.0) == ["features"]
    assert reasons(domain, one, embedding=9.0) == ["embedding"]


@pytest.mark.parametrize("size", range(len(SIZES)))
@pytest.mark.parametrize("end", ["below", "above"])
def test_a_size_out_of_its_range_is_told_with_its_value(domain, size, end):
    lattice = ROCK_SALT.lattice[0]
    one = rock_salts(1)._replace(lattice=lattice[None])
    sizes = np.array([abs(np.linalg.det(lattice)) / 2, 2.8, 2.0])
    ranges = np.stack([sizes - 0.01, sizes + 0.01], axis=1)
    assert reasons(domain._replace(ranges=ranges), one) == [None]
    ranges[size] += 0.02 if end == "below" else -0.02
    (reason,) = reasons(domain._replace(ranges=ranges), one)
    assert reason == f"{SIZES[size]} {sizes[size]:.4g}"


def test_the_report_has_words_for_every_reason(domain):
    one = rock_salts(1)
    strange = {
        "unseen_element": one._replace(atomic_numbers=np.array([72, 17], np.uint8)),
        "unseen_pair": one._replace(atomic_numbers=np.array([11, 35], np.uint8)),
        "pair_distance": one._replace(lattice=one.lattice * 1.3),
    }
    found = [reasons(domain, crystal)[0] for crystal in strange.values()]
    for size, name in enumerate(SIZES):
        ranges = domain.ranges.copy()
        ranges[size] = np.inf
        found += reasons(domain._replace(ranges=ranges), one)
        assert found[-1].split()[0] == name
    found += [*reasons(domain, one, features=9.0), *reasons(domain, one, embedding=9.0)]
    codes = [reason.split()[0] for reason in found]
    assert codes == [*strange, *SIZES, "features", "embedding"]
    assert set(WORDS) == {*codes, "unknown"}


def test_an_element_in_too_few_crystals_counts_as_unseen():
    batch = rock_salts(40)
    numbers = batch.atomic_numbers.copy()
    numbers[0] = 37
    batch = batch._replace(atomic_numbers=numbers)
    strict = ApplicabilityDomain.fit(
        batch, find_contacts(batch), None, features_of(40), min_occurrences=2
    )
    plain = ApplicabilityDomain.fit(batch, find_contacts(batch), None, features_of(40))
    first = batch.slice(0, 1)
    assert reasons(strict, first) == ["unseen_element Rb"]
    assert reasons(plain, first) == [None]


@pytest.mark.parametrize("features", [True, False])
def test_a_domain_survives_its_arrays(domain, features):
    domain = domain if features else domain._replace(features=None)
    again = ApplicabilityDomain.from_arrays(domain.to_arrays())
    new = rock_salts(200, seed=3)
    values = features_of(200, 9) * 2
    judged = [
        made.reasons(new, find_contacts(new), values, values[:, 0]) for made in (domain, again)
    ]
    assert judged[0] == judged[1]
    assert (again.features is None) == (domain.features is None)
    assert again.embedding_limit == domain.embedding_limit


def test_far_features_are_measured_to_the_nearest_training_crystal():
    known = np.concatenate([features_of(300), features_of(300, 1) + 20])
    space = FeatureSpace.fit(known)
    between, near = np.full((1, 6), 10, np.float32), known[:1] + 0.01
    assert space.far(between).tolist() == [True]
    assert space.far(near).tolist() == [False]
    assert np.mean(space.far(features_of(2000, 5))) < 4 * SHARE


def test_a_feature_that_no_training_crystal_shows_is_far_where_one_does():
    silent = np.concatenate([features_of(300), np.zeros((300, 60), np.float32)], axis=1)
    alien = silent[:1].copy()
    alien[0, 20] = 50
    space = FeatureSpace.fit(silent)
    assert space.far(np.concatenate([silent[:1], alien])).tolist() == [False, True]


def test_a_rare_feature_off_the_principal_axes_is_far_where_it_is_strong():
    random = np.random.default_rng(0)
    usual = random.normal(size=(400, 40)) @ random.normal(size=(40, 80))
    rare = np.zeros((400, 1))
    rare[7] = 1
    known = np.concatenate([usual, rare], axis=1).astype(np.float32)
    alien = known[:1].copy()
    alien[0, -1] = 50
    assert FeatureSpace.fit(known).far(alien).tolist() == [True]


def test_crystals_whose_features_are_all_equal_know_no_others():
    space = FeatureSpace.fit(np.ones((20, 5), np.float32))
    assert space.far(np.array([[1.0] * 5, [1, 1, 1, 1, 1.01]])).tolist() == [False, True]


def test_distances_apart_leave_each_place_itself_out():
    places = features_of(50)
    plain = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(plain, np.inf)
    np.testing.assert_allclose(distances_apart(places), plain.min(axis=1), rtol=1e-6)
    twins = np.concatenate([places[:3], places[:3], places[:1]])
    assert distances_apart(twins).tolist() == [0] * 7


@pytest.mark.parametrize("directions", [1, 2, 8])
def test_embeddings_that_hardly_differ_are_beyond_their_limit_as_seldom_as_others(directions):
    random = np.random.default_rng(2)
    center = random.normal(size=128)
    axes = random.normal(size=(directions, 128)) / np.sqrt(128)
    apart = 3e-4 * random.normal(size=(3000, directions)) @ axes
    places = (center / np.linalg.norm(center) + apart).astype(np.float32)
    known, new = places[:1000], places[1000:]
    longest = limit(distances_apart(known))
    _, distance = NearestNeighborIndex(known).query(new)
    assert 0 < np.mean(distance > longest) < 2.5 * SHARE


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("elements", (118,)), ("ranges", (3,)), ("pair_low", (1,)), ("pair_pair", (2, 2))),
        *(("limits", ()), ("limits", (1,)), ("limits", (4,)), ("feature_unit", (5,))),
        *(("feature_mean", (7,)), ("feature_axes", (36,)), ("feature_references", (0, 7))),
    ],
)
def test_stored_arrays_of_other_shapes_are_refused(domain, name, shape):
    arrays = domain.to_arrays()
    assert ApplicabilityDomain.from_arrays(arrays).embedding_limit == domain.embedding_limit
    with pytest.raises(ValueError, match=r"^\w+ of the domain has the shape \(.*\), not \(\d"):
        ApplicabilityDomain.from_arrays(arrays | {name: np.zeros(shape)})
