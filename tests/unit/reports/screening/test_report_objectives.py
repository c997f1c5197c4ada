"""The report of a run with several objectives tells of every model, and which number is whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.reports.markup import per_cent
from emrl_ray.reports.screening.model_folder import ModelFolder
from emrl_ray.reports.screening.reported_objectives import ReportedObjective, judges, names
from tests.support.html_page import Page
from tests.support.run_directory import ROWS, change, page_of, two_objectives


@pytest.fixture
def both(run_copy, tmp_path) -> Path:
    """Return a run of two models."""
    two_objectives(run_copy, tmp_path)
    return run_copy


@pytest.fixture
def page(both) -> Page:
    return page_of(both)


def column(page: Page, title: str) -> list[str]:
    """Return the texts of a column of the shortlist, whose title begins so."""
    heads = page.rows["shortlist"][0]
    place = next(at for at, head in enumerate(heads) if head.startswith(title))
    return [row[place] for row in page.rows["shortlist"][1:]]


def test_each_model_is_listed_with_what_it_was_asked_and_trained_on(page, tmp_path):
    rows = {row[0]: row[1:] for row in page.rows["question"][1:]}
    assert list(rows) == ["1: volume per atom", "2: volume per atom"]
    wanted, model, head, trained, _ = rows["2: volume per atom"]
    assert wanted == "of at most 14 angstrom^3"
    assert model == str(tmp_path / "second")
    assert head == "boosted"
    assert trained.endswith(" crystals")


def test_the_domain_is_that_of_every_model(both, page):
    rows = read_table(both / "shortlist.parquet").to_pylist()
    inside = [row["in_domain"] and row["in_domain_2"] for row in rows]
    cells = column(page, "Domain")
    assert [cell == "in domain" for cell in cells] == inside
    assert any(row["in_domain"] and not row["in_domain_2"] for row in rows)
    for cell, row in zip(cells, rows, strict=True):
        assert ("of volume per atom of second: atoms 40" in cell) == (not row["in_domain_2"])
        assert ("of volume per atom of model: " in cell) == (not row["in_domain"])
    assert (
        f"{sum(inside)} of {len(rows)} are in the domain of every model." in page.text["shortlist"]
    )


def test_the_domain_of_the_library_is_told_for_each_model(both, page):
    rows = read_table(both / "predictions")
    first, second = (rows.column(name).to_numpy() for name in ("in_domain", "in_domain_2"))
    outside = int((~(first & second)).sum())
    text = page.text["domain"]
    assert f"{outside} of {ROWS} candidates" in text
    assert f"Model of volume per atom of model: {(~first).sum()} of {ROWS} outside" in text
    assert f"Model of volume per atom of second: {(~second).sum()} of {ROWS} outside" in text


def test_each_objective_has_its_prediction_interval_and_probability(both, page):
    rows = read_table(both / "shortlist.parquet").to_pylist()
    keys = [row for row in page.keys if row]
    for kind, column_name in (("interval2", "lower_2"), ("p2", "p_in_window_2")):
        shown = [float(row[kind]) for row in keys]
        assert shown == pytest.approx([row[column_name] for row in rows], rel=1e-11)
    shown = page.rows["shortlist"][1]
    for ending in ("", "_2"):
        ends = [rows[0][f"{name}{ending}"] for name in ("lower", "upper")]
        assert f"{ends[0]:.2f} to {ends[1]:.2f}" in shown


def test_objectives_of_the_same_target_are_told_apart(page):
    heads = " | ".join(page.rows["shortlist"][0])
    assert "between 8 and 12 angstrom^3" in heads
    assert "of at most 14 angstrom^3" in heads
    titles = page.rows["shortlist"][0]
    assert len(set(titles)) == len(titles)
    assert "Prediction," not in heads


def test_each_model_has_its_quality(page):
    text = page.text["model"]
    labels = [found.get("aria-label") or "" for _, found in page.elements]
    assert sum(label.startswith("Parity plot") for label in labels) == 2
    assert text.count("test rows (") == 2
    for name in ("Model of volume per atom of model", "Model of volume per atom of second"):
        assert name in text


def test_the_likely_ones_are_those_that_meet_all_windows(both, page):
    best = max(read_table(both / "shortlist.parquet").column("p_all").to_pylist())
    text = page.text["question"]
    assert "None of the 120 is likelier than not to have values within all windows" in text
    assert f"the best has a probability of {per_cent(best)}." in text


def test_a_second_model_that_is_gone_is_named_and_the_page_is_made(both, capsys):
    change(both, fingerprints={"model2": "another"})
    page = page_of(both)
    assert "no longer, the one that this run used" in page.text["question"]
    assert page.text["model"].count("test rows (") == 1


def test_a_narrow_window_is_told_to_the_last_digit(run_copy):
    config = read_json(resolve(run_copy) / "manifest.json")["config"]
    change(run_copy, config={**config, "target_window": "10.0000001:10.0000002"})
    assert "between 10.0000001 and 10.0000002 angstrom^3" in page_of(run_copy).text["question"]


def objective(number: int, target: str, head: str, place: str) -> ReportedObjective:
    return ReportedObjective(number, target, "", None, head, ModelFolder(place, None, ""))


def test_names_say_no_more_than_tells_objectives_apart():
    gap = objective(1, "band gap", "linear", "b")
    energy = objective(0, "energy", "linear", "a")
    assert names([energy, gap]) == ["energy", "band gap"]
    by_head = [energy, objective(1, "energy", "boosted", "a")]
    assert names(by_head) == ["energy (linear)", "energy (boosted)"]
    assert list(judges(by_head)) == ["energy"]
    by_model = [energy, objective(1, "energy", "linear", "b")]
    assert names(by_model) == ["energy (linear) of a", "energy (linear) of b"]
    same_name = [energy, objective(1, "energy", "linear", "x/a")]
    assert len(judges(same_name)) == 2
