"""Calibration: intervals hold their confidence, probabilities are shares of residuals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrl_ray.model.uncertainty import ConformalCalibration, residuals_of_best
from emrl_ray.model.uncertainty.conformal import fit_residual_scale, interval_score
from tests.support.examples import examples

# eighths are exact in binary, so that a bound of a window can be met exactly
eighths = st.integers(-80, 80).map(lambda value: value / 8)
residual_lists = st.lists(eighths, min_size=1, max_size=40)


@examples(25)
@given(
    count=st.integers(1, 60),
    confidence=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
    tail=st.sampled_from(["normal", "standard_cauchy", "standard_exponential"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_intervals_cover_exchangeable_rows_with_their_confidence(count, confidence, tail, seed):
    draws = 3000
    residuals = getattr(np.random.default_rng(seed), tail)(size=(draws, count + 1))
    covered = 0
    for row in residuals:
        lower, upper = ConformalCalibration(row[:-1]).interval(np.zeros(1), np.zeros(1), confidence)
        covered += lower[0] <= row[-1] <= upper[0]
    expected = min(1.0, math.ceil((count + 1) * confidence - 1e-9) / (count + 1))
    assert expected >= confidence - 1e-9
    assert covered / draws == pytest.approx(expected, abs=6 * 0.5 / math.sqrt(draws))


def test_the_interval_is_the_finite_sample_quantile():
    calibration = ConformalCalibration(np.array([-9, 8, -7, 6, 5, 4, -3, 2, 1]))
    lower, upper = calibration.interval(np.array([0.0, 10.0]), np.zeros(2), confidence=0.9)
    assert (lower.tolist(), upper.tolist()) == ([-9, 1], [9, 19])
    assert calibration.half_width(0.5) == 5


def test_too_few_residuals_for_the_confidence_give_an_infinite_interval():
    lower, upper = ConformalCalibration(np.arange(8)).interval(
        np.zeros(2), np.zeros(2), confidence=0.9
    )
    assert np.isneginf(lower).all()
    assert np.isposinf(upper).all()
    assert ConformalCalibration(np.arange(9)).half_width(0.9) == 8


@given(
    residuals=residual_lists,
    predictions=st.lists(eighths, min_size=1, max_size=10),
    ends=st.tuples(eighths, eighths).map(sorted),
)
def test_p_in_window_is_the_share_of_residuals_that_lead_into_it(residuals, predictions, ends):
    low, high = ends
    got = ConformalCalibration(residuals).p_in_window(
        np.array(predictions), np.zeros(len(predictions)), low, high
    )
    plain = [np.mean([low <= p + r <= high for r in residuals]) for p in predictions]
    np.testing.assert_allclose(got, plain, atol=1e-15)
    assert ((got >= 0) & (got <= 1)).all()


@given(residuals=residual_lists, prediction=eighths, bounds=st.tuples(*[eighths] * 4).map(sorted))
def test_a_wider_window_is_never_less_likely(residuals, prediction, bounds):
    calibration, predictions = ConformalCalibration(residuals), np.array([prediction])
    wide = calibration.p_in_window(predictions, np.zeros(1), bounds[0], bounds[3])
    narrow = calibration.p_in_window(predictions, np.zeros(1), bounds[1], bounds[2])
    assert wide >= narrow


@given(residuals=residual_lists, prediction=eighths, bound=eighths)
def test_open_ends_reach_to_infinity(residuals, prediction, bound):
    calibration, predictions = ConformalCalibration(residuals), np.array([prediction])
    assert calibration.p_in_window(predictions, np.zeros(1), -math.inf, math.inf) == 1
    above = calibration.p_in_window(predictions, np.zeros(1), bound, math.inf)
    below = calibration.p_in_window(predictions, np.zeros(1), -math.inf, bound)
    on_it = calibration.p_in_window(predictions, np.zeros(1), bound, bound)
    assert above + below - on_it == pytest.approx(1)


@given(residuals=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_a_calibration_survives_json_exactly(residuals):
    calibration = ConformalCalibration(residuals)
    again = ConformalCalibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert np.array_equal(again.ratios, calibration.ratios)


def test_what_is_no_calibration_is_refused_in_one_line():
    for unusable in ([], [0.1, math.nan]):
        with pytest.raises(ValueError, match="calibration needs finite residuals"):
            ConformalCalibration(unusable)
    with pytest.raises(ValueError, match="method 'magic': must be 'split conformal'"):
        ConformalCalibration.from_json({"method": "magic", "residuals": [1.0]})
    with pytest.raises(KeyError, match="ratios"):
        ConformalCalibration.from_json({"method": "split conformal", "residuals": [1.0]})
    with pytest.raises(ValueError, match=r"confidence 90: must lie in \(0, 1\)"):
        ConformalCalibration([1.0]).half_width(90)
    with pytest.raises(ValueError, match="window 2:1: its low end"):
        ConformalCalibration([1.0]).p_in_window(np.zeros(1), np.zeros(1), 2, 1)


def uneven_residuals(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals that are the larger the further the nearest known crystal is, and how far."""
    rng = np.random.default_rng(seed)
    distances = np.exp(rng.normal(-2, 1, count))
    return rng.normal(size=count) * distances**0.8, distances


