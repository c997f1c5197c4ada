"""Night after night: what is new is read, screened and ranked once, and said in summary.json."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from emrl_ray import cli
from emrl_ray.commands.diff import diff
from emrl_ray.commands.nightly import command as module
from emrl_ray.commands.nightly.command import nightly
from emrl_ray.commands.nightly.plan import run_directory_of, steps_of, tonight
from emrl_ray.config import DiffConfig, NightlyConfig, UserError
from emrl_ray.config.parsing import parse
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.runs.lock import FolderLock, LockedError
from emrl_ray.sources.files.changed_files import changed_files, still_there
from emrl_ray.sources.files.listing import list_sources
from tests.support.models import make_model, random_crystals
from tests.support.parsing_here import parse_here
from tests.support.paths import ROOT

NIGHTS = ["2026-01-31", "2026-02-01", "2026-02-02", "2026-02-03"]


class Stage:
    """A place with two models, a folder that files come into, and one for the nights."""

    def __init__(self, folder: Path, models: list[str]) -> None:
        """Make the folder that files come into."""
        self.incoming, self.out, self.models = folder / "incoming", folder / "out", models
        self.incoming.mkdir()

    def begin(self) -> None:
        """Make the folder of the nights, as a first call does."""
        config = self.config(NIGHTS[0])
        run_directory_of(config, steps_of(config, tonight(config)).screen).claim(False)

    def deliver(self, name: str, count: int, seed: int, prefix: str = "") -> Path:
        """Put a file of crystals there; return it."""
        file = self.incoming / f"{name}.parquet"
        write_parquet(random_crystals(count, seed, prefix or name), resolve(file))
        return file

    def config(self, night: str, **screen: Any) -> NightlyConfig:
        second = {"model": self.models[1], "target_window": "-12:48"}
        return NightlyConfig(
            out=str(self.out),
            night=night,
            ingest={"sources": str(self.incoming), "workers": 1},
            screen={"model": self.models[0], "target-window": "-7:33", "objectives": [second]}
            | {"workers": 1, "top": 8, "block_rows": 25, "format": "delta"}
            | screen,
        )

    def summary(self, night: str) -> dict[str, Any]:
        summary = json.loads((self.out / "nights" / night / "summary.json").read_text())
        assert json.loads((self.out / "summary.json").read_text()) == summary
        return summary

    def summaries(self) -> list[Path]:
        return sorted((self.out / "nights").glob("*/summary.json"))

    def best(self, night: str) -> pa.Table:
        return read_table(str(self.out / "best" / night / "shortlist.parquet"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Models of the same quantity, with networks of their own."""
    folder = tmp_path_factory.mktemp("models")
    return [make_model(folder / f"model-{seed}", seed=seed) for seed in (0, 1)]


@pytest.fixture
def stage(tmp_path: Path, models: list[str]) -> Stage:
    return Stage(tmp_path, models)


def counted(summary: dict[str, Any]) -> tuple[str, int, int]:
    """Return how a night ended, and how many files were new and how many changed."""
    return summary["status"], summary["files"]["new"], summary["files"]["changed"]


