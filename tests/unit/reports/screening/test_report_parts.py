"""What the report of a run is made of: counts of a library, pictures of cells, coverage, axes."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import list_files, resolve
from emrl_ray.model.uncertainty import ConformalCalibration
from emrl_ray.reports.markup import bars, counted, decimals_for, number, per_cent, share
from emrl_ray.reports.screening.axes import Axes, nice_step, ticks
from emrl_ray.reports.screening.cells import distance_cell, distance_decimals
from emrl_ray.reports.screening.held_out import CONFIDENCES, HeldOut, coverage, stretch, stretched
from emrl_ray.reports.screening.interval_scale import IntervalScale
from emrl_ray.reports.screening.structure_picture import StructurePictures
from emrl_ray.screening import statistics as library_summary
from emrl_ray.screening.statistics import summarize_library
from tests.support.crystals import ROCK_SALT
from tests.support.examples import examples
from tests.support.run_directory import HIGH, LOW, predictions


def summary_of(folder, rows: pa.Table, files: int, window=(LOW, HIGH)):
    """Return the summary of rows that lie in so many files."""
    edges = np.linspace(0, rows.num_rows, files + 1).astype(int)
    for index, first in enumerate(edges[:-1]):
        part = rows.slice(first, edges[index + 1] - first)
        write_parquet(part, resolve(folder) / f"part-{index}.parquet")
    return summarize_library(list_files(resolve(folder), ".parquet"), window)


def test_a_summary_counts_each_row_once(tmp_path):
    rows = predictions(500)
    found = summary_of(tmp_path, rows, 1)
    values, inside = rows.column("prediction").to_numpy(), rows.column("in_domain").to_numpy()
    edges = found.bins.prediction
    assert found.rows == found.judged == 500
    assert np.array_equal(found.in_domain, np.histogram(values[inside], edges)[0])
    assert np.array_equal(found.out_of_domain, np.histogram(values[~inside], edges)[0])
    drawn = found.in_domain.sum() + found.out_of_domain.sum()
    assert drawn + sum(found.beyond) == 500
    x, y = (rows.column(name).to_numpy() for name in ("map_x", "map_y"))
    within = (np.abs(x) <= found.bins.map_x[-1]) & (np.abs(y) <= found.bins.map_y[-1])
    assert 480 <= found.density.sum() <= within.size
    reasons = Counter(str(text).split()[0] for text in rows.column("domain_reason").to_pylist())
    assert found.domains[0].reasons == reasons - Counter({"None": 500})
    assert found.domains[0].details == {("unseen_element", "U"): 100, ("unseen_pair", "Pb-O"): 100}


def test_a_summary_does_not_depend_on_the_files(tmp_path):
    rows = predictions(500)
    one, many = summary_of(tmp_path / "1", rows, 1), summary_of(tmp_path / "7", rows, 7)
    for mine, other in zip(one[1:], many[1:], strict=True):
        assert np.array_equal(mine, other) if isinstance(mine, np.ndarray) else mine == other
    assert np.array_equal(one.bins.prediction, many.bins.prediction)


def test_a_few_wild_predictions_do_not_stretch_the_bins(tmp_path):
    values = np.concatenate([np.random.default_rng(0).normal(size=5000), [1e9, -1e9, np.nan]])
    found = summary_of(tmp_path, pa.table({"prediction": values}), 1)
    assert found.beyond == (1, 1)
    assert np.abs(found.bins.prediction).max() < 10
    assert found.in_domain.sum() == 5000


def test_a_sample_is_kept_small_and_is_a_fair_one(tmp_path, monkeypatch):
    monkeypatch.setattr(library_summary, "SAMPLE_ROWS", 400)
    values = np.arange(10_000.0)
    found = summary_of(tmp_path, pa.table({"prediction": values}), 5)
    assert found.bins.prediction[0] <= 300
    assert found.bins.prediction[-1] >= 9700
    assert found.in_domain.sum() + sum(found.beyond) == 10_000


@pytest.mark.parametrize("values", [[3.0] * 5, [0.0], [None, None, 2e8]])
def test_equal_predictions_have_bins(tmp_path, values):
    found = summary_of(tmp_path, pa.table({"prediction": pa.array(values, pa.float64())}), 1)
    assert found.in_domain.sum() == sum(value is not None for value in values)
    assert np.all(np.diff(found.bins.prediction) > 0)


def test_a_library_without_numbers_has_no_summary(tmp_path):
    assert summary_of(tmp_path, pa.table({"prediction": pa.nulls(3, pa.float64())}), 1) is None
    assert summarize_library([], None) is None


def circles(picture: str) -> int:
    return picture.count("<circle")


def test_a_picture_shows_the_atoms_of_the_cell_and_those_on_its_faces():
    draw = StructurePictures()
    lattice = 5.6 * np.eye(3)
    corners = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    sodium = np.array(corners, float)
    chlorine = (sodium + np.array([0.5, 0, 0])) % 1
    picture = draw.draw(lattice, [11] * 4 + [17] * 4, np.concatenate([sodium, chlorine]), "NaCl")
    assert circles(picture) == 27
    assert picture.count('class="z11" cx') == 14
    assert 'aria-label="Unit cell of NaCl, 8 atoms"' in picture
    assert set(re.findall(r'id="z(\d+)"', draw.definitions())) == {"11", "17"}


@examples(20)
@given(st.integers(0, 10_000))
def test_a_picture_does_not_depend_on_how_the_lattice_lies(seed):
    random = np.random.default_rng(seed)
    lattice = 5 * np.eye(3) + random.normal(0, 0.7, (3, 3))
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    places = random.random((6, 3))
    numbers = random.integers(1, 80, 6)
    pictures = [
        StructurePictures().draw(rows, numbers, places, "x")
        for rows in (lattice, lattice @ rotation)
    ]
    places_drawn = [
        np.array([float(text) for text in re.findall(r"\d+\.\d", picture)]) for picture in pictures
    ]
    assert places_drawn[0] == pytest.approx(places_drawn[1], abs=0.11)


def test_a_large_cell_gives_a_small_picture_that_says_so():
    random = np.random.default_rng(0)
    picture = StructurePictures().draw(
        30 * np.eye(3), random.integers(1, 100, 688), random.random((688, 3)), "x"
    )
    assert len(picture) < 10_000
    assert circles(picture) == 90
    assert "688 atoms; the 90 nearest" in picture


@pytest.mark.parametrize(
    ("lattice", "numbers", "places"),
    [
        (np.zeros((3, 3)), [1], [[0, 0, 0]]),
        (np.eye(3), [], []),
        (np.eye(3), [1], [[np.nan, 0, 0]]),
        (np.eye(3), [1, 2], [[0, 0, 0]]),
    ],
)
def test_what_is_no_crystal_has_no_picture(lattice, numbers, places):
    assert StructurePictures().draw(lattice, numbers, places, "x") == ""


def test_a_primitive_cell_has_a_picture():
    rock_salt = ROCK_SALT
    picture = StructurePictures().draw(
        rock_salt.lattice[0], rock_salt.atomic_numbers, rock_salt.frac_coords, "NaCl"
    )
    assert circles(picture) == 9


def held_out(residuals: np.ndarray, half: np.ndarray) -> HeldOut:
    target = np.zeros(len(residuals))
    prediction = target - residuals
    return HeldOut(target, prediction, prediction - half, prediction + half)


def test_coverage_is_what_the_calibration_rows_ask_for():
    random = np.random.default_rng(0)
    width = random.uniform(0.5, 2, 400)
    residuals = random.normal(0, 1, 400) * width
    first, last = slice(0, 150), slice(150, 400)
    calibration = ConformalCalibration((residuals / width)[first])
    stored = calibration.half_width(0.9)
    nominal, held = coverage(held_out(residuals[last], stored * width[last]), calibration)
    scores = np.sort(np.abs(residuals / width)[first])
    for confidence, found in zip(nominal, held, strict=True):
        limit = scores[int(np.ceil(151 * confidence - 1e-9)) - 1]
        assert found == pytest.approx((np.abs(residuals / width)[last] <= limit).mean())
    assert np.array_equal(nominal, CONFIDENCES)
    assert np.abs(nominal - held).max() < 0.12


def test_infinite_intervals_have_no_coverage_by_confidence():
    calibration = ConformalCalibration(np.random.default_rng(0).normal(size=50))
    finite, infinite = (held_out(np.ones(50), np.full(50, half)) for half in (1.0, np.inf))
    assert coverage(finite, calibration) is not None
    assert coverage(infinite, calibration) is None
    assert coverage(finite, ConformalCalibration(np.arange(1.0, 20.0))) is None
    assert coverage(finite, None) is None
    assert coverage(None, calibration) is None


def test_intervals_of_another_confidence_are_stretched_as_the_calibration_asks():
    calibration = ConformalCalibration(np.random.default_rng(0).normal(size=50))
    factor = calibration.half_width(0.5) / calibration.half_width(0.9)
    assert stretch(calibration, 0.5) == pytest.approx(factor)
    assert stretch(calibration, 0.999) == np.inf
    assert stretch(None, 0.9) == 1
    assert stretch(None, 0.8) is None
    assert stretch(ConformalCalibration([1.0, 2.0]), 0.5) is None
    rows = stretched(held_out(np.ones(3), np.full(3, 2.0)), 0.5)
    assert np.array_equal(rows.upper - rows.prediction, np.ones(3))


def test_a_far_window_does_not_shrink_the_intervals():
    rows = pa.table({"prediction": [1.0, 2.0], "lower": [0.0, 1.0], "upper": [2.0, 3.0]})
    near, far = (IntervalScale.of(rows, window) for window in ((2.0, 4.0), (50.0, np.inf)))
    assert (near.low, near.high, near.beyond) == (0, 4, 0)
    assert (far.low, far.high, far.beyond) == (0, 3, 1)
    assert 'class="window"' in near.drawing(rows.to_pylist()[0])
    assert 'class="aim"' in far.drawing(rows.to_pylist()[0])
    assert IntervalScale.of(rows, (-np.inf, -40.0)).beyond == -1
    assert Axes((0, 1), (0, 1)).window((50, 60)) == ""


def test_distances_have_the_same_decimals_and_none_below_rounding():
    distances = np.array([0.026, 0.0286, 3e-8, np.inf, np.nan])
    decimals = distance_decimals(distances)
    shown = [distance_cell({"nearest_distance": value}, decimals).shown for value in distances]
    assert shown == ["0.0260", "0.0286", "0", "∞", "-"]


def test_counts_have_whole_ticks_and_none_has_no_bar():
    assert ticks(0, 1.06, 5, 1.0).tolist() == [0, 1]
    table = bars("x", ("a", "b", "c"), [("one", 1, ""), ("none", 0, "")], 2)
    assert table.count("<span style=") == 1


def test_one_is_not_many():
    assert [counted(n, "row") for n in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]
    assert counted(1, "is", "are") == "1 is"
    assert [per_cent(p) for p in (0, 0.003, 0.5, 0.996, 1)] == [
        *("0 %", "0.3 %", "50 %", "99.6 %", "100 %")
    ]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 60))
def test_ticks_are_round_and_within(low, span, count):
    high = low + span
    found = ticks(low, high, count)
    step = nice_step(high - low, count)
    assert 1 <= len(found) <= count + 1 or span < 1e-9 * abs(low)
    assert float(f"{step:e}"[0]) in (1, 2, 5)
    assert np.all((found >= low - 1e-6 * span) & (found <= high + 1e-6 * span))


def test_axes_keep_what_is_beyond_at_their_ends():
    axes = Axes((0, 1), (0, 1))
    assert axes.across([-5, 0, np.inf]).tolist() == axes.across([0, 0, 1]).tolist()
    assert axes.up(1) < axes.up(0)


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (1.2345, 2, "1.23"),
        (-0.0001, 2, "0.00"),
        (None, 3, "-"),
        (float("nan"), 3, "-"),
        (float("-inf"), 3, "-∞"),
    ],
)
def test_numbers_are_written_so(value, decimals, shown):
    assert number(value, decimals) == shown


def test_decimals_tell_four_digits_apart():
    assert [decimals_for(spread) for spread in (3.0, 0.02, 4000.0, 0.0)] == [3, 5, 0, 3]


def test_a_share_is_never_rounded_to_none_or_all():
    assert [share(*pair) for pair in ((1, 10**6), (10**6 - 1, 10**6), (1, 1), (0, 0))] == [
        *("< 0.1 %", "> 99.9 %", "100 %", "-")
    ]
