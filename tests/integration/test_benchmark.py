"""The verb benchmark on a real Ray: what it leaves, what it does again and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from emrl_ray import cli
from emrl_ray.config import BenchmarkConfig, UserError
from emrl_ray.experiments.benchmark.datasets import sources_of
from emrl_ray.experiments.benchmark.result_files import has_result
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.reports.benchmark.transfer import write_transfer
from emrl_ray.training.evaluation import split_rows
from tests.support.labeled_crystals import write_both_targets
from tests.support.models import TARGET, random_crystals

METHODS = ("GCN", "EMRL-LR", "classical", "untrained")
KEYS = {
    *("dataset", "target", "unit", "method", "split", "seed", "n_train", "n_test", "mae", "r2"),
    *("epochs", "train_seconds", "predict_per_second", "machine", "versions"),
}
SHARES = (5, 10, 20, 50, 100)


def write_crystals(path: Path, count: int = 80, formulas: int | None = None) -> str:
    """Write a crystals table, with so many different formulas where they are given."""
    crystals = random_crystals(count)
    if formulas is not None:
        made = pa.array([f"F{row % formulas}" for row in range(count)])
        crystals = crystals.set_column(1, crystals.schema.field("formula"), made)
    write_parquet(crystals, resolve(path))
    return str(path)


def benchmark(crystals: str, out: Path, *words: str, methods: tuple[str, ...] = METHODS) -> int:
    """Run the verb on a table of one's own and return its exit status."""
    place = ["--crystals", crystals, "--target", TARGET, "--out", str(out)]
    return cli.main(
        ["benchmark", *place, "--repeats", "2", "--epochs", "2", "--methods", *methods, *words]
    )


def results(folder: Path) -> dict[str, dict]:
    """Return the records below a folder by their paths in it."""
    return {
        str(file.relative_to(folder)): json.loads(file.read_text())
        for file in sorted(folder.rglob("*.json"))
    }


