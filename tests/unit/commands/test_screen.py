"""A screen accounts for every crystal, ranks them, and refuses mix-ups."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pytest

from emrl_ray.commands.screen.command import ScreenWorker, screen
from emrl_ray.config import ScreenConfig, UserError
from emrl_ray.crystals.schema import check_crystal_schema
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import list_files, resolve
from emrl_ray.model import NEAREST, Model
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import plan_rows
from emrl_ray.screening.filters import EXCLUDED_BY, Filters
from emrl_ray.screening.objectives import Objective
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.selection import Selector
from emrl_ray.screening.shortlist import shortlist
from tests.support.models import broken, make_model, random_crystals, write_library
from tests.support.processes import assert_same, slices_of

ROWS = 300
LIMITS = ValidationLimits(max_atoms=5, max_pairs=400_000, min_distance=0.3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("library")
    return write_library(folder, broken(random_crystals(ROWS, 1, "lib")), [172, 128])


@pytest.fixture(scope="module")
def config(model: str, library: str, tmp_path_factory: pytest.TempPathFactory) -> ScreenConfig:
    """Configuration of the run that the tests look at."""
    return ScreenConfig(
        model=model,
        crystals=library,
        out=str(tmp_path_factory.mktemp("runs") / "run"),
        target_window="15:25",
        exclude_elements=["Pb"],
        top=20,
        block_rows=5,
        max_atoms=5,
    )


@pytest.fixture(scope="module")
def run(config: ScreenConfig) -> Path:
    screen(config)
    return Path(config.out)


def altered(config: ScreenConfig, **options: object) -> ScreenConfig:
    return ScreenConfig(**{**vars(config), **options})


def test_every_row_of_the_library_is_a_prediction_or_a_reject(run, library):
    ids = read_table(library).column("id").to_pylist()
    predicted = read_table(str(run / "predictions")).column("id").to_pylist()
    rejects = read_table(str(run / "rejects"))
    assert sorted(predicted + rejects.column("id").to_pylist()) == ids
    assert predicted == sorted(predicted)
    reasons = dict(zip(*(rejects.column(n).to_pylist() for n in ("id", "reason")), strict=True))
    assert reasons["lib00010"] == "bad_cell"
    assert reasons["lib00020"] == "no_atoms"
    assert reasons["lib00030"] == "bad_coordinates"
    assert reasons["lib00040"] == "no_pairs"


def test_the_predictions_are_those_of_the_model(run, model, library):
    expected, _ = Model.load(model).predict(read_table(library), LIMITS)
    found = read_table(str(run / "predictions"))
    assert found.column_names == [
        *("id", "formula", "prediction", "lower", "upper", "p_in_window", "in_domain"),
        *("domain_reason", *NEAREST, "known_id", "map_x", "map_y"),
        *("volume_per_atom", "library_row", "excluded_by"),
    ]
    assert found.column("id").to_pylist() == expected.column("id").to_pylist()
    for name in ("nearest_id", "nearest_formula", "nearest_target", "in_domain", "known_id"):
        assert found.column(name).equals(expected.column(name))
    for name in ("prediction", "lower", "upper", "nearest_distance", "volume_per_atom"):
        values = found.column(name).to_numpy()
        np.testing.assert_allclose(values, expected.column(name).to_numpy(), rtol=1e-6)
    for name in ("prediction", "nearest_target"):
        assert found.schema.field(name).metadata == {b"unit": b"angstrom^3"}


def test_the_shortlist_is_ranked_by_the_window_and_has_no_excluded_element(run):
    listed = pcsv.read_csv(run / "shortlist.csv")
    assert listed.num_rows == 20
    assert listed.column("rank").to_pylist() == list(range(1, 21))
    assert not any("Pb" in formula for formula in listed.column("formula").to_pylist())
    predictions = read_table(str(run / "predictions"))
    allowed = [row for row in predictions.to_pylist() if "Pb" not in row["formula"]]
    allowed.sort(key=lambda row: (-row["p_in_window"], abs(row["prediction"] - 20), row["id"]))
    assert listed.column("id").to_pylist() == [row["id"] for row in allowed[:20]]
    parquet = read_table(str(run / "shortlist.parquet"))
    assert parquet.column("id").to_pylist() == listed.column("id").to_pylist()
    assert EXCLUDED_BY not in parquet.column_names
    check_crystal_schema(parquet.schema, "shortlist.parquet")
    assert set(NEAREST) <= set(listed.column_names)


def test_the_manifest_tells_inputs_counts_and_costs(run, config):
    manifest = json.loads((run / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["slices"] == 35 + 26  # 172 and 128 rows in blocks of 5
    assert counts["rows_in"] == ROWS == counts["predicted"] + sum(counts["rejects"].values())
    assert counts["predicted"] == counts["ranked"] + counts["excluded_by_elements"]
    assert manifest["config"]["target_window"] == config.target_window
    assert set(manifest["seconds"]) == {"prepare", "start", "predict", "rank", "write"}
    assert manifest["throughput"]["crystals"] == ROWS
    assert min(manifest["peak_memory_bytes"].values()) > 10_000_000
    assert manifest["versions"]["ray"]


def test_a_finished_run_called_again_returns_its_manifest_and_says_so(run, config, capsys):
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    again = screen(config)
    assert again.manifest == json.loads((run / "manifest.json").read_text())
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


def test_other_arguments_are_refused_and_named(run, config):
    with pytest.raises(UserError, match=r"--top was 20, is 21.*--overwrite or another --out"):
        screen(altered(config, top=21))
    screen(altered(config, workers=2, cpus_per_worker=2))  # where it runs may change


def test_another_model_or_library_in_the_same_place_is_refused(run, config, tmp_path):
    elsewhere = tmp_path / "run"
    shutil.copytree(run, elsewhere)
    record = json.loads((elsewhere / "run.json").read_text())
    for name in ("model", "crystals"):
        changed = record | {"inputs": record["inputs"] | {name: "0"}}
        (elsewhere / "run.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=rf"\(what --{name} names is not what it was\)"):
            screen(altered(config, out=str(elsewhere)))


def test_overwriting_another_run_gives_the_same_bytes(run, config, library, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"head": "boosted"}))
    partitions = slices_of(other)
    shutil.copy(partitions[0], partitions[-1])
    screen(altered(config, out=str(other), overwrite=True))
    assert_same(other, run, library)


def test_another_head_ranks_by_its_own_predictions(config, model, library, tmp_path):
    output = PartitionedOutput(str(tmp_path / "rows"), str(tmp_path / "rejects"))
    options = altered(config, head="boosted", target_window=None, minimize=True)
    objective = Objective(model, "boosted", largest=False)
    worker = ScreenWorker(options, [objective], Filters.of(options), output)
    for partition in plan_rows(library, 100):
        assert worker(partition).balanced
    files = list_files(resolve(output.rows))
    least_first = Ranking(None, largest=False)
    listed = shortlist(files, library, least_first, 3, Selector(), 0.0).table
    expected, _ = Model.load(model).predict(read_table(library), LIMITS, "boosted")
    without_lead = pc.invert(pc.match_substring(expected.column("formula"), "Pb"))
    least = sorted(expected.filter(without_lead).column("prediction").to_pylist())[:3]
    np.testing.assert_allclose(listed.column("prediction").to_numpy(), least, rtol=1e-6)


def test_two_objectives_are_ranked_by_the_probability_of_both(config, model, library, tmp_path):
    second = make_model(tmp_path / "second", seed=5)
    options = altered(config, out=str(tmp_path / "run"), and_model=second, target_window2="10:20")
    result = screen(options)
    found = read_table(str(tmp_path / "run" / "predictions"))
    p, p2 = (found.column(name).to_numpy() for name in ("p_in_window", "p_in_window_2"))
    np.testing.assert_array_equal(found.column("p_all").to_numpy(), p * p2)
    alone, _ = Model.load(second).predict(read_table(library), LIMITS)
    values = dict(zip(alone["id"].to_pylist(), alone["prediction"].to_pylist(), strict=True))
    expected = [values[name] for name in found.column("id").to_pylist()]
    np.testing.assert_allclose(found.column("prediction_2").to_numpy(), expected, rtol=1e-6)
    listed = read_table(result.shortlist).column("p_all").to_pylist()
    assert listed == sorted(listed, reverse=True)
    assert set(result.manifest["fingerprints"]) == {"model", "model2", "crystals"}
    assert "P of all" in Path(result.report).read_text()


def test_filters_leave_out_what_is_foreign_or_known(config, model, tmp_path):
    known = random_crystals(80)
    foreign = known.slice(0, 5).to_pylist()
    for row in foreign:
        row["id"], row["atomic_numbers"] = f"alien-{row['id']}", [92] * len(row["atomic_numbers"])
    aliens = pa.Table.from_pylist(foreign, schema=known.schema)
    table = pa.concat_tables([known, aliens, random_crystals(20, 1, "new")])
    library = write_library(tmp_path / "library", table, [105])
    options = altered(
        config,
        crystals=library,
        out=str(tmp_path / "run"),
        exclude_elements=[],
        in_domain=True,
        exclude_known=True,
        supply_risk=True,
    )
    result = screen(options)
    counts = result.manifest["counts"]
    found = read_table(str(tmp_path / "run" / "predictions")).to_pylist()
    aliens = [row for row in found if row["id"].startswith("alien")]
    assert {row["domain_reason"] for row in aliens} == {"unseen_element U"}
    assert {row["excluded_by"] for row in aliens} == {"domain"}
    labelled = set(Model.load(model).labelled.column("id").to_pylist())
    same = {row["id"] for row in found if row["known_id"] is not None}
    assert same == labelled & {row["id"] for row in found}
    assert all(row["known_id"] == row["id"] for row in found if row["id"] in same)
    shortlisted = read_table(result.shortlist)
    assert shortlisted.num_rows > 5
    assert not same & set(shortlisted.column("id").to_pylist())
    assert "cost_per_kg" in shortlisted.column_names
    assert counts["ranked"] == counts["predicted"] - sum(
        counts[f"excluded_by_{name}"] for name in ("elements", "domain", "known")
    )
    funnel = [step["rows"] for step in result.manifest["funnel"]]
    assert funnel == sorted(funnel, reverse=True)
    assert funnel[-1] == shortlisted.num_rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crystals": "nowhere"}, "nowhere: no such Parquet file, nor a folder that holds any"),
        ({"crystals": ""}, "^the path of a table is empty"),
        ({"model": "nowhere"}, r"nowhere: no model there \(card.json is missing\)"),
        ({"head": "best"}, "--head best: the model has linear, boosted"),
        ({"only_elements": ["Qq"]}, "--only-elements Qq: no such element"),
        ({"and_model": "nowhere", "target_window2": "1:2"}, r"nowhere: no model there"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line_before_any_work(config, tmp_path, options, said):
    out = tmp_path / "run"
    with pytest.raises((ValueError, OSError), match=said) as caught:
        screen(altered(config, out=str(out), **options))
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_window_needs_a_model_with_a_calibration(config, tmp_path):
    plain = make_model(tmp_path / "plain", calibration=0.0)
    without = altered(config, model=plain, out=str(tmp_path / "run"))
    said = "plain has no calibration; train it with --calibration 0.1"
    with pytest.raises(UserError, match=rf"^target window 15:25: .*{said}"):
        screen(without)
    extra = altered(without, model=config.model, and_model=plain, target_window2=":20")
    with pytest.raises(UserError, match=rf"^target window :20: .*{said}"):
        screen(extra)


def test_predictions_without_a_record_of_whose_they_are_are_refused(run, config, tmp_path):
    shutil.copytree(run / "predictions", tmp_path / "run" / "predictions")
    with pytest.raises(UserError, match=r"holds files but no run\.json"):
        screen(altered(config, out=str(tmp_path / "run")))
