"""Splits, metrics and floors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrl_ray.training.evaluation import baselines, mae, r2, score, split_rows


@given(
    count=st.integers(10, 200),
    test=st.sampled_from([0.1, 0.2, 0.25]),
    calibration=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 9),
)
def test_a_random_split_has_exact_shares_and_every_row_once(
    count: int, test: float, calibration: float, seed: int
):
    split = split_rows(count, test, calibration, "random", seed)
    assert len(split.test) == round(count * test)
    assert len(split.calibration) == round(count * calibration)
    assert sorted(np.concatenate(split)) == list(range(count))


def test_the_test_set_of_hoip_has_269_rows():
    assert len(split_rows(1345, test=0.2).test) == 269


@given(groups=st.lists(st.integers(0, 30), min_size=60, max_size=200), seed=st.integers(0, 9))
def test_a_split_by_formula_never_divides_a_composition(groups: list[int], seed: int):
    formulas = [f"X{group}" for group in groups] + [f"Y{row}" for row in range(40)]
    split = split_rows(formulas, 0.2, 0.1, "formula", seed)
    parts = [{formulas[row] for row in part} for part in split]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert sorted(np.concatenate(split)) == list(range(len(formulas)))
    largest = max(formulas.count(name) for name in formulas)
    assert abs(len(split.test) - 0.2 * len(formulas)) <= largest / 2 + 1
    assert len(split.calibration) >= 1


@pytest.mark.parametrize("kind", ["random", "formula"])
def test_a_split_depends_on_its_seed_alone(kind):
    formulas = [f"X{row // 2}" for row in range(100)]
    first, same, other = (split_rows(formulas, 0.2, 0.1, kind, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize("kind", ["random", "formula"])
def test_the_test_rows_do_not_depend_on_the_calibration_share(kind):
    formulas = [f"X{row // 2}" for row in range(100)]
    without, with_calibration = (split_rows(formulas, 0.2, c, kind) for c in (0.0, 0.1))
    assert np.array_equal(without.test, with_calibration.test)


def test_formulas_may_be_a_column_and_rows_without_one_stay_together():
    formulas: list[str | None] = ["NaCl", None, "MgO", None, "LiF"] * 4
    column = pa.chunked_array([pa.array(formulas[:7]), pa.array(formulas[7:])])
    split = split_rows(column, 0.3, 0.0, "formula")
    assert split_rows(formulas, 0.3, 0.0, "formula").test.tolist() == split.test.tolist()
    assert len({formulas[row] for row in split.test} & {formulas[row] for row in split.train}) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 7, "test": 0.2}, "cannot split 7 rows: at least 10"),
        ({"rows": 20, "test": 1.2}, r"test share 1.2: must lie in \[0, 1\)"),
        ({"rows": 20, "calibration": -0.1}, "calibration share -0.1"),
        ({"rows": 20, "test": 0.6, "calibration": 0.4}, "leave no training"),
        ({"rows": 20, "test": 0.01}, "leave no test rows in a random split of 20 rows"),
        ({"rows": 20, "test": 0.2, "kind": "formula"}, "needs the formulas"),
        ({"rows": 20, "test": 0.2, "kind": "time"}, "'time': choose from random, formula"),
        ({"rows": ["NaCl"] * 20, "test": 0.2, "kind": "formula"}, r"no test rows .* \(1 groups\)"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        split_rows(**arguments)
    assert "\n" not in str(error.value)


def test_metrics_of_known_values():
    targets = np.array([1.0, 2.0, 3.0, 4.0])
    predictions = np.array([2.0, 1.0, 3.0, 4.0])
    assert mae(predictions, targets) == 0.5
    assert r2(predictions, targets) == pytest.approx(1 - 2 / 5)
    assert r2(np.full(4, 2.5), targets) == 0
    assert score(targets, targets) == (0, 1)


def test_r2_of_equal_targets_is_finite():
    targets = np.full(3, 0.1)
    assert r2(targets, targets) == 1
    assert r2(targets + 1, targets) == 0


def test_floors_are_the_means_of_all_and_of_the_composition():
    got = baselines(
        np.array([1.0, 3.0, 8.0]), ["NaCl", "NaCl", "MgO"], np.array([2.0, 5.0]), ["NaCl", "LiF"]
    )
    assert got.mean.mae == pytest.approx((2 + 1) / 2)
    assert got.composition.mae == pytest.approx((0 + 1) / 2)


def test_floors_of_hoip_are_those_known(data_dir):
    import pyarrow.parquet as pq

    table = pq.read_table(data_dir / "hoip.parquet", columns=["formula", "band_gap"])
    targets, formulas = table["band_gap"].to_numpy(), table["formula"]
    errors = []
    for seed in range(10):
        train, _, test = split_rows(table.num_rows, 0.2, seed=seed)
        errors.append(
            baselines(
                targets[train], formulas.take(train), targets[test], formulas.take(test)
            ).composition.mae
        )
    assert np.mean(errors) == pytest.approx(0.342, abs=0.013)