def queries_of_the_documentation(night: str) -> dict[str, list[str]]:
    """Run what docs/nightly.md asks the Delta table, and return the ids of each answer by its name."""
    found: dict[str, Any] = {}
    page = (ROOT / "docs" / "nightly.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block.replace(NIGHTS[0], night), found)
    tables = {name: pa.table(found[name]) for name in ("new", "night", "likely")}
    return {name: table.column("id").to_pylist() for name, table in tables.items()}


def balanced(summary: dict[str, Any]) -> int:
    """Return the rows that a night read, after checking that each was predicted or rejected."""
    counts = summary["counts"]
    assert counts["rows_in"] == counts["crystals"] + sum(counts["rejects"].values())
    assert counts["crystals"] == counts["predicted"] + sum(counts["rejects_of_screen"].values())
    assert counts["predicted"] > counts["rows_in"] / 2
    return counts["rows_in"]


def test_nights_screen_what_is_new_and_rank_it_among_all(stage, monkeypatch, capsys):
    import deltalake

    first = stage.deliver("a", 60, 1)
    assert nightly(stage.config(NIGHTS[0])).passed
    summary = stage.summary(NIGHTS[0])
    assert counted(summary) == ("screened", 1, 0)
    assert balanced(summary) == 60
    assert summary["best"]["entered"] == summary["best"]["rows"] == 8
    assert {"emrl-ray", "ray", "python"} <= summary["versions"].keys()
    assert [each["target"] for each in summary["objectives"]] == ["volume_per_atom"] * 2

    stage.deliver("b", 40, 2)
    assert nightly(stage.config(NIGHTS[1])).passed
    summary = stage.summary(NIGHTS[1])
    assert counted(summary) == ("screened", 1, 0)
    assert balanced(summary) == 40
    both = read_table(str(stage.out / "nights" / NIGHTS[0] / "screen" / "predictions"))
    both = pa.concat_tables(
        [both, read_table(str(stage.out / "nights" / NIGHTS[1] / "screen" / "predictions"))]
    )
    off_middle = pc.abs(pc.subtract(both.column("prediction"), 13.0))
    order = [("p_all", "descending"), ("off_middle", "ascending"), ("id", "ascending")]
    both = both.append_column("off_middle", off_middle).sort_by(order)
    ranked = both.column("id").to_pylist()
    best = stage.best(NIGHTS[1])
    assert best.column("id").to_pylist() == ranked[:8]
    assert best.column("rank").to_pylist() == list(range(1, 9))
    nights = dict(zip(*(best.column(name).to_pylist() for name in ("id", "night")), strict=True))
    assert all(night == NIGHTS[row_id.startswith("b")] for row_id, night in nights.items())
    entered = [row_id for row_id in ranked[:8] if row_id.startswith("b")]
    assert entered
    assert summary["best"]["since"] == NIGHTS[0]
    assert summary["best"]["entered_ids"] == entered
    assert [row["id"] for row in summary["best"]["first"]] == ranked[:8]
    folders = [str(stage.out / "best" / night) for night in NIGHTS[:2]]
    assert diff(DiffConfig(before=folders[0], after=folders[1])).ids("entered") == entered

    monkeypatch.chdir(stage.out.parent)
    queried = queries_of_the_documentation(NIGHTS[1])
    of_night = both.filter(pc.starts_with(both.column("id"), "b"))
    allowed = pc.and_(of_night.column("in_domain"), pc.is_null(of_night.column("excluded_by")))
    likely = of_night.filter(pc.greater(of_night.column("p_all"), 0.5))
    assert 0 < likely.num_rows < of_night.num_rows
    assert sorted(queried["likely"]) == sorted(likely.column("id").to_pylist())
    assert sorted(queried["night"]) == sorted(of_night.column("id").to_pylist())
    new = of_night.filter(allowed).slice(0, 20).column("p_all").to_pylist()
    p_all = dict(zip(*(of_night.column(name).to_pylist() for name in ("id", "p_all")), strict=True))
    assert new
    assert [p_all[row_id] for row_id in queried["new"]] == new

    first.write_bytes(first.read_bytes())  # the same content, another time
    os.utime(first, ns=(1, time.time_ns()))
    capsys.readouterr()
    assert nightly(stage.config(NIGHTS[2])).passed
    assert (
        f"1 files changed since they were read, and are read anew ({first})"
        in capsys.readouterr().out
    )
    summary = stage.summary(NIGHTS[2])
    assert counted(summary) == ("screened", 0, 1)
    assert summary["files"]["changed_paths"] == [str(first)]
    assert summary["best"]["entered"] == 0  # the same crystals: each is shown once
    assert stage.best(NIGHTS[2]).drop_columns("duplicates").equals(best.drop_columns("duplicates"))
    predicted = [json.loads(file.read_text())["counts"]["predicted"] for file in stage.summaries()]
    rows = deltalake.DeltaTable(str(stage.out / "predictions.delta")).to_pyarrow_table()
    runs = rows.group_by("run_id").aggregate([("id", "count")]).sort_by("run_id").to_pylist()
    assert [tuple(run.values()) for run in runs] == list(zip(NIGHTS, predicted, strict=False))


def test_a_night_with_nothing_new_starts_no_ray(stage, monkeypatch, capsys):
    """The nights before are made by hand: files that were read, and how it ended."""
    stage.deliver("a", 5, 1)
    stage.begin()
    night = tonight(stage.config(NIGHTS[0]))
    night.note(list_sources([str(stage.incoming)]).table)
    night.say({"night": night.name, "status": "screened"})

    def no_work(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(module, "ingest_files", no_work)
    monkeypatch.setattr(module, "check_models", no_work)
    for _ in range(2):
        result = nightly(stage.config(NIGHTS[1]))
        assert result.passed
        assert counted(stage.summary(NIGHTS[1])) == ("nothing new", 0, 0)
    assert f"nightly: {NIGHTS[1]}: nothing new" in capsys.readouterr().out
    for file in stage.incoming.iterdir():
        file.unlink()
    assert nightly(stage.config(NIGHTS[1])).passed
    assert stage.summary(NIGHTS[1])["files"]["listed"] == 0
    assert nightly(stage.config(NIGHTS[0])).summary == {"night": night.name, "status": "screened"}


def test_a_first_night_without_any_file_fails(stage):
    with pytest.raises(FileNotFoundError, match="no files of crystals there"):
        nightly(stage.config(NIGHTS[0]))
    summary = stage.summary(NIGHTS[0])
    assert summary["status"] == "failed"
    assert summary["error"].startswith(f"MissingFileError: {stage.incoming}: no files of crystals")


def test_a_night_whose_files_cannot_be_read_is_over_and_does_not_pass(stage, monkeypatch):
    parse_here(monkeypatch)
    (stage.incoming / "torn.cif").write_text("data_torn\n_cell_length_a 1\n")
    result = nightly(stage.config(NIGHTS[0]))
    assert not result.passed
    summary = stage.summary(NIGHTS[0])
    assert summary["status"] == "nothing predicted"
    assert summary["counts"]["rows_in"] == sum(summary["counts"]["rejects"].values()) == 1
    assert not (stage.out / "nights" / NIGHTS[0] / "screen").exists()
    assert nightly(stage.config(NIGHTS[1])).summary["status"] == "nothing new"


def test_a_night_that_failed_is_finished_before_the_next_one(stage):
    stage.deliver("a", 30, 1)
    stage.begin()
    in_the_way = stage.out / "predictions.delta"
    in_the_way.write_text("no folder")
    with pytest.raises(UserError, match=r"predictions\.delta: is a file, give a folder"):
        nightly(stage.config(NIGHTS[0]))
    in_the_way.unlink()
    assert stage.summary(NIGHTS[0])["status"] == "failed"
    assert stage.summary(NIGHTS[0])["counts"]["crystals"] > 0
    (stage.incoming / "a.parquet").unlink()  # it was read
    stage.deliver("b", 20, 2)
    assert nightly(stage.config(NIGHTS[1])).passed
    earlier = json.loads((stage.out / "nights" / NIGHTS[0] / "summary.json").read_text())
    assert (earlier["status"], balanced(earlier)) == ("screened", 30)
    assert balanced(stage.summary(NIGHTS[1])) == 20


def test_a_night_reads_what_it_noted_unless_that_changed(stage, capsys):
    config = stage.config(NIGHTS[0])
    config.ingest["targets"] = str(stage.out / "targets.csv")  # which is away: it is not read yet

    def noted() -> list[str]:
        with pytest.raises(FileNotFoundError, match=r"targets\.csv"):
            nightly(config)
        files = tonight(config).files()
        return [] if files is None else [Path(path).stem for path in files["path"].to_pylist()]

    stage.deliver("a", 5, 1)
    assert noted() == ["a"]
    stage.deliver("b", 5, 2)
    assert noted() == ["a"]
    assert "begins anew" not in capsys.readouterr().out
    stage.deliver("a", 6, 3)
    assert noted() == ["a", "b"]
    assert f"files of {NIGHTS[0]} changed since it began: it begins anew" in capsys.readouterr().out


def test_files_are_new_until_they_are_read_as_they_are(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.cif").write_text(name)
    one = list_sources([str(tmp_path)])
    assert changed_files(one, []).listing.table.num_rows == 3
    assert changed_files(one, [one.table]).listing.table.num_rows == 0
    (tmp_path / "b.cif").write_text("longer")
    (tmp_path / "d.cif").write_text("d")
    two = list_sources([str(tmp_path)])
    found = changed_files(two, [one.table])
    assert [file.path for file in found.listing.files] == [f"{tmp_path}/{n}.cif" for n in "bd"]
    assert found.changed == [f"{tmp_path}/b.cif"]
    assert (
        changed_files(two, [one.table, two.table]).listing.table.num_rows == 0
    )  # the latest counts
    assert changed_files(one, [one.table, two.table]).changed == [f"{tmp_path}/b.cif"]
    assert still_there(two.table, two)
    assert not still_there(one.table, two)
    assert still_there(one.table.slice(0, 1), two)


def refused(config: NightlyConfig) -> str:
    with pytest.raises(UserError) as error:
        nightly(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_other_models_and_options_than_the_nights_before_are_refused(stage):
    stage.begin()
    assert "--top was 8, is 9" in refused(stage.config(NIGHTS[1], top=9))
    model = Path(stage.models[1])
    card = (model / "card.json").read_text()
    (model / "card.json").write_text(card + " ")
    said = refused(stage.config(NIGHTS[1]))
    (model / "card.json").write_text(card)
    assert f"what --objectives {stage.models[1]} names is not what it was" in said
    assert "all nights of a folder are screened alike; use another --out" in said
    assert "--overwrite" not in said


def test_a_night_before_the_last_one_is_refused(stage):
    stage.begin()
    tonight(stage.config(NIGHTS[1])).say({"status": "screened"})
    assert f"--night {NIGHTS[0]}: sorts before {NIGHTS[1]}" in refused(stage.config(NIGHTS[0]))


def test_a_night_that_had_nothing_new_is_over_once_another_followed(stage, capsys):
    quiet, later = (tonight(stage.config(name)) for name in NIGHTS[:2])
    stage.begin()
    quiet.say({"status": "nothing new"})
    later.say({"status": "screened"})
    stage.deliver("a", 5, 1)
    assert nightly(stage.config(NIGHTS[0])).summary == {"status": "nothing new"}
    assert f"nightly: {NIGHTS[0]} is over" in capsys.readouterr().out
    assert quiet.files() is None
    assert json.loads((stage.out / "summary.json").read_text()) == {"status": "screened"}


def test_two_calls_at_once_are_one(stage):
    stage.deliver("a", 5, 1)
    with (
        FolderLock(resolve(stage.out), "nightly"),
        pytest.raises(LockedError, match="in use: nightly"),
    ):
        nightly(stage.config(NIGHTS[0]))
    assert not stage.summaries()
    assert not (stage.out / "_lock.json").exists()


def test_the_configuration_that_we_ship_is_valid():
    file = str(ROOT / "jobs" / "nightly.yaml")
    config = parse(NightlyConfig, ["--config", file, "--night", NIGHTS[0]], name="nightly")
    night = tonight(config)
    steps = steps_of(config, night)
    assert steps.ingest.out == steps.screen.crystals == night.crystals
    assert night.crystals.startswith("s3://my-bucket/")
    assert len(steps.screen.wanted()) == 2
    assert steps.screen.run_id == NIGHTS[0]
    assert steps.screen.table == f"{config.out}/predictions.delta"


def test_texts_of_sections_stay_texts(tmp_path):
    """YAML 1.1 would make the number 616 of 10:16, and false of No, nobelium."""
    file = tmp_path / "nightly.yaml"
    file.write_text(
        f"out: {tmp_path}/out\n"
        "ingest: {sources: 'in/{night}'}\n"
        "screen: {model: m, target-window: 10:16, exclude-elements: [No, Pb]}\n"
    )
    config = parse(NightlyConfig, ["--config", str(file), "--night", NIGHTS[0]], name="nightly")
    steps = steps_of(config, tonight(config))
    assert steps.screen.target_window == "10:16"
    assert steps.screen.exclude_elements == ["No", "Pb"]
    assert steps.ingest.sources == [f"in/{NIGHTS[0]}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ingest": {"sources": "a"}}, "must have the sections ingest and screen"),
        ({"screen": {"model": "m", "topp": 3}}, "section screen: topp: no option of screen; did you mean top?"),
        ({"screen": {"model": "m", "out": "o"}}, "screen: out: no option here, nightly sets it"),
        ({"ingest": {"sources": "a", "overwrite": True}}, "ingest: overwrite: no option here"),
        ({"screen": {"model": "m"}}, "give exactly one of --target-window"),
        ({"night": "../x"}, "--night ../x: give letters, digits"),
        ({"screen": "model"}, "--screen model: must be a section of options"),
        ({"nights": "x"}, "nights: no option of nightly; did you mean night?"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_stops_before_any_work(
    tmp_path, monkeypatch, content, message, capsys
):
    sections = {"ingest": {"sources": "a"}, "screen": {"model": "m", "minimize": True}}
    if content.keys() == {"ingest"} and "overwrite" not in content["ingest"]:
        sections = {}
    file, out = tmp_path / "nightly.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump({"out": str(out), **sections, **content}))
    assert cli.main(["nightly", "--config", str(file)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_empty_source_keeps_nothing_of_the_others_from_being_read(stage, monkeypatch, capsys):
    read = []

    def fail(config: Any, listing: Any, *_: Any) -> None:
        read.append([Path(file.path).name for file in listing.files])
        raise OSError("away")

    monkeypatch.setattr(module, "ingest_files", fail)
    empty, file = stage.incoming / "empty", stage.deliver("a", 5, 1)
    empty.mkdir()
    sources = [str(empty), str(stage.incoming), str(file)]
    config = stage.config(NIGHTS[0])
    with pytest.raises(OSError, match="away"):
        nightly(replace(config, ingest={**config.ingest, "sources": sources}))
    assert read == [["a.parquet"]]
    assert f"nightly: {empty}: no files of crystals there" in capsys.readouterr().out


def test_files_of_a_first_night_may_be_deleted_once_they_are_read(stage, monkeypatch):
    def fail(*_: Any) -> None:
        raise OSError("away")

    file = stage.deliver("a", 12, 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "screen", fail)
        with pytest.raises(OSError, match="away"):
            nightly(stage.config(NIGHTS[0]))
    file.unlink()
    assert nightly(stage.config(NIGHTS[0])).passed
    assert balanced(stage.summary(NIGHTS[0])) == 12


def test_a_model_among_the_nights_is_refused_by_the_name_of_its_option(stage):
    stage.models = [stage.models[0], str(stage.out / "model")]
    assert f"--objectives {stage.out}/model lies there" in refused(stage.config(NIGHTS[0]))


def test_a_night_cut_short_while_reading_says_what_to_do_with_another_section_ingest(
    stage, monkeypatch
):
    from emrl_ray.commands import ingest

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("away")

    monkeypatch.setattr(ingest, "run_partitions", fail)
    stage.deliver("a", 5, 1)
    config = stage.config(NIGHTS[0])
    with pytest.raises(OSError, match="away"):
        nightly(config)
    said = refused(replace(config, ingest={**config.ingest, "max_atoms": 3}))
    assert "--max-atoms was 1000, is 3" in said
    assert said.endswith(
        f"delete {stage.out}/nights/{NIGHTS[0]}/crystals, and the night is read anew"
    )
