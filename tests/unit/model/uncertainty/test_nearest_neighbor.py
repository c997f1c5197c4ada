"""The nearest known crystals are those of a plain search through all, whatever the embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrl_ray.io.parquet import read_table
from emrl_ray.model.uncertainty import NearestNeighborIndex
from emrl_ray.model.uncertainty.nearest_neighbor import ROWS_AT_ONCE
from tests.support.examples import examples


def plain(references, queries):
    """Search through all references in float64; the first of those that are equally near."""
    index, distance = [], []
    for query in queries.astype(np.float64):
        distances = np.sqrt(((references.astype(np.float64) - query) ** 2).sum(axis=1))
        index.append(int(distances.argmin()))
        distance.append(distances.min())
    return np.array(index), np.array(distance)


def assert_exact(references, queries):
    index, distance = NearestNeighborIndex(references).query(queries)
    expected_index, expected_distance = plain(references, queries)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(distance, expected_distance, rtol=1e-12, atol=0)


def cloud(random, count, width, decay):
    """Return embeddings (count, width) whose extent falls by `decay` from axis to axis."""
    axes = np.linalg.qr(random.normal(size=(width, width)))[0]
    return (random.normal(size=(count, width)) * decay ** np.arange(width)) @ axes


@examples(60)
@given(
    count=st.integers(1, 400),
    width=st.sampled_from([1, 2, 15, 16, 17, 40]),
    decay=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e15]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_index_and_distance_are_those_of_a_plain_search(count, width, decay, scale, offset, seed):
    random = np.random.default_rng(seed)
    rows = (scale * (cloud(random, count + 20, width, decay) + offset)).astype(np.float32)
    references, others = rows[:count], rows[count:]
    alien = (scale * 10 * random.normal(size=(5, width))).astype(np.float32)
    assert_exact(references, np.concatenate([others, references[:20], alien]))


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 4))
def test_of_references_that_are_equally_near_the_first_is_taken(seed, width):
    random = np.random.default_rng(seed)
    on_a_grid = random.integers(0, 3, (300, width)).astype(np.float32)  # many are duplicates
    between = random.integers(0, 6, (50, width)).astype(np.float32) / 2
    assert_exact(on_a_grid, between)


def test_embeddings_on_a_sphere_and_aliens_are_searched_exactly():
    random = np.random.default_rng(0)
    embeddings = cloud(random, 3000, 128, 0.4) + 1
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    alien = random.normal(size=(100, 128))
    alien = (alien / np.linalg.norm(alien, axis=1, keepdims=True)).astype(np.float32)
    assert_exact(embeddings[:2500], np.concatenate([embeddings[2500:], alien]))


def test_the_published_embeddings_are_searched_exactly(reference_dir):
    table = read_table(str(reference_dir / "emrl_hoip_embeddings.parquet"), ["embedding"])
    embeddings = table.column(0).combine_chunks().flatten().to_numpy().reshape(-1, 128)
    assert_exact(embeddings[::2], embeddings[1::2])


def test_what_a_row_gets_does_not_depend_on_the_other_rows():
    random = np.random.default_rng(1)
    references = cloud(random, 500, 32, 0.5).astype(np.float32)
    queries = cloud(random, 2 * ROWS_AT_ONCE + 7, 32, 0.5).astype(np.float32)
    search = NearestNeighborIndex(references)
    together = np.stack(search.query(queries))
    order = random.permutation(len(queries))
    np.testing.assert_array_equal(np.stack(search.query(queries[order])), together[:, order])
    for row in range(0, len(queries), 97):
        alone = np.stack(search.query(queries[row : row + 1]))
        np.testing.assert_array_equal(alone[:, 0], together[:, row])


def test_a_row_that_is_not_finite_has_no_nearest_and_leaves_the_others_alone():
    random = np.random.default_rng(2)
    search = NearestNeighborIndex(random.normal(size=(50, 8)).astype(np.float32))
    queries = random.normal(size=(4, 8)).astype(np.float32)
    index, distance = search.query(queries)
    broken = queries.copy()
    broken[1], broken[2, 3] = np.nan, np.inf
    found_index, found_distance = search.query(broken)
    assert found_index.tolist() == [index[0], -1, -1, index[3]]
    np.testing.assert_array_equal(found_distance, [distance[0], np.nan, np.nan, distance[3]])


def test_without_references_no_row_has_a_nearest():
    index, distance = NearestNeighborIndex(np.zeros((0, 8), np.float32)).query(
        np.ones((3, 8), np.float32)
    )
    assert index.tolist() == [-1, -1, -1]
    assert np.isnan(distance).all()


def test_no_rows_get_no_answers():
    index, distance = NearestNeighborIndex(np.ones((3, 8), np.float32)).query(
        np.ones((0, 8), np.float32)
    )
    assert (index.shape, distance.shape) == ((0,), (0,))


def test_what_cannot_be_searched_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"nearest known: \(1, 2\): finite embeddings \(n, m\)"):
        NearestNeighborIndex(np.array([[0, np.nan]], np.float32))
    with pytest.raises(ValueError, match=r"nearest known: \(1, 3\): must be \(B, 2\)"):
        NearestNeighborIndex(np.zeros((5, 2), np.float32)).query(np.zeros((1, 3), np.float32))
