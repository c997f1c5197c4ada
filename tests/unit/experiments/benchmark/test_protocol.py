"""The protocol's data sets and cells, without a cluster."""

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.config import UserError
from emrl_ray.experiments.benchmark import methods
from emrl_ray.experiments.benchmark.datasets import (
    LabeledCrystals,
    Source,
    read_labeled,
    without_ids,
)
from emrl_ray.experiments.benchmark.local_training import Device
from emrl_ray.experiments.benchmark.runs import BenchmarkRun, run_benchmark
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.models import TARGET, random_crystals

PLACE = Device(1, "cpu", lambda _: None)


def labelled(count: int, cutoff: float = 4.0) -> LabeledCrystals:
    """Return labelled crystals as `read_labeled` does, without a file."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        table = str(Path(folder) / "crystals.parquet")
        write_parquet(random_crystals(count), resolve(table))
        return read_labeled(Source(table, TARGET, "HOIP"), cutoff, cutoff)[0]


def test_rows_without_a_label_are_rejects_and_the_others_keep_theirs(tmp_path):
    crystals = random_crystals(30)
    targets = crystals.column(TARGET).to_pylist()
    targets[4] = None
    column = pa.array(targets, pa.float64())
    place = crystals.schema.get_field_index(TARGET)
    crystals = crystals.set_column(place, crystals.schema.field(TARGET), column)
    write_parquet(crystals, resolve(tmp_path / "c.parquet"))
    found, rejects = read_labeled(Source(str(tmp_path / "c.parquet"), TARGET, "HOIP"), 4.0, 5.0)
    assert len(found.targets) + len(rejects) == 30
    assert ("c00004", "missing_target") in {(row.id, str(row.reason)) for row in rejects}
    expected = dict(zip(crystals.column("id").to_pylist(), targets, strict=True))
    assert found.targets.tolist() == [expected[name] for name in found.ids.to_pylist()]
    assert found.graphs.n_crystals == found.batch.n_crystals == len(found.targets)
    assert found.unit == "angstrom^3"


def test_fewer_than_ten_labelled_rows_are_one_clear_line(tmp_path):
    write_parquet(random_crystals(8), resolve(tmp_path / "c.parquet"))
    source = Source(str(tmp_path / "c.parquet"), TARGET, "HOIP")
    with pytest.raises(
        UserError, match=r": \d rows with a volume_per_atom, at least 10 are needed$"
    ):
        read_labeled(source, 4.0, 5.0)


def test_without_ids_leaves_the_others():
    crystals = labelled(20)
    rest = without_ids(crystals, crystals.ids.take([0, 3]))
    assert set(rest.ids.to_pylist()) == set(crystals.ids.to_pylist()) - {"c00000", "c00003"}


@pytest.mark.parametrize("recipe", ["GCN", "EMRL", "EMRL+", "classical", "untrained"])
def test_a_cell_scores_each_of_its_methods_on_the_same_rows(recipe):
    crystals = labelled(60)
    names = tuple(methods.by_recipe(list(methods.METHODS))[recipe])
    if recipe == "EMRL":
        names = ("EMRL-LR", "EMRL-GB")  # the neural head's 500 epochs are tested elsewhere
    cell = BenchmarkRun("mine", "HOIP", TARGET, recipe, names, "random", 1, 2)
    found = list(run_benchmark(cell, crystals, PLACE))
    assert [record.name for record in found] == [cell.result_name(name) for name in names]
    records = [record.content for record in found]
    assert [record["method"] for record in records] == list(names)
    for record in records:
        assert record["n_train"] + record["n_test"] == len(crystals.targets)
        assert record["n_test"] == round(0.2 * len(crystals.targets))
        assert np.isfinite([record["mae"], record["r2"], record["predict_per_second"]]).all()
        assert record["epochs"] == len(record["learning_curve"]) == (2 if cell.trained else 0)
        assert record["train_seconds"] >= 0
        assert record["floors"] == records[0]["floors"]


def test_the_same_cell_gives_the_same_scores():
    cell = BenchmarkRun("mine", "HOIP", TARGET, "GCN", ("GCN",), "random", 0, 2)
    one, same = (next(run_benchmark(cell, labelled(40), PLACE)).content for _ in range(2))
    assert one["mae"] == same["mae"]
    assert one["learning_curve"] == same["learning_curve"]


def test_methods_of_a_recipe_share_a_training():
    groups = methods.by_recipe(["EMRL-GB", "GCN", "EMRL-LR"])
    assert groups == {"GCN": ["GCN"], "EMRL": ["EMRL-LR", "EMRL-GB"]}


def test_heads_of_supervised_networks_have_no_folds():
    methods.check_methods(["EMRL-LR"], 5)
    with pytest.raises(UserError, match=r"^--out-of-fold 5: GCN fits no head"):
        methods.check_methods(["GCN"], 5)
