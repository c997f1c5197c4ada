"""The report of a run says what its tables say, whatever they hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import emrl_ray
from emrl_ray import cli
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.model.files import read_calibrations
from emrl_ray.reports.screening.page import CONTENTS, write_report
from tests.support.html_page import Page
from tests.support.run_directory import (
    HIGH,
    LOW,
    NASTY,
    ROWS,
    TOP,
    best,
    change,
    page_of,
    read_page,
    replace_shortlist,
)


@pytest.fixture(scope="module")
def run(reported_run) -> str:
    """Return a run of a model with a map and held-out rows, with its report."""
    return reported_run


@pytest.fixture(scope="module")
def page(run) -> Page:
    return read_page(run)


def test_the_sections_are_those_of_the_contents(page):
    assert list(page.rows) == list(CONTENTS)
    links = [found["href"] for tag, found in page.elements if tag == "a"]
    assert links == [f"#{name}" for name in CONTENTS]


def test_the_page_needs_no_other_file_and_no_network(run, page):
    source = Path(run, "report.html").read_text()
    assert "http" not in source
    assert "@import" not in source
    assert not [found for _, found in page.elements if "src" in found]
    outside = [found["href"] for tag, found in page.elements if tag == "link"]
    assert outside == ["data:,"]


def test_only_our_own_program_is_in_the_page(page):
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]


def test_the_question_is_asked_in_a_sentence(page):
    question = (
        f"Which of the {ROWS + 3} crystals of candidates & more.parquet have a volume per atom "
        f"between {LOW:g} and {HIGH:g} angstrom^3?"
    )
    assert question in page.text["question"]
    for fact in ("volume per atom (angstrom^3)", "Hg", "2026-05-04 03:02 UTC"):
        assert fact in page.text["question"]


def test_the_funnel_has_the_rows_of_the_manifest(page):
    rows = page.rows["funnel"][1:]
    assert [row[:2] for row in rows] == [
        ["read <all>", "203"],
        ["predicted", "200"],
        ["on the shortlist", "120"],
    ]
    assert [row[4] for row in rows] == ["", "3 fewer", "80 fewer"]


def test_the_table_has_the_rows_of_the_shortlist_in_their_order(run, page):
    rows = read_table(f"{run}/shortlist.parquet")
    shown = page.rows["shortlist"][1:]
    place = page.rows["shortlist"][0].index("Id")
    assert [row[place] for row in shown] == rows.column("id").to_pylist()
    keys = [row for row in page.keys if row]
    for column, name in {
        "prediction": "prediction",
        "interval": "lower",
        "p": "p_in_window",
        "distance": "nearest_distance",
        "true": "nearest_target",
    }.items():
        shown = [float(row[column]) for row in keys]
        assert shown == pytest.approx(rows.column(name).to_pylist(), rel=1e-11)


def test_ids_and_formulas_are_shown_as_they_are(run, run_copy):
    rows = read_table(f"{run}/predictions")
    replace_shortlist(run_copy, best(rows, ROWS))
    page = page_of(run_copy)
    place = page.rows["shortlist"][0].index("Id")
    shown = [row[place] for row in page.rows["shortlist"][1:]]
    assert set(NASTY) <= set(shown)
    formulas = [row[place - 1] for row in page.rows["shortlist"][1:]]
    assert "<b>Pb</b>2O" in formulas
    assert [tag for tag, _ in page.elements].count("script") == 1


def test_the_first_hundred_rows_have_pictures(page):
    assert len(page.of_class("cell")) == 100
    assert "The first 100 rows have pictures." in page.text["shortlist"]


def test_duplicates_are_counted_and_named(page):
    place = [title.strip() for title in page.rows["shortlist"][0]].index("Duplicates")
    assert page.rows["shortlist"][1][place] == "2: twin<1>, twin<2>"
    assert page.rows["shortlist"][2][place] == "-"


def test_duplicates_are_told_to_be_those_among_the_rows_that_were_looked_at(run_copy, page):
    said = "2 further candidates are duplicates of these"
    assert f"{said} (column Duplicates)." in page.text["shortlist"]
    change(run_copy, counts={"examined": 1240, "repeated": 7})
    text = page_of(run_copy).text["shortlist"]
    assert f"{said} among the best 1,240, which were looked at" in text
    assert "5 more are duplicates of candidates that are not on the shortlist." in text
    change(run_copy, counts={"examined": 1240, "repeated": 7, "duplicates": 2, "duplicates_cut": 1})
    text = page_of(run_copy).text["shortlist"]
    assert f"{said} among all ranked candidates (column Duplicates)." in text
    assert "1 row of these has so many candidates for a duplicate" in text
    assert "more are duplicates" not in text


def test_the_library_is_counted_from_its_predictions(run, page):
    rows = read_table(f"{run}/predictions")
    values = rows.column("prediction").to_numpy()
    within = (values >= LOW) & (values <= HIGH)
    trusted = within & rows.column("in_domain").to_numpy()
    assert (
        f"{within.sum()} of {ROWS} predictions lie in the window, {trusted.sum()} of them in domain"
        in page.text["predictions"]
    )
    known = ROWS - rows.column("known_id").null_count
    assert f"{known} candidates are known crystals" in page.text["domain"]


def test_reasons_of_the_domain_are_counted_by_code(page):
    rows = [(row[0], row[1], row[4]) for row in page.rows["domain"][1:]]
    assert sorted(rows) == [
        ("element not in the training set", "40", "U 40"),
        ("pair distance unlike those of the training set", "40", ""),
        ("pair of elements not in the training set", "40", "Pb-O 40"),
    ]
    assert "120 of 200 candidates (60.0 %)" in page.text["domain"]


def test_rejects_are_counted_by_reason_and_stage(page):
    assert [row[:2] for row in page.rows["rejects"][1:]] == [
        ["bad cell (validate)", "2"],
        ["no pairs (predict)", "1"],
    ]
    assert page.rows["rejects"][1][4] == "bad <1> volume 0"


def test_the_coverage_of_the_stored_intervals_is_that_of_the_held_out_rows(run, page):
    model = read_json(resolve(run) / "manifest.json")["config"]["model"]
    rows = read_table(f"{model}/held_out.parquet")
    of_part = rows.filter(pc.equal(rows.column("part"), "test"))
    target, lower, upper = (
        of_part.column(name).to_numpy() for name in ("target", "lower", "upper")
    )
    covered = ((target >= lower) & (target <= upper)).sum()
    assert f"The 90 % intervals hold {covered} of 50 test rows" in page.text["model"]
    assert "calibration rows (" not in page.text["model"]
    assert "exchangeable" in page.text["model"]
    assert "stability" not in page.text["model"]


def test_coverage_by_confidence_is_drawn_where_the_model_keeps_its_calibration(
    run, run_copy, page, tmp_path
):
    label = "Share of test rows within their intervals by nominal confidence"
    assert [found for _, found in page.elements if found.get("aria-label") == label]
    config = read_json(resolve(run) / "manifest.json")["config"]
    other = shutil.copytree(config["model"], tmp_path / "model")
    (other / "calibration.json").unlink()
    change(run_copy, config={**config, "model": str(other)}, fingerprints=None)
    assert label not in [found.get("aria-label") for _, found in page_of(run_copy).elements]


def test_versions_times_machine_and_cost_are_told(page):
    for words in ("1 min 02 s", "an <old> one", "USD 1.25"):
        assert words in page.text["machine"]
    assert ["emrl-ray", "0.1.0"] in page.rows["machine"]


def test_the_same_run_gives_the_same_page(run, run_copy):
    assert (run_copy / "report.html").read_bytes() == Path(write_report(str(run_copy))).read_bytes()


def test_a_formation_energy_is_called_no_stability_filter(run_copy, tmp_path):
    model = read_json(resolve(run_copy) / "manifest.json")["config"]["model"]
    other = shutil.copytree(model, tmp_path / "model")
    card = read_json(resolve(other) / "card.json")
    write_json(card | {"target": "formation_energy_per_atom"}, resolve(other) / "card.json")
    change(run_copy, config={"model": str(other)}, fingerprints=None)
    assert "no filter for stability" in page_of(run_copy).text["model"]


def test_the_verb_and_its_twin_write_the_page(run_copy, capsys):
    page = run_copy / "report.html"
    page.unlink()
    assert cli.main(["report", str(run_copy)]) == 0
    assert capsys.readouterr().out == f"report: {page}\n"
    page.unlink()
    assert emrl_ray.report(run=str(run_copy)) == str(page)
    assert page.exists()


def test_how_many_are_likely_is_said_at_the_top(run_copy):
    rows = read_table(run_copy / "shortlist.parquet")
    place = rows.schema.get_field_index("p_in_window")
    inside = rows.column("in_domain").to_pylist()
    of_them = "of them in the domain of the model"
    first, every = f"{'1' if inside[0] else 'none'} {of_them}", f"{sum(inside)} {of_them}"
    wanted = f"likelier than not to have a volume per atom between {LOW:g} and {HIGH:g} angstrom^3"
    for highest, others, said in (
        (0.003, 0.0, f"None of the 120 is {wanted}; the best has a probability of 0.3 %."),
        (0.5, 0.2, f"One of the 120 is {wanted}, {first}; the best has a probability of 50 %."),
        (1.0, 0.6, f"All 120 are {wanted}, {every}; the best has a probability of 100 %."),
    ):
        values = pa.array([highest] + [others] * (rows.num_rows - 1))
        replace_shortlist(run_copy, rows.set_column(place, "p_in_window", values))
        assert said in page_of(run_copy).text["question"]
    change(run_copy, config={"minimize": True})
    assert "likelier than not" not in page_of(run_copy).text["question"]


def test_the_funnel_says_why_ranked_candidates_are_not_on_the_shortlist(run_copy):
    config = read_json(resolve(run_copy) / "manifest.json")["config"]
    counts = {"predicted": 200, "ranked": 190, "without_a_number": 10}
    counts |= {"examined": 160, "repeated": 15, "shortlisted": TOP}
    change(run_copy, counts=counts)
    rows = [(row[0], row[1], row[4]) for row in page_of(run_copy).rows["funnel"][3:]]
    assert rows == [
        ("with a number to rank by", "190", "10 fewer: 10 rows had none"),
        ("looked at, best first", "160", "30 fewer: ranked below all that were looked at"),
        ("each crystal once", "145", "15 fewer: the same crystal as another"),
        ("on the shortlist", "120", "25 fewer: beyond the 120 of --top"),
    ]
    change(run_copy, config={**config, "top": 300, "per_system": 2}, cut_short=True)
    page = page_of(run_copy)
    assert page.rows["funnel"][-1][4] == "25 fewer: their chemical system had 2 already"
    said = "fewer than the 300 rows asked for: only the best 160 candidates were looked at"
    assert said in page.text["funnel"]
    assert said in page.text["question"]


def test_the_model_is_judged_at_the_confidence_of_the_table(run, run_copy, tmp_path):
    manifest = read_json(resolve(run) / "manifest.json")
    model = manifest["config"]["model"]
    card = read_json(resolve(model) / "card.json")
    calibration = read_calibrations(resolve(model))[card["best_head"]]
    factor = calibration.half_width(0.6) / calibration.half_width(0.9)
    rows = read_table(f"{model}/held_out.parquet")
    rows = rows.filter(pc.equal(rows.column("part"), "test"))
    target, value = (rows.column(name).to_numpy() for name in ("target", "prediction"))
    covered = (np.abs(target - value) <= 1.6 * factor).sum()
    change(run_copy, config={**manifest["config"], "confidence": 0.6})
    text = page_of(run_copy).text["model"]
    assert f"The 60 % intervals hold {covered} of 50 test rows" in text
    assert "90 %" not in text
    other = shutil.copytree(model, tmp_path / "model")
    (other / "calibration.json").unlink()
    config = {**manifest["config"], "confidence": 0.6, "model": str(other)}
    change(run_copy, config=config, fingerprints=None)
    text = page_of(run_copy).text["model"]
    assert "figures here are for 90 % intervals, not for the 60 % intervals of the table" in text
    assert "The 90 % intervals hold" in text


def test_coverage_of_calibration_rows_is_no_evidence(run_copy, tmp_path):
    config = read_json(resolve(run_copy) / "manifest.json")["config"]
    other = shutil.copytree(config["model"], tmp_path / "model")
    rows = read_table(other / "held_out.parquet")
    rows = rows.filter(pc.equal(rows.column("part"), "calibration"))
    write_parquet(rows, resolve(other) / "held_out.parquet")
    change(run_copy, config={**config, "model": str(other)}, fingerprints=None)
    text = page_of(run_copy).text["model"]
    assert "kept no test rows: nothing here shows whether its intervals hold" in text
    assert "intervals hold " not in text.replace("intervals hold their", "")


def test_cost_and_hazards_come_with_their_sources(run_copy):
    rows = read_table(run_copy / "shortlist.parquet")
    rows = rows.append_column("cost_per_kg", pa.array([1.0] * rows.num_rows))
    rows = rows.append_column("hazards", pa.array(["Cr restricted"] * rows.num_rows))
    replace_shortlist(run_copy, rows)
    page = page_of(run_copy)
    assert "RoHS or radioactive" in " ".join(page.rows["shortlist"][0])
    for words in ("2011/65/EU", "hexavalent", "September 2013", "pure gas", "Gaultois"):
        assert words in page.text["shortlist"]