def test_intervals_grow_with_the_distance_where_residuals_do():
    residuals, distances = uneven_residuals(300)
    calibration = ConformalCalibration(residuals, distances)
    assert calibration.scores is not None
    assert calibration.scores.scaled < 0.9 * calibration.scores.constant
    lower, upper = calibration.interval(np.zeros(2), np.array([0.05, 0.5]))
    assert upper[1] - lower[1] > 3 * (upper[0] - lower[0])
    new, far = uneven_residuals(4000, 1)
    lower, upper = calibration.interval(np.zeros(4000), far)
    assert 0.86 < np.mean((lower <= new) & (new <= upper)) < 0.94
    constant = ConformalCalibration(residuals).interval(np.zeros(4000), far)
    scores = [interval_score(*ends, new).mean() for ends in ((lower, upper), constant)]
    assert scores[0] < 0.9 * scores[1]


@pytest.mark.parametrize("count", [30, 60])
def test_intervals_that_grow_cover_exchangeable_rows_with_few_residuals_too(count):
    """Scales of rows by the other rows cost no coverage; by all rows they would cost half a percent."""
    covered, grown = [], 0
    for seed in range(300):
        calibration = ConformalCalibration(*uneven_residuals(count, seed))
        grown += calibration.scale.slope > 0
        new, far = uneven_residuals(300, 10_000 + seed)
        lower, upper = calibration.interval(np.zeros(300), far)
        covered.append(np.mean((lower <= new) & (new <= upper)))
    assert grown > 250
    assert 0.899 < np.mean(covered) < 0.91


def test_residuals_that_do_not_depend_on_the_distance_keep_the_constant_form():
    rng = np.random.default_rng(3)
    widths = []
    for _ in range(20):
        calibration = ConformalCalibration(rng.normal(size=200), np.exp(rng.normal(size=200)))
        lower, upper = calibration.interval(np.zeros(2), np.array([0.1, 10.0]))
        widths.append((upper - lower)[1] / (upper - lower)[0])
    assert np.median(widths) == 1
    assert max(widths) < 2


def test_scaled_probabilities_are_shares_of_scaled_residuals():
    residuals, distances = uneven_residuals(300)
    calibration = ConformalCalibration(residuals, distances)
    share = calibration.p_in_window(np.zeros(2), np.array([0.05, 1.0]), -0.1, 0.1)
    assert share[0] > 0.6 > 0.3 > share[1]
    scale = calibration.scale.of(np.array([0.05]))[0]
    assert share[0] == np.mean(np.abs(calibration.ratios * scale) <= 0.1)


def test_a_scaled_calibration_survives_json_exactly():
    calibration = ConformalCalibration(*uneven_residuals(60))
    again = ConformalCalibration.from_json(json.loads(json.dumps(calibration.to_json())))
    distances = np.array([0.0, 0.1, np.nan])
    assert np.array_equal(
        calibration.interval(np.zeros(3), distances), again.interval(np.zeros(3), distances)
    )
    assert again.scores == calibration.scores


def test_a_calibration_of_the_first_format_is_constant():
    stored = {"method": "constant split conformal", "residuals": [-2.0, 1.0, 3.0]}
    calibration = ConformalCalibration.from_json(stored)
    lower, upper = calibration.interval(np.zeros(2), np.array([0.1, 5.0]), 0.5)
    assert (upper - lower).tolist() == [4.0, 4.0]


def test_an_unknown_distance_has_the_middle_scale_and_a_known_crystal_a_finite_one():
    scale = fit_residual_scale(*uneven_residuals(100))
    assert scale.of(np.array([np.nan])).tolist() == [1.0]
    assert 0 < scale.of(np.array([0.0]))[0] < 1


def test_a_row_is_judged_by_the_head_that_is_best_without_it():
    residuals = np.array([[1.0, -4.0, 1.0], [-2.0, 1.0, -2.0]])
    assert residuals_of_best(residuals).tolist() == [-2.0, -4.0, -2.0]
    assert residuals_of_best(residuals[:1]).tolist() == residuals[0].tolist()
    clear = np.array([[3.0, -3.0, 3.0], [0.1, 0.2, -0.3]])
    assert residuals_of_best(clear).tolist() == clear[1].tolist()


def test_intervals_of_the_best_head_hold_though_it_was_chosen_on_the_same_rows():
    random = np.random.default_rng(5)
    mixed = np.linalg.cholesky(0.9 + 0.1 * np.eye(4))  # heads on one embedding err alike
    half = np.empty((2000, 2))
    for draw in half:
        residuals = mixed @ random.normal(size=(4, 50))
        best = residuals[np.abs(residuals).mean(axis=1).argmin()]
        draw[:] = [
            ConformalCalibration(values).half_width()
            for values in (best, residuals_of_best(residuals))
        ]
    naive, honest = np.vectorize(math.erf)(half / math.sqrt(2)).mean(axis=0)
    assert naive < 0.895 < honest < 0.905


def test_the_interval_score_is_width_and_ten_or_more_times_what_is_missed():
    score = interval_score(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.5, 1.5]), 0.8)
    np.testing.assert_allclose(score, [1.0, 1.0 + 10 * 0.5])
