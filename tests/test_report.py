"""The report of a run says what its tables say, whatever they hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest

import emrl_ray
from emrl_ray import cli
from emrl_ray.crystals.storage import locate, read_json, read_table, write_json
from emrl_ray.reporting.run_page.page import CONTENTS, write_report
from tests.html_page import Page
from tests.run_folder import (
    HIGH,
    LOW,
    NASTY,
    ROWS,
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
    assert "2 further candidates are duplicates of these." in page.text["shortlist"]
    change(run_copy, counts={"examined": 1240})
    said = "duplicates of these among the best 1,240, which were looked at."
    assert said in page_of(run_copy).text["shortlist"]


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
    model = read_json(locate(run) / "manifest.json")["config"]["model"]
    rows = read_table(f"{model}/held_out.parquet")
    for part, count in (("calibration", 40), ("test", 50)):
        of_part = rows.filter(pc.equal(rows.column("part"), part))
        target, lower, upper = (
            of_part.column(name).to_numpy() for name in ("target", "lower", "upper")
        )
        covered = ((target >= lower) & (target <= upper)).sum()
        assert f"{covered} of {count} {part} rows" in page.text["model"]
    assert "exchangeable" in page.text["model"]
    assert "stability" not in page.text["model"]


def test_versions_times_machine_and_cost_are_told(page):
    for words in ("1 min 02 s", "an <old> one", "USD 1.25"):
        assert words in page.text["machine"]
    assert ["emrl-ray", "0.1.0"] in page.rows["machine"]


def test_the_same_run_gives_the_same_page(run, run_copy):
    assert (run_copy / "report.html").read_bytes() == Path(write_report(str(run_copy))).read_bytes()


def test_a_formation_energy_is_called_no_stability_filter(run_copy, tmp_path):
    model = read_json(locate(run_copy) / "manifest.json")["config"]["model"]
    other = shutil.copytree(model, tmp_path / "model")
    card = read_json(locate(other) / "card.json")
    write_json(card | {"target": "formation_energy_per_atom"}, locate(other) / "card.json")
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


def test_an_unfinished_or_damaged_run_is_refused_in_one_line(run_copy, capsys):
    (run_copy / "manifest.json").write_text("[1]")
    assert cli.main(["report", str(run_copy)]) == 2
    (run_copy / "manifest.json").unlink()
    assert cli.main(["report", str(run_copy)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "damaged run" in said[0]
    assert "no finished run there" in said[1]
