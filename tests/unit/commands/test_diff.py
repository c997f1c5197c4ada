"""What `diff` says of two shortlists, and what it refuses to compare."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from emrl_ray import cli
from emrl_ray.commands.diff import diff
from emrl_ray.config import DiffConfig, UserError
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve

MODELS = {"model": "m1", "crystals": "c1"}


def run(
    folder: Path,
    ids: str,
    *,
    target: str = "band_gap",
    window: str | None = "1:2",
    config=None,
    **prints,
):
    """Write what `diff` reads of a run, its rows named by a letter each; return its folder."""
    rows = {
        "rank": list(range(1, len(ids) + 1)),
        "id": list(ids),
        "formula": [f"{name.upper()}O" for name in ids],
        "prediction": [1.0 + place / 10 for place in range(len(ids))],
        "p_in_window": [0.9 - place / 10 for place in range(len(ids))],
    }
    types = {"rank": pa.int64(), "prediction": pa.float64(), "p_in_window": pa.float64()}
    columns = {
        name: pa.array(values, types.get(name, pa.string())) for name, values in rows.items()
    }
    write_parquet(pa.table(columns), resolve(folder) / "shortlist.parquet")
    objectives = [{"model": "m", "target": target, "unit": "eV", "window": window}]
    manifest = {"objectives": objectives, "fingerprints": MODELS | prints, "config": config or {}}
    write_json(manifest, resolve(folder) / "manifest.json")
    return str(folder)


def changed(before: str, after: str, *columns: str) -> list[tuple]:
    """Return the columns of the changes, row by row."""
    table = diff(DiffConfig(before=before, after=after)).table
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def test_rows_enter_leave_and_move(tmp_path, capsys):
    before, after = run(tmp_path / "a", "abcd"), run(tmp_path / "b", "axcbe")
    assert changed(before, after, "change", "id", "rank_before", "rank_after") == [
        ("entered", "x", None, 2),
        ("entered", "e", None, 5),
        ("left", "d", 4, None),
        ("moved", "b", 2, 4),
    ]
    said = capsys.readouterr().out
    assert "diff: 2 entered, 1 left, 1 moved, 2 have the same rank" in said
    (heading,) = (line for line in said.splitlines() if line.startswith("change"))
    assert "rank was  rank is  prediction was  prediction is" in heading
    assert any(line.split()[:4] == ["entered", "x", "XO", "-"] for line in said.splitlines())


def test_values_before_and_after_stand_side_by_side(tmp_path):
    before, after = run(tmp_path / "a", "ab"), run(tmp_path / "b", "cab")
    names = ("id", "prediction_before", "prediction_after", "p_in_window_after")
    assert changed(before, after, *names) == [
        ("c", None, 1.0, 0.9),
        ("a", 1.0, 1.1, pytest.approx(0.8)),
        ("b", 1.1, 1.2, pytest.approx(0.7)),
    ]


def test_rows_with_one_id_are_compared_in_their_order(tmp_path):
    before, after = run(tmp_path / "a", "aab"), run(tmp_path / "b", "abaa")
    assert changed(before, after, "change", "id", "rank_before", "rank_after") == [
        ("entered", "a", None, 4),
        ("moved", "b", 3, 2),
        ("moved", "a", 2, 3),
    ]


def test_empty_shortlists_and_equal_ones_have_no_changes(tmp_path, capsys):
    full, empty = run(tmp_path / "a", "ab"), run(tmp_path / "b", "")
    assert changed(full, full, "id") == changed(empty, empty, "id") == []
    assert "0 entered, 0 left, 0 moved, 2 have the same rank" in capsys.readouterr().out
    assert changed(empty, full, "change", "id") == [("entered", "a"), ("entered", "b")]


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_a_file_gets_what_changed(tmp_path, ending):
    before, after, out = (
        run(tmp_path / "a", "ab"),
        run(tmp_path / "b", "b"),
        tmp_path / f"d.{ending}",
    )
    assert cli.main(["diff", before, after, "--out", str(out)]) == 0
    if ending == "parquet":
        rows = read_table(str(out)).to_pylist()
    elif ending == "json":
        rows = json.loads(out.read_text())
    else:
        heading, *lines = out.read_text().splitlines()
        rows = [
            dict(
                zip(
                    heading.replace('"', "").split(","),
                    line.replace('"', "").split(","),
                    strict=True,
                )
            )
            for line in lines
        ]
    assert [(row["change"], row["id"]) for row in rows] == [("left", "a"), ("moved", "b")]


def test_other_models_and_other_windows_are_told(tmp_path, capsys):
    before = run(tmp_path / "a", "ab")
    after = run(tmp_path / "b", "ab", window="1:3", model="m2")
    changed(before, after, "id")
    said = capsys.readouterr().out
    assert "diff: the models are not the same" in said
    assert "diff: ranked for 1:2 before, for 1:3 now" in said
    changed(before, before, "id")
    said = capsys.readouterr().out
    assert "the models are not" not in said
    assert "ranked for" not in said


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"top": 50}, {}, "--top was 50, is 100"),
        ({}, {"in_domain": True}, "--in-domain was no, is yes"),
        (
            {"exclude_elements": []},
            {"exclude_elements": ["Pb", "Cd"]},
            "--exclude-elements was none, is Cd, Pb",
        ),
        ({"per_system": 3}, {"per_system": None}, "--per-system was 3, is none"),
        ({"head": None}, {"head": "linear"}, "--head was none, is linear"),
        (
            {"objectives": [{"model": "m", "head": "linear"}]},
            {"objectives": [{"model": "m", "head": "boosted"}]},
            "--head was none, linear, is none, boosted",
        ),
        ({"exclude_elements": ["Pb", "Cd"]}, {"exclude_elements": ["Cd", "Pb"]}, None),
        ({"crystals": "a", "workers": 1, "block_rows": 9}, {"crystals": "b", "workers": 2}, None),
        ({}, {"top": 100, "diverse": False, "head": None, "objectives": []}, None),
    ],
)
def test_options_that_make_another_shortlist_are_told_in_a_line_each(
    tmp_path, before, after, line, capsys
):
    changed(run(tmp_path / "a", "ab", config=before), run(tmp_path / "b", "ab", config=after), "id")
    said = [words for words in capsys.readouterr().out.splitlines() if " was " in words]
    assert said == ([f"diff: {line}"] if line else [])


def test_runs_of_other_targets_are_refused(tmp_path):
    before, after = run(tmp_path / "a", "ab"), run(tmp_path / "b", "ab", target="energy")
    with pytest.raises(UserError, match=r"/b predicts energy in eV, .*/a band_gap in eV: their"):
        diff(DiffConfig(before=before, after=after))


def test_what_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    good, empty = run(tmp_path / "a", "ab"), tmp_path / "empty"
    empty.mkdir()
    assert cli.main(["diff", good, str(empty)]) == 2
    assert f"emrl-ray diff: {empty}: no finished run there" in capsys.readouterr().err
    (empty / "manifest.json").write_text("{}")
    (empty / "shortlist.parquet").write_bytes((tmp_path / "a" / "shortlist.parquet").read_bytes())
    assert cli.main(["diff", good, str(empty)]) == 2
    assert "not the folder of a screen (without 'objectives')" in capsys.readouterr().err
    assert cli.main(["diff", good, good, "--out", str(tmp_path / "d.txt")]) == 2
    assert "must end in .parquet, .csv, .json" in capsys.readouterr().err
