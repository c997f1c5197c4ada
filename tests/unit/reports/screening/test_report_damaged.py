"""A damaged run has no report: one line says which file it is, and the page that was there stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emrl_ray import cli
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import read_json, resolve
from tests.support.run_directory import ROWS, change, page_of, read_page, replace_shortlist


def refused(run: Path, capsys, *options: str) -> str:
    """Return the line with which a report is refused; the page must be as it was."""
    page = (run / "report.html").read_bytes()
    capsys.readouterr()
    assert cli.main(["report", str(run), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (run / "report.html").read_bytes() == page
    return line


def printed(run: Path, capsys) -> list[str]:
    """Return the lines with which a report is made."""
    assert cli.main(["report", str(run)]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "name",
    ["shortlist.parquet", "predictions/slice-000001.parquet", "rejects/slice-000000.parquet"],
)
@pytest.mark.parametrize("kept", [0.6, 0])
def test_a_truncated_file_is_named(run_copy, capsys, name, kept):
    content = (run_copy / name).read_bytes()
    (run_copy / name).write_bytes(content[: int(kept * len(content))])
    assert f"{run_copy / name}: a damaged file of the run" in refused(run_copy, capsys)


def test_a_shortlist_without_ids_is_refused(run_copy, capsys):
    replace_shortlist(run_copy, read_table(run_copy / "shortlist.parquet").drop_columns("id"))
    assert "shortlist.parquet: a damaged file of the run: it has no column id" in refused(
        run_copy, capsys
    )


def test_an_unfinished_run_and_a_manifest_that_is_none_are_refused(run_copy, capsys):
    for content, words in (
        ("[1]", "a damaged run: manifest.json is no JSON object"),
        ("{", "a damaged run: manifest.json is no JSON object"),
        ("{}", "a damaged run: manifest.json has no format"),
    ):
        (run_copy / "manifest.json").write_text(content)
        assert words in refused(run_copy, capsys)
    (run_copy / "manifest.json").unlink()
    assert "no finished run there" in refused(run_copy, capsys)


def test_predictions_that_are_gone_are_refused_and_few_are_told(run_copy, capsys):
    (run_copy / "predictions" / "slice-000000.parquet").unlink()
    told = f"report: predictions/ has 134 rows, the manifest counts {ROWS}"
    assert told in printed(run_copy, capsys)
    shutil.rmtree(run_copy / "predictions")
    line = refused(run_copy, capsys)
    assert f"predictions/ has no files, but {ROWS} rows were predicted" in line


def test_a_model_that_is_gone_is_told_in_the_terminal(run_copy, capsys):
    config = read_json(resolve(run_copy) / "manifest.json")["config"]
    change(run_copy, config={**config, "model": "gone"})
    assert printed(run_copy, capsys) == [
        "report: The model of this run cannot be read in gone.",
        f"report: {run_copy}/report.html",
    ]


def test_another_model_that_is_named_is_refused(run_copy, tmp_path, capsys):
    model = read_json(resolve(run_copy) / "manifest.json")["config"]["model"]
    other = shutil.copytree(model, tmp_path / "other")
    card = read_json(resolve(other) / "card.json")
    write_json({**card, "target": "another"}, resolve(other) / "card.json")
    line = refused(run_copy, capsys, "--model", str(other))
    assert f"--model {other}: not, or no longer, the model that this run used" in line
    (other / "card.json").unlink()
    assert "no model there" in refused(run_copy, capsys, "--model", str(other))


def test_a_run_that_does_not_tell_what_it_was_asked_has_no_invented_question(run_copy, capsys):
    change(run_copy, config=None)
    printed(run_copy, capsys)
    question = read_page(run_copy).text["question"]
    assert "This run does not tell what it was asked." in question
    assert "smallest" not in question


def test_a_window_that_is_none_is_told(run_copy, capsys):
    config = read_json(resolve(run_copy) / "manifest.json")["config"]
    change(run_copy, config={**config, "target_window": "8"})
    assert "--target-window 8: give LOW:HIGH" in refused(run_copy, capsys)


def test_rows_without_any_prediction_are_told_as_such(run_copy):
    replace_shortlist(run_copy, read_table(run_copy / "shortlist.parquet").slice(0, 0))
    for place in (run_copy / "predictions").iterdir():
        write_parquet(read_table(place).slice(0, 0), resolve(place))
    change(run_copy, counts={"rows_in": 3, "predicted": 0})
    page = page_of(run_copy)
    for section in ("question", "predictions", "map", "domain"):
        assert "No candidate could be predicted" in page.text[section]
    assert "has no map" not in page.text["map"]
