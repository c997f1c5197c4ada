"""The report of a run that lacks columns, files or numbers is made, and says what is missing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

import emrl_ray
from emrl_ray.config import UserError
from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.reports.screening.page import write_report
from tests.support.run_directory import ROWS, change, page_of, read_page, replace_shortlist


@pytest.fixture(scope="module")
def run(reported_run) -> str:
    """Return a run of a model with a map and held-out rows, with its report."""
    return reported_run


def test_infinite_and_missing_numbers_are_shown_as_such(run, run_copy):
    rows = read_table(f"{run}/shortlist.parquet").slice(0, 4)
    values = {
        "prediction": [1.0, 2.0, None, float("nan")],
        "lower": [-np.inf, 1.0, None, float("nan")],
        "upper": [np.inf, 3.0, None, float("nan")],
        "nearest_distance": [float("inf"), None, float("nan"), 0.5],
    }
    for name, column in values.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(column, pa.float64()))
    replace_shortlist(run_copy, rows)
    page = page_of(run_copy)
    heads = [title.split(",")[0] for title in page.rows["shortlist"][0]]
    at = next(place for place, title in enumerate(heads) if title.startswith("90 % interval"))
    shown = page.rows["shortlist"][1:]
    assert [row[at] for row in shown] == ["-∞ to ∞", "1.00 to 3.00", "-", "-"]
    assert len(page.of_class("open")) == 2
    assert [row[at - 1] for row in shown] == ["1.00", "2.00", "-", "-"]
    assert [row["interval"] for row in page.keys if row] == ["-Infinity", "1", None, None]


def test_an_older_run_has_a_page_that_says_what_is_missing(run, run_copy):
    old = ["id", "formula", "prediction", "lower", "upper", "nearest_id", "nearest_formula"]
    old += ["nearest_target", "nearest_distance", "p_in_window"]
    for place in (run_copy / "predictions").iterdir():
        write_parquet(read_table(place).select(old), resolve(place))
    replace_shortlist(run_copy, read_table(f"{run}/shortlist.parquet").select(["rank", *old]))
    shutil.rmtree(run_copy / "rejects")
    change(run_copy, funnel=None, versions=None, seconds=None, machine=None, cost=None)
    page = page_of(run_copy)
    assert [row[:2] for row in page.rows["funnel"][1:]] == [
        ["read from the library", "203"],
        ["predicted", "200"],
        ["on the shortlist", "120"],
    ]
    assert "This run does not tell: whether candidates" in page.text["shortlist"]
    assert "has no map" in page.text["map"]
    assert "does not tell which candidates" in page.text["domain"]
    assert "keeps no rejects" in page.text["rejects"]
    assert not page.of_class("cell")


def test_columns_of_nulls_are_as_good_as_missing(run, run_copy):
    nulls = ("in_domain", "domain_reason", "lower", "upper", "map_x", "map_y", "known_id")
    places = [*(run_copy / "predictions").iterdir(), run_copy / "shortlist.parquet"]
    for place in places:
        rows = read_table(place)
        for name in nulls:
            at = rows.schema.get_field_index(name)
            empty = pa.nulls(rows.num_rows, rows.schema.field(at).type)
            rows = rows.set_column(at, rows.schema.field(at), empty)
        write_parquet(rows, resolve(place))
    page = page_of(run_copy)
    titles = " ".join(page.rows["shortlist"][0])
    assert "Domain" not in titles
    assert "interval" not in titles
    assert "has no map" in page.text["map"]
    assert f"of {ROWS} predictions lie in the window." in page.text["predictions"]


def test_a_run_without_candidates_has_a_page(run, run_copy):
    replace_shortlist(run_copy, read_table(f"{run}/shortlist.parquet").slice(0, 0))
    for place in (run_copy / "predictions").iterdir():
        write_parquet(read_table(place).slice(0, 0), resolve(place))
    page = page_of(run_copy)
    assert "No candidate is on the shortlist." in page.text["shortlist"]
    assert "no predictions" in page.text["predictions"]


def test_a_model_that_is_gone_or_another_is_named_and_not_used(run_copy, tmp_path):
    model = read_json(resolve(run_copy) / "manifest.json")["config"]["model"]
    other = shutil.copytree(model, tmp_path / "model")
    (other / "card.json").write_text((other / "card.json").read_text() + " ")
    for place, words in ((str(other), "no longer, the one"), ("gone", "cannot be read in gone")):
        change(run_copy, config={"model": place, "maximize": True})
        page = page_of(run_copy)
        assert words in page.text["question"]
        assert words in page.text["model"]
        assert "largest predicted property" in page.text["question"]


def test_a_moved_model_may_be_named(run_copy, tmp_path):
    manifest = read_json(resolve(run_copy) / "manifest.json")
    moved = shutil.copytree(manifest["config"]["model"], tmp_path / "moved")
    change(run_copy, config={**manifest["config"], "model": "gone"})
    assert "Parity" not in page_of(run_copy).text["model"]
    emrl_ray.report(run=str(run_copy), model=str(moved))
    assert "exchangeable" in read_page(run_copy).text["model"]
    assert read_page(run_copy).of_class("test")
    with pytest.raises(UserError, match=r"--model .*: no model there"):
        write_report(str(run_copy), str(tmp_path))


def test_a_model_without_held_out_rows_has_its_errors_shown(run_copy, tmp_path):
    model = read_json(resolve(run_copy) / "manifest.json")["config"]["model"]
    other = shutil.copytree(model, tmp_path / "model")
    (other / "held_out.parquet").unlink()
    change(run_copy, config={"model": str(other), "minimize": True}, fingerprints=None)
    page = page_of(run_copy)
    assert "keeps no predictions of held-out rows" in page.text["model"]
    metrics = read_json(resolve(other) / "card.json")["metrics"]["calibration"]
    shown = {row[2]: row[3] for row in page.rows["model"][1:]}
    name = (
        "linear (best)"
        if read_json(resolve(other) / "card.json")["best_head"] == "linear"
        else "linear"
    )
    assert shown[name] == f"{metrics['linear']['mae']:.4f}"


def test_a_thousand_rows_of_large_cells_stay_small(run, run_copy):
    random = np.random.default_rng(0)
    rows = read_table(f"{run}/shortlist.parquet")
    rows = pa.concat_tables([rows] * 9).slice(0, 1000)
    numbers = random.integers(1, 90, (1000, 300)).tolist()
    places = random.random((1000, 900)).tolist()
    for name, values in (("atomic_numbers", numbers), ("frac_coords", places)):
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    assert set(GEOMETRY) <= set(rows.column_names)
    replace_shortlist(run_copy, rows)
    write_report(str(run_copy))
    assert (run_copy / "report.html").stat().st_size < 4_000_000


def test_the_manifest_may_hold_anything_else(run_copy):
    change(run_copy, config=None, counts=None, funnel=None, fingerprints=None, throughput={"x": 1})
    page = page_of(run_copy)
    assert "does not tell which model" in page.text["question"]
    assert "does not tell how many" in page.text["funnel"]
    assert json.loads((run_copy / "manifest.json").read_text())["throughput"] == {"x": 1}