def times(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*.json")}


def tables(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("benchmark.*")}


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> str:
    return write_crystals(tmp_path_factory.mktemp("crystals") / "crystals.parquet")


@pytest.fixture(scope="module")
def finished(crystals, tmp_path_factory, ray_session) -> Path:
    """Folder of a benchmark that ran to its end."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    assert benchmark(crystals, out) == 0
    return out


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """Folder with the same, for a test to change."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def test_every_method_and_split_has_its_result(finished):
    found = results(finished)
    assert set(found) == {
        f"crystals/{method}/random-{seed}.json" for method in METHODS for seed in range(2)
    }
    for place, record in found.items():
        assert record.keys() >= KEYS, place
        assert f"crystals/{record['method']}/random-{record['seed']}.json" == place
        assert record["target"] == TARGET
        assert record["unit"] == "angstrom^3"
        assert record["epochs"] == (2 if record["method"] in ("GCN", "EMRL-LR") else 0)
    rows = {(record["n_train"], record["n_test"]) for record in found.values()}
    assert len(rows) == 1


def test_the_tables_hold_every_method(finished):
    assert set(tables(finished)) == {"benchmark.md", "benchmark.csv", "benchmark.html"}
    for method in METHODS:
        assert method in (finished / "benchmark.md").read_text()


def test_a_finished_benchmark_is_not_made_again(copy, crystals, capsys):
    before, shown = times(copy), tables(copy)
    assert benchmark(crystals, copy) == 0
    assert "0 trainings to do" in capsys.readouterr().out
    assert times(copy) == before
    assert tables(copy) == shown


def test_a_result_that_is_missing_is_made_again_alone_and_the_same(copy, crystals, capsys):
    lost = copy / "crystals" / "EMRL-LR" / "random-1.json"
    record = json.loads(lost.read_text())
    lost.unlink()
    before = times(copy)
    assert benchmark(crystals, copy) == 0
    assert "1 trainings to do" in capsys.readouterr().out
    again = json.loads(lost.read_text())
    assert (again["mae"], again["learning_curve"]) == (record["mae"], record["learning_curve"])
    assert {file: time for file, time in times(copy).items() if file != str(lost)} == before


def test_results_of_another_training_are_not_taken_for_these(copy, crystals, tmp_path, capsys):
    before = times(copy)
    assert benchmark(crystals, copy, "--epochs", "3") == 2
    assert "made with epochs 2, it is 3 now: use another --out" in capsys.readouterr().err
    other = write_crystals(tmp_path / "other.parquet", 90)
    assert benchmark(other, copy) == 2
    assert ": made with data " in capsys.readouterr().err
    assert times(copy) == before


def test_a_training_that_fails_loses_no_other(tmp_path, ray_session, capsys):
    one_formula = write_crystals(tmp_path / "one.parquet", 20, formulas=1)
    assert benchmark(one_formula, tmp_path / "one", "--split", "formula", methods=("GCN",)) == 1
    assert "leave no test rows in a formula split" in capsys.readouterr().out
    out = tmp_path / "out"
    few = write_crystals(tmp_path / "few.parquet", 11)  # the boosted head needs more rows
    assert benchmark(few, out, methods=("GCN", "untrained")) == 1
    said = capsys.readouterr().out
    assert "benchmark: failed: crystals untrained random-1: " in said
    assert "boosted head: needs at least 10 rows" in said
    assert set(results(out)) == {f"crystals/GCN/random-{seed}.json" for seed in range(2)}
    assert (out / "benchmark.md").exists()


def test_a_row_that_cannot_be_learned_from_is_kept_with_its_reason(tmp_path, ray_session):
    path = write_crystals(tmp_path / "crystals.parquet")
    table = read_table(path)
    values = [None, *table.column(TARGET).to_pylist()[1:]]
    place = table.schema.get_field_index(TARGET)
    table = table.set_column(place, table.schema.field(place), pa.array(values, pa.float64()))
    write_parquet(table, resolve(path))
    assert benchmark(path, tmp_path / "out", methods=("classical",)) == 0
    (rejects,) = (tmp_path / "out").glob("*/rejects.parquet")
    (row,) = [row for row in read_table(rejects).to_pylist() if row["reason"] == "missing_target"]
    assert (row["id"], row["source"]) == (table.column("id")[0].as_py(), "crystals.parquet")


def test_a_split_by_formula_divides_no_formula(tmp_path, ray_session):
    crystals = write_crystals(tmp_path / "c.parquet", 60, formulas=9)
    words = ("--split", "formula", "--repeats", "1", "--first-seed", "4")
    assert benchmark(crystals, tmp_path / "out", *words, methods=("classical",)) == 0
    (record,) = results(tmp_path / "out").values()
    formulas = read_table(crystals).column("formula")
    split = split_rows(formulas, test=0.2, kind="formula", seed=4)
    assert (record["n_train"], record["n_test"]) == (len(split.train), len(split.test))
    train, test = (set(formulas.take(part).to_pylist()) for part in (split.train, split.test))
    assert not train & test
    assert record["floors"]["composition"] == record["floors"]["mean"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "GNN"], "--methods GNN: choose from GCN, GAT"),
        (["--target", "hardness"], "no target 'hardness'; its numeric columns: volume_per_atom"),
        (["--crystals", "nowhere.parquet"], "no such Parquet file"),
        (["--dataset", "HOIP"], "give either --dataset NAME or --crystals TABLE"),
        (["--preset", "hoip"], "--preset hoip: choose from MPB"),
        (["--transfer", "HOIP"], "--transfer HOIP: needs another --dataset to go to"),
        (["--epochs", "0"], "--epochs 0: must be at least 1"),
        (["--data", "folder"], "--data folder: not with --crystals"),
        (["--tables", __file__], f"--tables {__file__}: is a file, give a folder"),
    ],
)
def test_options_that_cannot_be_met_are_one_line(words, message, crystals, tmp_path, capsys):
    assert benchmark(crystals, tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_too_few_labels_are_one_line_before_any_work(tmp_path, capsys):
    few = write_crystals(tmp_path / "few.parquet", 9)
    assert benchmark(few, tmp_path / "out") == 2
    assert ": 9 rows with a volume_per_atom, at least 10 are needed\n" in capsys.readouterr().err


@pytest.fixture
def without_data(monkeypatch) -> None:
    monkeypatch.delenv("EMRL_RAY_DATA", raising=False)


def test_data_sets_by_name_need_their_folder(without_data, tmp_path, capsys):
    words = ["benchmark", "--dataset", "HOIP", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 2
    assert "--data: name the folder of the data sets, or set EMRL_RAY_DATA" in (
        capsys.readouterr().err
    )
    assert cli.main([*words, "--data", str(tmp_path)]) == 2
    assert "hoip.parquet: no such Parquet file" in capsys.readouterr().err
    assert cli.main([*words[:2], "hoip", *words[3:], "--data", str(tmp_path)]) == 2
    assert "--dataset hoip: choose from HOIP, MPS-FE" in capsys.readouterr().err


def test_a_data_set_by_name_is_read_from_its_folder(without_data, tmp_path, ray_session):
    crystals = random_crystals(40).rename_columns(
        ["id", "formula", "lattice", "atomic_numbers", "frac_coords", "band_gap"]
    )
    write_parquet(crystals, resolve(tmp_path / "hoip.parquet"))
    out = tmp_path / "out"
    words = ["--data", str(tmp_path), "--out", str(out), "--repeats", "1", "--methods", "classical"]
    assert cli.main(["benchmark", "--dataset", "HOIP", *words]) == 0
    assert set(results(out)) == {"HOIP/classical/random-0.json"}


def test_a_data_set_by_name_has_its_own_preset_and_an_unknown_source_its_own_line(tmp_path):
    with pytest.raises(UserError, match="--preset MPB: not with --dataset"):
        BenchmarkConfig(dataset=["HOIP"], out="out", preset="MPB")
    with pytest.raises(UserError, match="--transfer hoip: choose from HOIP"):
        sources_of(
            BenchmarkConfig(dataset=["HOIP"], out="out", transfer="hoip", data=str(tmp_path))
        )


def test_a_damaged_result_is_named_in_one_line(tmp_path):
    (tmp_path / "random-0.json").write_text("{")
    with pytest.raises(UserError, match=r"random-0.json: a damaged result; delete it"):
        has_result(resolve(tmp_path / "random-0.json"), {})


def test_a_transfer_without_a_result_has_no_table(tmp_path):
    (tmp_path / "transfer" / "MPS-BG-to-MPS-FE").mkdir(parents=True)
    write_transfer(str(tmp_path), str(tmp_path / "tables"))
    assert "##" not in (tmp_path / "tables" / "transfer.md").read_text()


def test_a_data_set_is_no_transfer_to_itself():
    with pytest.raises(UserError, match="needs another --dataset"):
        BenchmarkConfig(dataset=["MPS-FE"], out="out", transfer="MPS-FE")


def test_transfer_compares_three_starts_at_every_share(tmp_path, ray_session, capsys):
    write_both_targets(tmp_path, 280)
    out = tmp_path / "out"
    options = {"data": str(tmp_path), "transfer": "MPS-BG", "repeats": 1, "epochs": 1}
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert cli.main(["benchmark", "--dataset", "MPS-FE", "--out", str(out), *words]) == 0
    found = results(out)
    assert set(found) == {
        f"transfer/MPS-BG-to-MPS-FE/{start}-{head}/{share}-0.json"
        for start in ("scratch", "frozen", "tuned")
        for head in ("linear", "boosted")
        for share in SHARES
    }
    folder = "transfer/MPS-BG-to-MPS-FE"
    rows = found[f"{folder}/scratch-linear/100-0.json"]["n_train"]
    for share in SHARES:
        frozen, tuned = (
            found[f"{folder}/{start}-linear/{share}-0.json"] for start in ("frozen", "tuned")
        )
        assert frozen["n_train"] == tuned["n_train"] == round(share / 100 * rows)
        assert (frozen["epochs"], tuned["epochs"]) == (0, round(100 / share))
    assert "benchmark: 15 trainings of transfer to do" in capsys.readouterr().out
    before = times(out)
    assert cli.main(["benchmark", "--dataset", "MPS-FE", "--out", str(out), *words]) == 0
    assert times(out) == before
    words[words.index("--epochs") + 1] = "2"
    assert cli.main(["benchmark", "--dataset", "MPS-FE", "--out", str(out), *words]) == 2
    assert "made with source_epochs 1, it is 2 now: use another --out" in capsys.readouterr().err
